/* props -- Spark's properties format (java.util.Properties), a line at a time. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "conf/conf_priv.h"

enum { FILE_MAX_BYTES = 1 << 20 };

struct lines {
    const char *p, *end;
    unsigned line; /* number of the line at p, from 1 */
};

static bool
blank(char c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

/* Appends the line at l->p to out without blanks around it and without the end-of-line; true if it ends
 * with a \ that joins the next one. */
static bool
physical_line(struct lines *l, struct buf *out)
{
    const char *p = l->p, *nl = memchr(p, '\n', (size_t)(l->end - p)), *end = nl ? nl : l->end;
    size_t slashes = 0;

    l->p = nl ? nl + 1 : l->end;
    l->line++;
    if (end > p && end[-1] == '\r')
        end--;
    while (p < end && blank(*p))
        p++;
    while (end - slashes > p && end[-1 - (ptrdiff_t)slashes] == '\\')
        slashes++;
    bool joins = slashes % 2;
    buf_put(out, p, (size_t)(end - p) - joins);
    return joins;
}

/* The UTF-8 of the four hex digits at p; 0 bytes if they are none or half of a pair. */
static size_t
unicode(const char *p, const char *end, char out[3])
{
    unsigned v = 0;

    if (end - p < 4)
        return 0;
    for (int i = 0; i < 4; i++) {
        if (!isxdigit((unsigned char)p[i]))
            return 0;
        v = v * 16 + (unsigned)(isdigit((unsigned char)p[i]) ? p[i] - '0' : tolower((unsigned char)p[i]) - 'a' + 10);
    }
    if (v == 0 || (v >= 0xd800 && v <= 0xdfff))
        return 0;
    if (v < 0x80) {
        out[0] = (char)v;
        return 1;
    }
    if (v < 0x800) {
        out[0] = (char)(0xc0 | v >> 6);
        out[1] = (char)(0x80 | (v & 63));
        return 2;
    }
    out[0] = (char)(0xe0 | v >> 12);
    out[1] = (char)(0x80 | (v >> 6 & 63));
    out[2] = (char)(0x80 | (v & 63));
    return 3;
}

/* p..end without its escapes, NUL-terminated, behind out.  A trailing lone \ is dropped, as Java does. */
static struct err *
unescape(const char *p, const char *end, struct buf *out)
{
    static const char from[] = "tnrf", to[] = "\t\n\r\f";

    while (p < end) {
        const char *hit;
        char utf8[3];

        if (*p != '\\') {
            buf_put(out, p++, 1);
            continue;
        }
        if (++p == end)
            break;
        if (*p == 'u') {
            size_t n = unicode(p + 1, end, utf8);

            if (!n)
                return err_new(ERR_CONFIG, "\"\\%.*s\" is not an escaped character", (int)(end - p < 5 ? end - p : 5), p);
            buf_put(out, utf8, n);
            p += 5;
            continue;
        }
        hit = strchr(from, *p);
        buf_put(out, hit ? &to[hit - from] : p, 1);
        p++;
    }
    buf_put(out, "", 1);
    return NULL;
}

/* One logical line "key value": s has both as strings afterwards, the key at 0, the value at the offset. */
static struct err *
split(const char *p, const char *end, struct buf *s, size_t *ret_value)
{
    const char *key_end = p, *value;

    while (key_end < end && !blank(*key_end) && *key_end != '=' && *key_end != ':')
        key_end += *key_end == '\\' && key_end + 1 < end ? 2 : 1;
    for (value = key_end; value < end && blank(*value);)
        value++;
    if (value < end && (*value == '=' || *value == ':'))
        value++;
    while (value < end && blank(*value))
        value++;
    while (end > value && blank(end[-1]) && !(end - value > 1 && end[-2] == '\\'))
        end--;
    if (key_end == p)
        return err_new(ERR_CONFIG, "there is no key before \"%c\"", *p);
    TRY(unescape(p, key_end, s));
    *ret_value = s->n;
    return unescape(value, end, s);
}

static struct err *
set_line(struct conf *c, enum conf_layer layer, const struct buf *line, const char *origin)
{
    struct buf s = { 0 };
    size_t value = 0;
    struct err *e = err_wrap_take(split(line->p, line->p + line->n, &s, &value), "%s", origin);

    if (!e)
        e = conf_set(c, layer, s.p, s.p + value, origin);
    buf_fini(&s);
    return e;
}

struct err *
conf_set_text(struct conf *c, enum conf_layer layer, const char *text, size_t n, const char *file)
{
    struct lines l = { text, text + n, 0 };
    struct buf line = { 0 }, origin = { 0 };
    struct err *e = NULL;
    const char *nul = n ? memchr(text, 0, n) : NULL;

    if (nul)
        return err_new(ERR_CONFIG, "\"%s\" is not a text file: there is a NUL at byte %zu", file, (size_t)(nul - text));
    while (!e && l.p < l.end) {
        unsigned first = l.line + 1;
        bool joins;

        line.n = origin.n = 0;
        do {
            joins = physical_line(&l, &line);
            if (line.n && (line.p[0] == '#' || line.p[0] == '!'))
                joins = false; /* a comment has one line */
        } while (joins && l.p < l.end);
        if (!line.n || line.p[0] == '#' || line.p[0] == '!')
            continue;
        buf_printf(&origin, "%s:%u", file, first);
        e = set_line(c, layer, &line, origin.p);
    }
    buf_fini(&line);
    buf_fini(&origin);
    return e;
}

struct err *
conf_set_file(struct conf *c, enum conf_layer layer, const char *path, bool optional)
{
    struct buf text = { 0 };
    struct err *e;

    if (optional && access(path, F_OK) < 0 && errno == ENOENT)
        return NULL;
    e = file_slurp(path, FILE_MAX_BYTES, &text);
    if (e)
        e->code = ERR_CONFIG;
    else
        e = conf_set_text(c, layer, text.n ? text.p : "", text.n, path);
    buf_fini(&text);
    return e;
}
