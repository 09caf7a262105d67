/* quote -- see quote.h */
#include "base/quote.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the valid UTF-8 character at p (n bytes are left), 0 when it is none. */
static size_t
utf8(const unsigned char *p, size_t n)
{
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    uint32_t c;

    if (p[0] < 0xc2 || p[0] > 0xf4 || n < len)
        return 0;
    c = p[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if ((len == 3 && c < 0x800) || (len == 4 && c < 0x10000) || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    return c < 0xa0 ? 0 : len; /* C1 controls are not printed either */
}

/* One character of p as text; returns how many bytes of p it used. */
static size_t
one(const unsigned char *p, size_t n, char s[8])
{
    const char *named = "\n\t\r\"\\", *names = "ntr\"\\", *at = *p ? strchr(named, *p) : NULL;
    size_t len;

    if (at) {
        sprintf(s, "\\%c", names[at - named]);
        return 1;
    }
    if (*p >= 0x20 && *p < 0x7f) {
        sprintf(s, "%c", *p);
        return 1;
    }
    if (*p >= 0x80 && (len = utf8(p, n))) {
        memcpy(s, p, len);
        s[len] = 0;
        return len;
    }
    sprintf(s, "\\x%02x", *p);
    return 1;
}

void
quote_text(const char *p, size_t n, int cut, char *s, size_t cap)
{
    size_t at = 0, left = n;
    char c[8];

    s[at++] = '"';
    while (left) {
        size_t used = one((const unsigned char *)p, left, c), len = strlen(c);

        if (at + len + 5 > cap) { /* room for it, ", ... and NUL */
            cut = 1;
            break;
        }
        memcpy(s + at, c, len);
        at += len;
        p += used;
        left -= used;
    }
    strcpy(s + at, cut ? "\"..." : "\"");
}
