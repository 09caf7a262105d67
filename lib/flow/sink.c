/* sink -- the ends of a chain that are not a shuffle: counting, collecting, reducing, files. */
#include <string.h>

#include "base/file.h"
#include "flow_priv.h"

struct sink {
    struct flow_sink sink; /* first */
    struct flow_run *r;
    struct block_schema schema;
    struct flow_output out; /* blocks */
    uint64_t left;          /* rows that are still wanted of some_push */
    struct buf text;
    int fd;
    const char *name;
    struct flow_user *user; /* reduce */
    uint64_t acc[2];        /* room for any value, a td_str too */
    struct arena keep[2];   /* the bytes of a string in acc, and of the one before */
    unsigned cur;
};

enum { TEXT_WRITE = 256 << 10 };

static struct err *
count_push(struct flow_sink *s, const td_batch *b)
{
    ((struct sink *)s)->r->res->out_rows += b->n;
    return NULL;
}

static struct err *
none_finish(struct flow_sink *s)
{
    return NULL;
}

static struct err *
blocks_push(struct flow_sink *s, const td_batch *b)
{
    struct block_cols c = { b->n, { b->col[0], b->col[1] } };

    return block_put(((struct sink *)s)->out.w, &c, 0, b->n);
}

/* Of a td_take: ends the attempt with the last row that is wanted. */
static struct err *
some_push(struct flow_sink *s, const td_batch *b)
{
    struct sink *k = (struct sink *)s;
    struct block_cols c = { b->n, { b->col[0], b->col[1] } };
    uint32_t n = b->n < k->left ? b->n : (uint32_t)k->left;

    TRY(block_put(k->out.w, &c, 0, n));
    k->left -= n;
    if (k->left)
        return NULL;
    k->r->enough = true;
    return err_new(ERR_CANCELLED, "these are enough rows");
}

static struct err *
blocks_finish(struct flow_sink *s)
{
    return flow__output_close(&((struct sink *)s)->out);
}

static struct err *
text_write(struct sink *k)
{
    TRY(file_write_full(k->fd, k->text.p, k->text.n, k->name));
    k->r->res->out_bytes += k->text.n;
    k->text.n = 0;
    return NULL;
}

static struct err *
text_push(struct flow_sink *s, const td_batch *b)
{
    struct sink *k = (struct sink *)s;
    struct block_cols c = { b->n, { b->col[0], b->col[1] } };

    k->r->w->text->put(&k->text, k->schema, &c, 0, b->n);
    k->r->res->out_rows += b->n;
    return k->text.n >= TEXT_WRITE ? text_write(k) : NULL;
}

static struct err *
text_finish(struct flow_sink *s)
{
    struct sink *k = (struct sink *)s;

    TRY(text_write(k));
    file_close(&k->fd);
    return NULL;
}

/* The accumulator of a pair lies as td_K_V does: key, then value. */
static void
load_row(const struct sink *k, const td_batch *b, uint32_t i, void *to)
{
    size_t kz = block_cell(k->schema.key), vz = block_cell(k->schema.val);

    memcpy(to, (const char *)b->col[0] + i * kz, kz);
    if (vz)
        memcpy((char *)to + kz, (const char *)b->col[1] + i * vz, vz);
}

static void
keep_str(struct sink *k)
{
    struct block_str s;

    if (k->schema.key != BLOCK_STR)
        return;
    memcpy(&s, k->acc, sizeof s);
    k->cur ^= 1;
    flow__arena_empty(&k->keep[k->cur]);
    s = flow__str_copy(&k->keep[k->cur], s.p, s.n);
    memcpy(k->acc, &s, sizeof s);
}

static struct err *
reduce_push(struct flow_sink *s, const td_batch *b)
{
    struct sink *k = (struct sink *)s;
    void *acc[FLOW_ROWS];
    uint32_t i = 0;

    if (b->n && k->r->res->out_rows == 0) {
        load_row(k, b, 0, k->acc);
        k->r->res->out_rows = 1;
        i = 1;
    }
    for (uint32_t j = 0; j < b->n; j++)
        acc[j] = k->acc;
    flow__user_batch(k->user);
    uint32_t outer = k->r->op;
    k->r->op = k->user->index;
    if (b->n > i)
        k->user->fn->fold(&k->user->t, acc, (const char *)b->col[0] + i * block_cell(k->schema.key), b->n - i);
    k->r->op = outer;
    if (k->user->t.bad || k->r->err)
        return flow__user_err(k->user);
    keep_str(k);
    return NULL;
}

static struct err *
reduce_finish(struct flow_sink *s)
{
    struct sink *k = (struct sink *)s;
    struct block_cols c = { (uint32_t)k->r->res->out_rows, { k->acc, NULL } };

    k->r->res->out_rows = 0;
    TRY(flow__user_end(k->user));
    TRY(flow__output_open(k->r, k->schema, 0, false, &k->out));
    TRY(block_put(k->out.w, &c, 0, c.n));
    return flow__output_close(&k->out);
}

static void
sink_free(struct flow_sink *s)
{
    struct sink *k = (struct sink *)s;

    block_writer_abandon(&k->out.w);
    file_close(&k->out.fd);
    file_close(&k->fd);
    buf_fini(&k->text);
    arena_fini(&k->keep[0]);
    arena_fini(&k->keep[1]);
}

static struct err *
reduce_new(struct flow_run *r, struct sink *k)
{
    struct err *e = NULL;

    k->sink = (struct flow_sink){ reduce_push, reduce_finish, sink_free };
    if (k->schema.val)
        return err_new(ERR_INPUT, "td_reduce takes single values; give pairs to td_reduce_by_key");
    k->user = flow__user(r, plan_node(r->task->nodes, r->task->stage->node), r->task->stage->fn, FLOW_ACTION | r->task->stage->id, &e);
    return e;
}

struct err *
flow__sink_new(struct flow_run *r, struct flow_sink **ret)
{
    const struct plan_stage *st = r->task->stage;
    const struct plan_node *n = plan_node(r->task->nodes, st->node);

    if (st->sink == PLAN_SINK_SHUFFLE)
        return n->op == PLAN_FOLD ? flow__combine_new(r, n, ret) : flow__sorter_new(r, n, ret);
    struct sink *k = ARENA_NEW(r->a, struct sink);
    k->r = r;
    k->schema = flow__schema(st->row);
    k->fd = k->out.fd = -1;
    *ret = &k->sink;
    switch (st->sink) {
    case PLAN_SINK_COUNT:
        k->sink = (struct flow_sink){ count_push, none_finish, NULL };
        return NULL;
    case PLAN_SINK_REDUCE:
        return reduce_new(r, k);
    case PLAN_SINK_SAVE_TEXT:
        k->sink = (struct flow_sink){ text_push, text_finish, sink_free };
        return r->w->open_output(r->w->arg, &k->fd, &k->name);
    case PLAN_SINK_COLLECT:
    case PLAN_SINK_SAVE_BLOCKS:
        k->left = st->enough;
        k->sink = (struct flow_sink){ st->enough ? some_push : blocks_push, blocks_finish, sink_free };
        return flow__output_open(r, k->schema, 0, false, &k->out);
    default:
        return err_new(ERR_CORRUPT, "stage %u has a sink of unknown kind %u", st->id, st->sink);
    }
}
