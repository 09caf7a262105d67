/* job -- see job.h: the host's table for main, and the checks of the graph */
#include "flow/job.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "flow/job_priv.h"
#include "flow_priv.h"

static struct job *
of(td_job *j)
{
    return (struct job *)j;
}

const char *
job__base(const char *path)
{
    const char *s = strrchr(path, '/');

    return s ? s + 1 : path;
}

/* Tells the first error; the ones behind it are its consequences. */
void
job__fail(struct job *j, struct err *take)
{
    char *s = err_text(take);

    if (!j->failed) {
        j->failed = true;
        j->code = take->code;
    }
    free(j->error);
    j->error = s;
    err_free(take);
}

static struct ds *
poisoned(struct job *j, struct err *take)
{
    struct ds *d = ARENA_NEW(&j->a, struct ds);

    job__fail(j, take);
    j->w->say(j->w->arg, TD_ERROR, "", 0, j->error);
    d->d = (td_ds){ j->j.h, &j->j };
    d->poison = true;
    return d;
}

static struct ds *
add_node(struct job *j, struct plan_node *n)
{
    if (j->graph.n == j->cap) {
        j->cap = j->cap ? j->cap * 2 : 16;
        j->graph.nodes = realloc(j->graph.nodes, j->cap * sizeof *j->graph.nodes);
        if (!j->graph.nodes)
            abort();
    }
    struct ds *d = ARENA_NEW(&j->a, struct ds);
    n->id = j->graph.n;
    d->d = (td_ds){ j->j.h, &j->j };
    d->node = n->id;
    d->out = n->out;
    if (j->n_bcast) {
        n->bcast = (void *)arena_memdup(&j->a, j->bcast, j->n_bcast * sizeof *j->bcast);
        n->n_bcast = j->n_bcast;
    }
    j->graph.nodes[j->graph.n++] = *n;
    return d;
}

static void
set_opts(struct job *j, struct plan_node *n, const td_opts *o, const char *name, const char *file, int line)
{
    n->partitions = o->partitions;
    n->on_bad = (uint8_t)(o->on_bad ? o->on_bad : TD_FAIL);
    n->descending = o->descending != 0;
    n->name = arena_strdup(&j->a, o->name ? o->name : name);
    n->file = arena_strdup(&j->a, job__base(file));
    n->line = (uint32_t)line;
    if (o->arg) {
        n->arg = arena_memdup(&j->a, o->arg, o->arg_size);
        n->arg_n = o->arg_size;
    }
}

/* The author's strings may have nothing behind them: they get a copy that has. */
static void
pad_strings(struct buf *text, struct block_str *v, uint32_t n)
{
    size_t at = 0;

    text->n = 0;
    for (uint32_t i = 0; i < n; i++)
        buf_put(text, v[i].p, v[i].n);
    memset(buf_room(text, BLOCK_PAD), 0, BLOCK_PAD);
    for (uint32_t i = 0; i < n; at += v[i++].n)
        v[i].p = text->p + at;
}

/* Values of td_T (pairs lie key, value) as one encoded block. */
static struct err *
encode_from(struct job *j, struct plan_node *n, const void *data, uint64_t rows)
{
    struct block_run_opts opts = { .schema = { n->out.key, n->out.val } };
    size_t kz = block_cell(n->out.key), vz = block_cell(n->out.val);
    struct buf b = { 0 }, text[2] = { { 0 }, { 0 } };
    struct err *e = NULL;
    enum { STEP = 65536 };
    char *key = malloc(STEP * kz), *val = malloc(STEP * (vz + 1));

    if (!key || !val)
        abort();
    for (uint64_t i = 0; i < rows && !e; i += STEP) {
        uint32_t k = rows - i < STEP ? (uint32_t)(rows - i) : STEP;
        const char *p = (const char *)data + i * (kz + vz);

        for (uint32_t r = 0; r < k; r++, p += kz + vz) {
            memcpy(key + r * kz, p, kz);
            memcpy(val + r * vz, p + kz, vz);
        }
        if (n->out.key == BLOCK_STR)
            pad_strings(&text[0], (struct block_str *)(void *)key, k);
        if (n->out.val == BLOCK_STR)
            pad_strings(&text[1], (struct block_str *)(void *)val, k);
        struct block_cols c = { k, { key, vz ? val : NULL } };
        e = block_encode(&opts, &c, &b);
    }
    free(key);
    free(val);
    n->data = arena_memdup(&j->a, b.p, b.n);
    n->data_n = b.n;
    buf_fini(&b);
    buf_fini(&text[0]);
    buf_fini(&text[1]);
    return e;
}

static td_ds *
host_source(td_job *tj, int op, const char *path, const void *data, uint64_t lo, uint64_t hi, const td_type *ty,
            const td_opts *o, const char *file, int line)
{
    static const char *const names[] = { [TD_OP_TEXT] = "td_text_file", [TD_OP_BLOCKS] = "td_block_files",
                                         [TD_OP_FROM] = "td_from", [TD_OP_RANGE] = "td_range" };
    static const uint8_t ops[] = { [TD_OP_TEXT] = PLAN_TEXT, [TD_OP_BLOCKS] = PLAN_BLOCKS,
                                   [TD_OP_FROM] = PLAN_FROM, [TD_OP_RANGE] = PLAN_RANGE };
    struct job *j = of(tj);
    struct plan_node n = { .op = ops[op], .fn = PLAN_NO_FN, .out = { ty->key, ty->val }, .lo = lo, .hi = hi };

    if (op == TD_OP_RANGE && hi < lo)
        n.hi = lo; /* empty, as Spark's */

    j->has_ds = true;
    set_opts(j, &n, o, names[op], file, line);
    if ((op == TD_OP_TEXT || op == TD_OP_BLOCKS) && (!path || !path[0]))
        return &poisoned(j, err_new(ERR_INPUT, "%s:%d: %s needs a path", n.file, line, names[op]))->d;
    n.path = path ? arena_strdup(&j->a, path) : NULL;
    if (op == TD_OP_FROM) {
        struct err *e = data || !hi ? encode_from(j, &n, data, hi)
                                    : err_new(ERR_INPUT, "%s:%d: td_from of %llu values got no array", n.file, line,
                                              (unsigned long long)hi);
        if (e)
            return &poisoned(j, e)->d;
    }
    return &add_node(j, &n)->d;
}

const char *
job__type_name(struct plan_schema s, char buf[static 16])
{
    static const char *const kinds[] = { "nothing", "u64", "i64", "f64", "str" };

    snprintf(buf, 16, s.val ? "%s_%s" : "%s", kinds[s.key <= 4 ? s.key : 0], kinds[s.val <= 4 ? s.val : 0]);
    return buf;
}

/* What each op asks of its input and gives. */
static const struct {
    const char *name;
    uint8_t op, fold;
    char wants; /* f: what fn takes; p: pairs; n: pairs with a number; s: single values; a: anything */
} ops[] = {
    [TD_OP_MAP] = { "td_map", PLAN_MAP, 0, 'f' },
    [TD_OP_FILTER] = { "td_filter", PLAN_MAP, 0, 'f' },
    [TD_OP_UNION] = { "td_union", PLAN_UNION, 0, 'a' },
    [TD_OP_REDUCE_KEY] = { "td_reduce_by_key", PLAN_FOLD, PLAN_FOLD_FN, 'p' },
    [TD_OP_SUM_KEY] = { "td_sum_by_key", PLAN_FOLD, PLAN_FOLD_SUM, 'n' },
    [TD_OP_MIN_KEY] = { "td_min_by_key", PLAN_FOLD, PLAN_FOLD_MIN, 'n' },
    [TD_OP_MAX_KEY] = { "td_max_by_key", PLAN_FOLD, PLAN_FOLD_MAX, 'n' },
    [TD_OP_COUNT_KEY] = { "td_count_by_key", PLAN_FOLD, PLAN_FOLD_COUNT, 'p' },
    [TD_OP_DISTINCT] = { "td_distinct", PLAN_FOLD, PLAN_FOLD_DISTINCT, 's' },
    [TD_OP_GROUP_KEY] = { "td_group_by_key", PLAN_GROUP, 0, 'f' },
    [TD_OP_SORT] = { "td_sort", PLAN_SORT, 0, 's' },
    [TD_OP_SORT_KEY] = { "td_sort_by_key", PLAN_SORT, 0, 'p' },
};

static struct err *
check_op(int op, const struct ds *a, const struct ds *b, const td_fn *f, const char *at, int line)
{
    char t1[16], t2[16];
    struct plan_schema s = a->out;
    const char *has = job__type_name(s, t1), *name = ops[op].name;

    if (ops[op].wants == 'f' && (f->in->key != s.key || f->in->val != s.val))
        return err_new(ERR_INPUT, "%s:%d: %s() takes %s, the dataset holds %s", at, line, f->i.name, f->in->name, has);
    if (op == TD_OP_REDUCE_KEY && s.val && (f->in->key != s.val || f->in->val))
        return err_new(ERR_INPUT, "%s:%d: %s() folds %s, the dataset's values are %s", at, line, f->i.name, f->in->name,
                       job__type_name((struct plan_schema){ s.val, 0 }, t2));
    if ((ops[op].wants == 'p' || ops[op].wants == 'n') && !s.val)
        return err_new(ERR_INPUT, "%s:%d: %s needs pairs, the dataset holds %s", at, line, name, has);
    if (ops[op].wants == 'n' && s.val == TD_K_STR)
        return err_new(ERR_INPUT, "%s:%d: %s needs values that are numbers, the dataset holds %s", at, line, name, has);
    if (ops[op].wants == 's' && s.val)
        return err_new(ERR_INPUT, "%s:%d: %s takes single values, the dataset holds %s", at, line, name, has);
    if (op == TD_OP_UNION && (b->out.key != s.key || b->out.val != s.val))
        return err_new(ERR_INPUT, "%s:%d: td_union of %s and %s", at, line, has, job__type_name(b->out, t2));
    return NULL;
}

static td_ds *
host_op(int op, td_ds *ta, td_ds *tb, const td_fn *f, const td_opts *o, const char *file, int line)
{
    struct ds *a = (struct ds *)ta, *b = (struct ds *)tb;
    struct job *j = of(ta->job);
    struct plan_node n = { .op = ops[op].op, .fold = ops[op].fold, .fn = PLAN_NO_FN, .in = a->out, .out = a->out, .n_in = 1 };

    if (a->poison || (b && b->poison))
        return a->poison ? ta : tb;
    set_opts(j, &n, o, f ? f->i.name : ops[op].name, file, line);
    struct err *e = check_op(op, a, b, f, n.file, line);
    if (!e && f && (f->i.flags & TD_F_TEXT) && j->graph.nodes[a->node].op != PLAN_TEXT)
        e = err_new(ERR_INPUT, "%s:%d: the text function %s() reads td_text_file only", n.file, line, f->i.name);
    if (e)
        return &poisoned(j, e)->d;
    if (f) {
        n.fn = job__item(j, &f->i);
        if (op != TD_OP_REDUCE_KEY)
            n.out = (struct plan_schema){ f->out->key, f->out->val };
    }
    if (n.fold == PLAN_FOLD_COUNT)
        n.out.val = TD_K_I64;
    n.in_ids = ARENA_ARRAY(&j->a, uint32_t, 2);
    n.in_ids[0] = a->node;
    if (b) {
        n.in_ids[1] = b->node;
        n.n_in = 2;
    }
    return &add_node(j, &n)->d;
}

uint32_t
job__item(const struct job *j, const td_item *item)
{
    for (uint32_t i = 0; i < j->items->n; i++)
        if (j->items->item[i] == item)
            return i;
    return PLAN_NO_FN;
}

static const char *
host_conf(td_job *tj, const char *key, const char *dflt)
{
    struct job *j = of(tj);
    const char *v = NULL;
    struct err *e = j->w->conf(j->w->arg, key, &j->a, &v);

    if (e) {
        job__fail(j, err_wrap_take(e, "td_conf"));
        j->w->say(j->w->arg, TD_ERROR, "", 0, j->error);
    }
    return v ? v : dflt;
}

static int
host_conf_set(td_job *tj, const char *key, const char *value, const char *file, int line)
{
    struct job *j = of(tj);
    struct err *e;
    char origin[300];

    snprintf(origin, sizeof origin, "%s:%d", job__base(file), line);
    if (j->has_ds)
        e = err_new(ERR_CONFIG, "%s: \"%s\" can't be set after the first dataset was made", origin, key);
    else
        e = j->w->conf_set(j->w->arg, key, value, origin);
    if (!e)
        return 0;
    job__fail(j, e);
    j->w->say(j->w->arg, TD_ERROR, "", 0, j->error);
    return 1;
}

static int
host_total(td_job *tj, const td_acc *acc, td_slot_ *ret)
{
    struct job *j = of(tj);
    struct err *e = j->w->total(j->w->arg, job__item(j, &acc->i), acc->op, ret);

    if (!e)
        return 0;
    job__fail(j, e);
    return 1;
}

static const char *
host_error(td_job *tj)
{
    return of(tj)->error ? of(tj)->error : "";
}

static void
host_log(td_task *t, td_job *tj, int level, const char *file, int line, const char *fmt, va_list ap)
{
    char text[2048];

    vsnprintf(text, sizeof text, fmt, ap);
    of(tj)->w->say(of(tj)->w->arg, level, job__base(file), line, text);
}

static const char *
host_path(td_task *t, td_job *tj, const char *name, const char *file, int line)
{
    struct job *j = of(tj);
    const char *path;
    struct err *e = flow__file(j->fw, name, &j->a, &path);

    if (e) {
        job__fail(j, err_wrap_take(e, "%s:%d: td_file", job__base(file), line));
        j->w->say(j->w->arg, TD_ERROR, "", 0, j->error);
    }
    return path;
}

static const td_host job_host = {
    .size = sizeof(td_host), .abi_major = TD_ABI_MAJOR, .abi_minor = TD_ABI_MINOR,
    .source = host_source, .op = host_op, .act = job__act, .rows_free = job__rows_free, .conf = host_conf,
    .conf_set = host_conf_set, .total = host_total, .error = host_error, .log = host_log, .broadcast = job__broadcast,
    .path = host_path,
};

void
job_run(const struct job_world *w, const struct flow_world *fw, const struct flow_items *items,
        int (*main)(td_job *, int, char **), int argc, char **argv, int *ret_status)
{
    struct job *j = calloc(1, sizeof *j);

    if (!j)
        abort();
    j->j.h = &job_host;
    j->w = w;
    j->fw = fw;
    j->items = items;
    int rc = main(&j->j, argc, argv);
    if (rc != 2 && (rc || j->failed)) /* 2 is a usage error; for the rest the first error says it */
        rc = j->failed ? err_code_exit(j->code) : 1;
    *ret_status = rc;
    job__rows_free_all(j);
    free(j->graph.nodes);
    free(j->bcast);
    free(j->bcast_live);
    free(j->error);
    arena_fini(&j->a);
    free(j);
}
