/* conf_priv -- between the files of conf. */
#ifndef CONF_CONF_PRIV_H
#define CONF_CONF_PRIV_H
#include "conf/conf.h"

struct conf__value {
    const char *text, *origin;
    enum conf_layer layer;
    union {
        int64_t i; /* INT; BOOL 0 or 1; BYTES; DURATION in ns */
        double f;  /* FRACTION */
    } u;
};
/* Reads text as def's type into v->u and checks its range.  `name` is the key as the user wrote it. */
struct err *conf__parse(const struct conf_def *def, const char *name, const char *text, struct conf__value *v) MUST_USE;
/* Is word one of the '|'-separated list? */
bool conf__among(const char *list, const char *word);
/* Insertions, deletions, changes and swaps of neighbours that make a into b, letter case aside; at most
 * SIZE_MAX for words longer than 127 bytes. */
size_t conf__distance(const char *a, const char *b);
#endif
