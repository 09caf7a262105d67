/* spill -- runs that an attempt wrote because the budget said no, and their merge. */
#include <stdlib.h>

#include "base/file.h"
#include "flow/merge_set.h"
#include "flow_priv.h"

enum {
#ifdef TASKD_HOSTILE
    RUNS_MAX = 4,
#else
    RUNS_MAX = 64, /* so many neighbours of one level are merged into one of the next: bounds descriptors and the
                      memory of the last merge, and every row is moved once a level */
#endif
};

typedef struct err *rows_fn(void *, const struct block_cols *, const uint8_t *);

static struct err *
writer_open(struct flow_spills *s, struct block_writer **ret_w)
{
    struct block_run_opts opts = { .schema = s->schema, .block_bytes = flow__block_bytes(s->r->budget),
                                    .no_digest = true };

    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 8;
        s->run = realloc(s->run, s->cap * sizeof *s->run);
        if (!s->run)
            abort();
    }
    int fd;
    TRY(s->r->w->open_spill(s->r->w->arg, &fd));
    struct err *e = block_writer_open(fd, "spill file", &opts, ret_w);
    if (e) {
        file_close(&fd);
        return e;
    }
    s->run[s->n].fd = fd;
    s->run[s->n].level = 0;
    return NULL;
}

static struct err *
writer_close(struct flow_spills *s, struct block_writer **take)
{
    struct err *e = block_writer_close(take, &s->run[s->n].info);

    if (e) {
        file_close(&s->run[s->n].fd);
        return e;
    }
    s->r->res->spill_bytes += s->run[s->n].info.file_bytes;
    s->n++;
    return NULL;
}

static struct err *
spill_open(void *arg, int *ret_fd)
{
    const struct flow_spills *s = arg;

    return s->r->w->open_spill(s->r->w->arg, ret_fd);
}

/* Merges runs [from, to) into out; their files are closed. */
static struct err *
merge_range(struct flow_spills *s, uint32_t from, uint32_t to, rows_fn *out, void *arg)
{
    struct merge_set_opts opts = { .merge = { s->schema, s->by_key, s->descending, s->by_key }, .codecs = s->r->w->codecs,
                                   .budget = s->r->budget, .spill_open = spill_open, .arg = s };
    struct merge_rows rows;
    struct merge_set *set;
    struct merge *m = NULL;

    TRY(merge_set_new(&opts, &set));
    struct err *e = NULL;
    for (uint32_t i = from; !e && i < to; i++) {
        struct block_run *run;
        int fd = s->run[i].fd;

        e = block_run_open(fd, "spill file", s->r->w->codecs, &run);
        if (e)
            break;
        s->run[i].fd = -1;
        e = merge_set_add(set, run, fd, 0, block_run_count(run));
    }
    if (!e)
        e = merge_set_open(set, &m);
    while (!e && !(e = merge_next(m, &rows)) && rows.cols.n)
        e = out(arg, &rows.cols, rows.same);
    s->r->res->spill_bytes += merge_set_spilled(set);
    merge_set_free(set);
    return e;
}

static struct err *
to_writer(void *arg, const struct block_cols *rows, const uint8_t *same)
{
    return block_put(arg, rows, 0, rows->n);
}

/* The last runs, those of one level, begin here. */
static uint32_t
tail(const struct flow_spills *s)
{
    uint32_t i = s->n;

    while (i > 0 && s->run[i - 1].level == s->run[s->n - 1].level)
        i--;
    return i;
}

bool
flow__spill_many(const struct flow_spills *s)
{
    return s->n - tail(s) >= RUNS_MAX;
}

/* The runs from `from` on become one. */
static struct err *
collapse(struct flow_spills *s, uint32_t from)
{
    struct block_writer *w;
    uint32_t n = s->n;

    TRY(writer_open(s, &w));
    struct err *e = merge_range(s, from, n, to_writer, w);
    if (e) {
        block_writer_abandon(&w);
        file_close(&s->run[n].fd);
        return e;
    }
    s->run[n].level = s->run[from].level + 1;
    TRY(writer_close(s, &w));
    s->run[from] = s->run[n];
    s->n = from + 1;
    return NULL;
}

struct err *
flow__spill_collapse(struct flow_spills *s)
{
    while (flow__spill_many(s))
        TRY(collapse(s, tail(s)));
    return NULL;
}

struct err *
flow__spill_begin(struct flow_spills *s, struct block_writer **ret_w)
{
    return writer_open(s, ret_w);
}

struct err *
flow__spill_end(struct flow_spills *s, struct block_writer **take)
{
    return writer_close(s, take);
}

struct err *
flow__spill_merge(struct flow_spills *s, rows_fn *out, void *arg)
{
    return merge_range(s, 0, s->n, out, arg);
}

void
flow__spill_free(struct flow_spills *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        file_close(&s->run[i].fd);
    free(s->run);
    s->run = NULL;
    s->n = 0;
}
