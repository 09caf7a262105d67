/* texts -- see texts.h */
#include "texts.h"

#include <stdlib.h>
#include <string.h>

struct texts_chunk {
    struct texts_chunk *next;
    size_t n, cap;
    char p[];
};

bool
texts_reserve(struct texts *t, size_t n, bool must)
{
    struct texts_chunk *c = t->newest;

    if (c && c->cap - c->n >= n)
        return true;
    size_t cap = n > t->chunk ? n : t->chunk, bytes = sizeof *c + cap + BLOCK_PAD;
    if (!budget_take(t->budget, bytes) && !(must && budget_force(t->budget, bytes)))
        return false;
    c = malloc(bytes);
    if (!c)
        abort();
    *c = (struct texts_chunk){ t->newest, 0, cap };
    t->newest = c;
    return true;
}

char *
texts_copy(struct texts *t, const char *p, size_t n, bool must)
{
    size_t room = texts_room(n);

    if (!texts_reserve(t, room, must))
        return NULL;
    char *q = t->newest->p + t->newest->n;
    if (n)
        memcpy(q, p, n);
    t->newest->n += room;
    t->bytes += n;
    return q;
}

void
texts_free(struct texts *t)
{
    for (struct texts_chunk *c = t->newest, *next; c; c = next) {
        next = c->next;
        budget_give(t->budget, sizeof *c + c->cap + BLOCK_PAD);
        free(c);
    }
    t->newest = NULL;
    t->bytes = 0;
}
