/* act -- actions: what main asks the driver for, and the rows that come back. */
#include <stdlib.h>

#include "base/file.h"
#include "flow/job_priv.h"
#include "flow_priv.h"

enum { FETCH_AGAIN = 4 }; /* times that an action runs again because its results got lost */

/* The bytes of one block's strings. */
struct text {
    struct text *next;
    char p[];
};

/* Rows of one or more results, as columns in memory of their own. */
struct rows {
    struct text *texts;
    struct block_schema schema;
    uint64_t n, cap;
    char *col[2];
    td_type type;
    struct rows *next, **at; /* all that main holds; at: where the pointer to this one is */
};

/* Room for cap rows.  false: there is no memory for them. */
static bool
rows_grow(struct rows *r, uint64_t cap)
{
    uint8_t kinds[2] = { r->schema.key, r->schema.val };

    for (int i = 0; i < 2 && kinds[i]; i++) {
        char *p = realloc(r->col[i], cap * block_cell(kinds[i]));

        if (!p)
            return false;
        r->col[i] = p;
    }
    r->cap = cap;
    return true;
}

/* The strings get memory of ours, with BLOCK_PAD bytes behind each.  false: there is none. */
static bool
own_strings(struct rows *r, struct block_str *v, uint64_t n)
{
    size_t bytes = 0;

    for (uint64_t i = 0; i < n; i++)
        bytes += v[i].n + BLOCK_PAD;
    struct text *t = calloc(1, sizeof *t + bytes);
    if (!t)
        return false;
    t->next = r->texts;
    r->texts = t;
    char *p = t->p;
    for (uint64_t i = 0; i < n; p += v[i++].n + BLOCK_PAD) {
        if (v[i].n)
            memcpy(p, v[i].p, v[i].n);
        v[i].p = p;
    }
    return true;
}

/* What an author collects is as large as it is: no memory for it is an error of the job, not of ours. */
static struct err *
rows_add(struct rows *r, const struct block_cols *c, uint64_t most)
{
    uint8_t kinds[2] = { r->schema.key, r->schema.val };
    uint64_t k = r->n + c->n > most ? most - r->n : c->n;
    bool fits = r->n + k <= r->cap || rows_grow(r, (r->n + k) * 2) || rows_grow(r, r->n + k);

    for (int i = 0; i < 2 && kinds[i] && k && fits; i++) {
        char *to = r->col[i] + r->n * block_cell(kinds[i]);

        memcpy(to, c->col[i], k * block_cell(kinds[i]));
        fits = kinds[i] != BLOCK_STR || own_strings(r, (struct block_str *)to, k);
    }
    if (!fits)
        return err_hint(err_new(ERR_LIMIT, "there is no memory for more than %llu rows in the job's main",
                                (unsigned long long)r->n),
                        "Save them, or take some; main may have --executor-memory, on a cluster --driver-memory.");
    r->n += k;
    return NULL;
}

static struct err *
rows_read(struct rows *r, const struct flow_world *fw, int fd, uint64_t most)
{
    struct block_run *run;
    struct block_cursor *c = NULL;
    struct block_cols cols;

    TRY(block_run_open(fd, "a result", fw->codecs, &run));
    struct err *e = block_cursor_open(run, 0, block_run_count(run), &c);
    while (!e && r->n < most && !(e = block_cursor_next(c, &cols)) && cols.n)
        e = rows_add(r, &cols, most);
    block_cursor_close(c);
    block_run_close(run);
    return e;
}

/* The rows of an action's results.  When a host is lost with results that were not read yet, the action runs again
 * for the partitions that are left: shuffle files that are still there are used again. */
static struct err *
fetch(struct job *j, struct plan_action *a, struct job_answer *ans, uint64_t most, struct rows *r)
{
    unsigned again = 0;

    for (uint32_t i = 0; i < ans->n && r->n < most; i++) {
        int fd;
        struct err *e = j->w->open_result(j->w->arg, i, &fd);

        if (e && (e->code == ERR_LOST || e->code == ERR_CORRUPT) && ++again <= FETCH_AGAIN) {
            err_free(e);
            a->first = ans->first + i;
            a->n = ans->n - i;
            TRY(j->w->act(j->w->arg, &j->graph, a, ans));
            i = UINT32_MAX; /* from the first of what is left */
            continue;
        }
        TRY(e);
        e = rows_read(r, j->fw, fd, most);
        file_close(&fd);
        if (e)
            return err_wrap_take(e, "%s:%u: reading the result of partition %u", a->file, a->line, ans->first + i);
    }
    return NULL;
}

void
job__rows_free(td_rows *t)
{
    struct rows *r = t->own_;

    if (!r)
        return;
    *r->at = r->next;
    if (r->next)
        r->next->at = r->at;
    for (struct text *x = r->texts, *next; x; x = next) {
        next = x->next;
        free(x);
    }
    free(r->col[0]);
    free(r->col[1]);
    free(r);
    *t = (td_rows){ 0 };
}

void
job__rows_free_all(struct job *j)
{
    while (j->rows)
        job__rows_free(&(td_rows){ .own_ = j->rows });
}

static struct rows *
rows_new(struct job *j, const struct ds *d)
{
    struct rows *r = calloc(1, sizeof *r);

    if (!r)
        abort();
    r->schema = flow__schema(d->out);
    r->type = (td_type){ (uint32_t)(block_cell(d->out.key) + block_cell(d->out.val)), d->out.key, d->out.val,
                         plan_schema_name(d->out) };
    r->next = j->rows;
    r->at = &j->rows;
    if (r->next)
        r->next->at = &r->next;
    j->rows = r;
    return r;
}

static void
rows_give(struct rows *r, td_rows *ret)
{
    *ret = (td_rows){ .n = r->n, .col = { r->col[0], r->col[1] }, .type = &r->type, .own_ = r };
}

/* The first n rows: one partition, then four times as many each round, as Spark's take does; and of a partition no more
 * than what is missing. */
static struct err *
take(struct job *j, struct plan_action *a, const struct ds *d, uint64_t n, td_rows *ret)
{
    struct rows *r = rows_new(j, d);
    struct job_answer ans = { .partitions = 1 };
    struct err *e = NULL;

    a->act = PLAN_COLLECT;
    for (uint32_t first = 0, step = 1; !e && r->n < n && first < ans.partitions; first += step, step *= 4) {
        a->first = first;
        a->n = step;
        a->enough = n - r->n;
        e = j->w->act(j->w->arg, &j->graph, a, &ans);
        if (!e)
            e = fetch(j, a, &ans, n, r);
    }
    rows_give(r, ret);
    if (e)
        job__rows_free(ret);
    return e;
}

/* Partitions' results folded once more, here, in their order. */
static struct err *
reduce(struct job *j, struct plan_action *a, const struct ds *d, const td_fn *f, void *ret)
{
    struct job_answer ans;
    struct rows *r = rows_new(j, d);
    td_rows t;
    struct err *e = NULL;
    struct flow_result res = { 0 };
    struct flow_task task = { 0 };
    struct budget budget = { .limit = UINT64_MAX };
    struct flow_run run = { .w = j->fw, .items = j->items, .a = &j->a, .res = &res, .task = &task, .budget = &budget };
    struct plan_node node = j->graph.nodes[d->node];

    a->act = PLAN_REDUCE;
    a->fn = job__item(j, &f->i);
    if (d->out.val || f->in->key != d->out.key || f->in->val)
        e = err_new(ERR_INPUT, "%s:%u: %s() folds %s, the dataset holds %s", a->file, a->line, f->i.name, f->in->name,
                    plan_schema_name(d->out));
    if (!e)
        e = j->w->act(j->w->arg, &j->graph, a, &ans);
    if (!e)
        e = fetch(j, a, &ans, UINT64_MAX, r);
    if (!e && r->n == 0)
        e = err_new(ERR_INPUT, "%s:%u: td_reduce of an empty dataset", a->file, a->line);
    struct flow_user *u = e ? NULL : flow__user(&run, &node, a->fn, node.id, &e);
    if (u) {
        size_t z = block_cell(d->out.key);
        void *acc[1] = { r->col[0] };

        for (uint64_t i = 1; i < r->n && !e; i++) {
            u->fn->fold(&u->t, acc, r->col[0] + i * z, 1);
            if (u->t.bad)
                e = flow__user_err(u);
        }
        memcpy(ret, r->col[0], z);
        if (d->out.key == BLOCK_STR) {
            struct block_str *s = ret;

            *s = flow__str_copy(&j->a, s->p, s->n);
        }
        if (!e) {
            flow__deltas(&run);
            e = j->w->add(j->w->arg, res.deltas, res.n_deltas);
        }
        flow__user_free(u);
    }
    rows_give(r, &t);
    job__rows_free(&t);
    return e;
}

int
job__act(int op, td_ds *ds, const char *path, uint64_t n, const td_fn *f, void *ret, const char *file, int line)
{
    static const uint8_t acts[] = { [TD_ACT_COUNT] = PLAN_COUNT, [TD_ACT_COLLECT] = PLAN_COLLECT,
                                    [TD_ACT_SAVE_TEXT] = PLAN_SAVE_TEXT, [TD_ACT_SAVE_BLOCKS] = PLAN_SAVE_BLOCKS };
    struct ds *d = (struct ds *)ds;
    struct job *j = (struct job *)ds->job;
    struct job_answer ans;
    struct err *e;

    if (d->poison)
        return 1;
    struct plan_action a = { .node = d->node, .fn = PLAN_NO_FN, .path = path, .file = job__base(file), .line = (uint32_t)line };
    if (op == TD_ACT_TAKE) {
        e = take(j, &a, d, n, ret);
    } else if (op == TD_ACT_REDUCE) {
        e = reduce(j, &a, d, f, ret);
    } else {
        a.act = acts[op];
        e = (op == TD_ACT_SAVE_TEXT || op == TD_ACT_SAVE_BLOCKS) && (!path || !path[0])
                ? err_new(ERR_INPUT, "%s:%u: saving needs a path", a.file, a.line)
                : j->w->act(j->w->arg, &j->graph, &a, &ans);
        if (!e && op == TD_ACT_COUNT)
            *(uint64_t *)ret = ans.rows;
        if (!e && op == TD_ACT_COLLECT) {
            struct rows *r = rows_new(j, d);

            e = fetch(j, &a, &ans, UINT64_MAX, r);
            rows_give(r, ret);
            if (e)
                job__rows_free(ret);
        }
    }
    if (!e)
        return 0;
    job__fail(j, e);
    j->w->say(j->w->arg, TD_ERROR, "", 0, j->error);
    return 1;
}
