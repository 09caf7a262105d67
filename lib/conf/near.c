/* near -- which word was meant. */
#include <ctype.h>
#include <string.h>

#include "conf/conf_priv.h"

enum { WORD_MAX = 127 };

static size_t
min2(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t
conf__distance(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX + 1], na = strlen(a), nb = strlen(b);
    size_t *old = rows[0], *prev = rows[1], *row = rows[2];

    if (na > WORD_MAX || nb > WORD_MAX)
        return SIZE_MAX;
    memset(rows, 0, sizeof rows);
    for (size_t j = 0; j <= nb; j++)
        prev[j] = j;
    for (size_t i = 1; i <= na; i++) {
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);

            row[j] = min2(min2(prev[j], row[j - 1]) + 1, prev[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) && y == tolower((unsigned char)a[i - 2]))
                row[j] = min2(row[j], old[j - 2] + 1);
        }
        size_t *free_row = old;
        old = prev;
        prev = row;
        row = free_row;
    }
    return prev[nb];
}

const char *
conf_nearest(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t least = SIZE_MAX;

    for (size_t i = 0; i < n; i++) {
        size_t d = conf__distance(word, names[i]), limit = strlen(names[i]) / 3;

        if (d < least && d <= (limit < 2 ? 2 : limit) && d < strlen(names[i])) {
            least = d;
            best = names[i];
        }
    }
    return best;
}
