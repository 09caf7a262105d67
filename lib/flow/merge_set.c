/* merge_set -- see merge_set.h.  Members stand in the order in which they were added.  A member that came from a
 * pass has a higher level than its parts; levels never grow from front to back, so neighbours of one level are the
 * ones to merge: every row is moved once a level. */
#include "flow/merge_set.h"

#include <stdlib.h>

#include "base/file.h"

/* A cursor holds up to 4 times the bytes of its block: 8 spilled runs can be merged at once in any budget. */
enum { SHARES = 32, BLOCK_MIN = BLOCK_BYTES / 64 + 1 };
/* Reading ahead takes at most this part of what is left. */
enum { AHEAD_PART = 8 };

struct member {
    struct block_run *run;
    struct block_cursor *cursor;
    int fd;
    unsigned level;
    size_t need; /* bytes taken from the budget for it */
};

struct merge_set {
    struct merge_set_opts opts;
    struct member member[MERGE_FAN];
    uint32_t n;
    size_t fixed; /* taken for the merge itself, for the writer of passes and for reading ahead */
    uint64_t held; /* by members */
    uint32_t block_bytes; /* of spilled runs: a small budget gets smaller blocks, so that several can be open */
    uint64_t spilled;
    struct merge *merge;
};

static void
drop(struct merge_set *s, struct member *m)
{
    block_cursor_close(m->cursor);
    block_run_close(m->run);
    file_close(&m->fd);
    if (s->opts.budget)
        budget_give(s->opts.budget, m->need);
    s->held -= m->need;
    *m = (struct member){ .fd = -1 };
}

static struct block_run_opts
spill_opts(const struct merge_set *s)
{
    return (struct block_run_opts){ .schema = s->opts.merge.schema, .codec = s->opts.codec,
                                    .block_bytes = s->block_bytes, .no_digest = true };
}

struct err *
merge_set_new(const struct merge_set_opts *opts, struct merge_set **ret)
{
    struct merge_set *s = calloc(1, sizeof *s);

    if (!s)
        abort();
    s->opts = *opts;
    if (opts->budget && (!s->opts.most || s->opts.most > budget_left(opts->budget)))
        s->opts.most = budget_left(opts->budget);
    uint64_t share = opts->budget ? s->opts.most / SHARES : BLOCK_BYTES;
    s->block_bytes = share < BLOCK_MIN ? BLOCK_MIN : share < BLOCK_BYTES ? (uint32_t)share : BLOCK_BYTES;
    *ret = s;
    return NULL;
}

/* Opens the merge of the members [from, s->n). */
static struct err *
open_from(struct merge_set *s, uint32_t from, const struct merge_opts *o, struct merge **ret)
{
    struct merge_input in[MERGE_FAN];

    for (uint32_t i = from; i < s->n; i++)
        in[i - from] = (struct merge_input){ s->member[i].cursor, s->opts.bound };
    return merge_open(in, s->n - from, o, ret);
}

static struct err *
copy(struct merge *m, struct block_writer *w)
{
    for (;;) {
        struct merge_rows r;

        TRY(merge_next(m, &r));
        if (r.cols.n == 0)
            return NULL;
        TRY(block_put(w, &r.cols, 0, r.cols.n));
    }
}

/* The members [from, s->n) as one run behind fd. */
static struct err *
write_pass(struct merge_set *s, uint32_t from, int fd, struct block_run_info *ret)
{
    struct block_run_opts o = spill_opts(s);
    struct block_writer *w = NULL;
    struct merge *m = NULL;
    struct merge_opts mo = s->opts.merge;

    mo.no_same = mo.by_key;
    struct err *e = open_from(s, from, &mo, &m);

    if (!e)
        e = block_writer_open(fd, "spill file of a merge", &o, &w);
    if (!e)
        e = copy(m, w);
    if (!e)
        e = block_writer_close(&w, ret);
    block_writer_abandon(&w);
    merge_close(m);
    return e;
}

static struct err *
too_little(const struct merge_set *s, size_t need)
{
    return err_hint(err_new(ERR_LIMIT, "merging runs takes %zu bytes more, %llu of the budget of %llu are left", need,
                            (unsigned long long)budget_left(s->opts.budget),
                            (unsigned long long)s->opts.budget->limit),
                    "Give executors more memory.");
}

static struct err *
force(struct merge_set *s, size_t need, size_t *ret_taken)
{
    if (s->opts.budget && !budget_force(s->opts.budget, need))
        return too_little(s, need);
    *ret_taken = s->opts.budget ? need : 0;
    return NULL;
}

/* After a pass only the limits count: a budget that says no to every second question would else say it to each run, and
 * each pass would move all that is there. */
static bool
may_hold(struct merge_set *s, size_t need, bool after_pass)
{
    struct budget *b = s->opts.budget;

    return !b || (s->fixed + s->held + need <= s->opts.most && (after_pass ? budget_force(b, need) : budget_take(b, need)));
}

/* Merges the last members, those of the lowest level (of the two lowest, if that has only one), into one. */
static struct err *
pass(struct merge_set *s)
{
    uint32_t from = s->n - 1;
    unsigned level = s->member[from - 1].level;
    struct block_run_info info;
    struct member m = { .fd = -1 };

    while (from > 0 && s->member[from - 1].level <= level)
        from--;
    TRY(s->opts.spill_open(s->opts.arg, &m.fd));
    struct err *e = write_pass(s, from, m.fd, &info);
    if (!e)
        e = block_run_open(m.fd, "spill file of a merge", s->opts.codecs, &m.run);
    if (!e)
        e = block_cursor_open(m.run, 0, block_run_count(m.run), &m.cursor);
    if (!e) {
        while (s->n > from)
            drop(s, &s->member[--s->n]);
        s->spilled += info.file_bytes;
        m.level = level + 1;
        e = force(s, merge_input_need(m.cursor), &m.need);
        s->held += m.need;
    }
    if (e)
        drop(s, &m);
    else
        s->member[s->n++] = m;
    return e;
}

/* Takes what the new member m will hold; passes make room.  With nothing left to merge it is taken by force. */
static struct err *
take(struct merge_set *s, struct member *m)
{
    size_t need = merge_input_need(m->cursor);

    if (!s->fixed) {
        struct block_run_opts o = spill_opts(s);

        TRY(force(s, merge_need() + block_writer_need(&o), &s->fixed));
    }
    for (bool after_pass = false;; after_pass = true) {
        if (s->n < MERGE_FAN && may_hold(s, need, after_pass))
            break;
        if (s->n < 2) {
            TRY(force(s, need, &m->need));
            s->held += m->need;
            return NULL;
        }
        TRY(pass(s));
    }
    m->need = s->opts.budget ? need : 0;
    s->held += m->need;
    return NULL;
}

struct err *
merge_set_add(struct merge_set *s, struct block_run *take_run, int take_fd, uint32_t from, uint32_t to)
{
    struct member m = { .run = take_run, .fd = take_fd };
    struct err *e = NULL;

    ASSERT(!s->merge);
    if (from < to)
        e = block_cursor_open(take_run, from, to, &m.cursor);
    if (!e && from < to)
        e = take(s, &m);
    if (e || from == to)
        drop(s, &m);
    else
        s->member[s->n++] = m;
    return e;
}

/* All members read ahead, if the memory for it can be spared: what comes behind the merge needs some, too. */
static void
read_ahead(struct merge_set *s)
{
    size_t more = 0;

    for (uint32_t i = 0; i < s->n; i++) {
        size_t before = block_cursor_need(s->member[i].cursor);

        block_cursor_ahead(s->member[i].cursor, true);
        more += block_cursor_need(s->member[i].cursor) - before;
    }
    if (!s->opts.budget)
        return;
    if (more <= budget_left(s->opts.budget) / AHEAD_PART && may_hold(s, more, false))
        s->fixed += more;
    else
        for (uint32_t i = 0; i < s->n; i++)
            block_cursor_ahead(s->member[i].cursor, false);
}

struct err *
merge_set_open(struct merge_set *s, struct merge **ret)
{
    ASSERT(!s->merge);
    read_ahead(s);
    TRY(open_from(s, 0, &s->opts.merge, &s->merge));
    *ret = s->merge;
    return NULL;
}

uint64_t
merge_set_spilled(const struct merge_set *s)
{
    return s->spilled;
}

void
merge_set_free(struct merge_set *s)
{
    if (!s)
        return;
    merge_close(s->merge);
    while (s->n)
        drop(s, &s->member[--s->n]);
    if (s->opts.budget)
        budget_give(s->opts.budget, s->fixed);
    free(s);
}
