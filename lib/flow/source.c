/* source -- where rows come from: text files, block files, constants, ranges.  reduce.c has the shuffle. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "flow_priv.h"

/*
 * Text.  A piece [offset, offset + length) owns the records that begin in it: a reader starts one byte early
 * and skips to the first record end, and goes on behind the end of its piece until its last record is whole.
 * The buffer holds whole records and a rest; it grows only when one record is larger than it.
 */
struct text {
    struct flow_run *r;
    struct flow_piece in;
    const struct stream_codec *codec;
    void *stream;
    char *buf;
    size_t cap, have;
    uint64_t base;  /* offset of buf[0] in the file (of the unpacked bytes) */
    uint64_t raw;   /* compressed bytes read */
    uint64_t limit; /* records that begin here or later belong to somebody else */
    bool end;       /* the file has no more bytes */
    uint64_t first; /* rows before this batch */
    struct block_str *rows;
};

static struct err *
pull_raw(void *arg, void *p, size_t n, size_t *ret_n)
{
    struct text *t = arg;

    TRY(file_pread(t->in.fd, p, n, t->raw, ret_n, t->in.name));
    t->raw += *ret_n;
    t->r->res->in_bytes += *ret_n;
    return NULL;
}

static struct err *
grow(struct text *t)
{
    struct flow_run *r = t->r;
    size_t cap = t->cap * 2;

    if (!budget_force(r->budget, cap - t->cap))
        return err_hint(err_new(ERR_LIMIT, "a record of \"%s\" at byte offset %llu is larger than %zu bytes, and a task may hold %llu",
                                t->in.name, (unsigned long long)t->base, t->cap, (unsigned long long)r->budget->limit),
                        "Give tasks more memory with --executor-memory.");
    t->buf = realloc(t->buf, cap + BLOCK_PAD);
    if (!t->buf)
        abort();
    t->cap = cap;
    return NULL;
}

/* More bytes behind what is there. */
static struct err *
fill(struct text *t)
{
    size_t room = t->cap - t->have, got;

    if (t->stream) {
        TRY(t->codec->read(t->stream, t->buf + t->have, room, &got));
    } else {
        uint64_t at = t->base + t->have;

        TRY(file_pread(t->in.fd, t->buf + t->have, room, at, &got, t->in.name));
        if (got == 0 && at < t->in.file_size)
            return err_new(ERR_INPUT, "\"%s\" was truncated while it was read: it had %llu bytes, now it ends after %llu",
                           t->in.name, (unsigned long long)t->in.file_size, (unsigned long long)at);
    }
    t->end = got == 0;
    t->have += got;
    memset(t->buf + t->have, 0, BLOCK_PAD);
    return NULL;
}

/* Whole records p[0, n) go down the chain. */
static struct err *
region(struct text *t, const char *p, size_t n)
{
    struct flow_run *r = t->r;
    const struct flow_format *f = r->w->text;
    bool raw = r->head_user && r->head_user->fn->i.flags & TD_F_TEXT;

    r->buf = t->buf;
    r->buf_offset = t->base;
    r->lo = (uintptr_t)p;
    r->span = n;
    if (!t->stream)
        r->res->in_bytes += n; /* not what was read around the piece: those bytes are others' */
    for (const char *end = p + n; p < end;) {
        td_batch b = { .flags = TD_B_TEXT, .col = { t->rows }, .first = t->first };
        size_t used = (size_t)(end - p);

        if (!raw || r->task->one_record)
            b.n = f->cut(p, used, r->task->one_record ? 1 : FLOW_ROWS, t->rows, &used);
        b.text = (td_str){ p, used };
        t->first += b.n;
        r->res->in_rows += b.n;
        if (raw)
            b.n = 0;
        TRY(flow__push(r, r->head, &b));
        p += used;
    }
    TRY(flow__flush(r));
    r->lo = r->span = 0;
    r->w->progress(r->w->arg, r->res->in_rows, r->res->in_bytes, r->op);
    return NULL;
}

/* Moves past the record that began before the piece; *ret_from is where the first one of ours begins. */
static struct err *
skip_first(struct text *t, size_t *ret_from)
{
    *ret_from = 0;
    if (t->in.offset == 0 || t->stream)
        return NULL;
    for (;;) {
        size_t first = t->r->w->text->first(t->buf, t->have, 0);

        if (first || t->end) {
            *ret_from = first ? first : t->have;
            return NULL;
        }
        t->base += t->have; /* all of it belongs to the record of somebody else */
        t->have = 0;
        if (t->base >= t->limit) {
            t->end = true;
            return NULL;
        }
        TRY(fill(t));
    }
}

static struct err *
read_piece(struct text *t)
{
    const struct flow_format *f = t->r->w->text;
    size_t from;

    t->have = 0;
    t->end = false;
    t->base = t->in.offset && !t->stream ? t->in.offset - 1 : 0;
    t->limit = t->stream ? UINT64_MAX : t->in.offset + t->in.length;
    if (!t->stream && t->in.length == 0)
        return NULL;
    TRY(fill(t));
    TRY(skip_first(t, &from));
    for (;;) {
        bool last = false;
        size_t n;

        if (t->base + from >= t->limit)
            return NULL;
        if (t->base + t->have >= t->limit) { /* the record in which the piece ends is the last */
            n = f->first(t->buf, t->have, (size_t)(t->limit - 1 - t->base));
            last = n != 0;
            if (!n && t->end)
                n = t->have, last = true;
            if (!n)
                n = f->whole(t->buf, t->have);
        } else {
            n = t->end ? t->have : f->whole(t->buf, t->have);
            last = t->end;
        }
        if (n > from)
            TRY(region(t, t->buf + from, n - from));
        if (last)
            return NULL;
        if (n < from)
            n = from;
        memmove(t->buf, t->buf + n, t->have - n);
        t->have -= n;
        t->base += n;
        from = 0;
        if (t->have == t->cap)
            TRY(grow(t));
        TRY(fill(t));
    }
}

static const struct stream_codec *
codec_of(const struct flow_run *r, const char *name)
{
    size_t n = strlen(name);

    for (const struct stream_codec *const *c = r->w->streams; *c; c++) {
        size_t m = strlen((*c)->suffix);

        if (n > m && !strcmp(name + n - m, (*c)->suffix))
            return *c;
    }
    return NULL;
}

/* Of reading what is to be there already: no further attempt will find another file. */
static struct err *
of_input(struct err *e)
{
    if (e && e->code == ERR_CORRUPT)
        e->code = ERR_INPUT;
    return e;
}

static struct err *
one_piece(struct text *t)
{
    t->codec = t->in.whole ? codec_of(t->r, t->in.name) : NULL;
    t->raw = 0;
    t->stream = NULL;
    t->r->file_name = t->in.name;
    t->r->unpacked = t->codec != NULL;
    if (t->codec) {
        struct stream_source src = { pull_raw, t, t->in.name };

        TRY(t->codec->open(&src, &t->stream));
    }
    struct err *e = read_piece(t);
    if (t->stream) {
        t->codec->close(t->stream);
        e = of_input(e);
    }
    return e;
}

struct err *
flow__source_text(struct flow_run *r, const struct plan_branch *b)
{
    struct text t = { .r = r, .cap = flow__share(r->budget, FLOW_READ, 8, 4096) };
    struct err *e = NULL;

    (void)b;
    if (!budget_force(r->budget, t.cap + BLOCK_PAD))
        return err_new(ERR_LIMIT, "a task may hold %llu bytes, too few to read text", (unsigned long long)r->budget->limit);
    t.buf = malloc(t.cap + BLOCK_PAD);
    if (!t.buf)
        abort();
    t.rows = arena_alloc(r->a, sizeof *t.rows * FLOW_ROWS);
    for (uint32_t i = 0; !e; i++) {
        e = r->w->open_piece(r->w->arg, i, &t.in);
        if (e || t.in.fd < 0)
            break;
        r->file = i;
        e = one_piece(&t);
        file_close(&t.in.fd);
    }
    r->buf = NULL;
    free(t.buf);
    budget_give(r->budget, t.cap + BLOCK_PAD);
    return e;
}

/* Rows of cols in batches of FLOW_ROWS (or one), from row `from` on. */
static struct err *
push_cols(struct flow_run *r, const struct block_cols *c, struct block_schema s, uint64_t *first)
{
    uint32_t most = r->task->one_record ? 1 : FLOW_ROWS;

    for (uint32_t i = 0; i < c->n; i += most) {
        td_batch b = { .n = c->n - i < most ? c->n - i : most, .first = *first };

        b.col[0] = (const char *)c->col[0] + i * block_cell(s.key);
        if (s.val)
            b.col[1] = (const char *)c->col[1] + i * block_cell(s.val);
        *first += b.n;
        r->res->in_rows += b.n;
        TRY(flow__push(r, r->head, &b));
    }
    return flow__flush(r);
}

static struct err *
read_run(struct flow_run *r, struct block_run *run, const struct plan_node *n, uint64_t *first)
{
    struct block_schema s = block_run_schema(run);
    struct block_cursor *c;
    struct block_cols cols;
    struct err *e;

    if (s.key != n->out.key || s.val != n->out.val)
        return err_new(ERR_INPUT, "%s:%u: \"%s\" holds %s, the dataset is of %s", n->file, n->line, r->file_name,
                       plan_schema_name((struct plan_schema){ s.key, s.val }), plan_schema_name(n->out));
    TRY(block_cursor_open(run, 0, block_run_count(run), &c));
    block_cursor_ahead(c, true);
    while (!(e = of_input(block_cursor_next(c, &cols))) && cols.n)
        if ((e = push_cols(r, &cols, s, first)))
            break;
    block_cursor_close(c);
    r->w->progress(r->w->arg, r->res->in_rows, r->res->in_bytes, r->op);
    return e;
}

struct err *
flow__source_blocks(struct flow_run *r, const struct plan_branch *b)
{
    const struct plan_node *n = plan_node(r->task->nodes, b->node);
    uint64_t first = 0;

    for (uint32_t i = 0;; i++) {
        struct flow_piece in;
        struct block_run *run;

        TRY(r->w->open_piece(r->w->arg, i, &in));
        if (in.fd < 0)
            return NULL;
        r->file = i;
        r->file_name = in.name;
        struct err *e = of_input(block_run_open(in.fd, in.name, r->w->codecs, &run));
        if (!e) {
            r->res->in_bytes += in.file_size;
            e = read_run(r, run, n, &first);
            block_run_close(run);
        }
        close(in.fd);
        if (e)
            return e;
    }
}

struct err *
flow__source_from(struct flow_run *r, const struct plan_branch *b)
{
    const struct plan_node *n = plan_node(r->task->nodes, b->node);
    struct block_schema s = flow__schema(n->out), got;
    uint64_t from, to, row = 0, first = 0;

    plan_slice(n->hi, b->n, r->task->partition - b->first, &from, &to);
    for (size_t at = 0, used; at < n->data_n; at += used) {
        struct block_cols c;

        TRY_OR(block_decode(n->data + at, n->data_n - at, "constants", r->w->codecs, r->a, &c, &got, &used),
               "%s:%u: reading the values of td_from", n->file, n->line);
        if (got.key != s.key || got.val != s.val)
            return err_new(ERR_CORRUPT, "%s:%u: the values of td_from have another type", n->file, n->line);
        uint64_t lo = row < from ? from - row : 0, hi = row + c.n > to ? to - row : c.n;
        row += c.n;
        if (row <= from || lo >= hi)
            continue;
        struct block_cols part = { (uint32_t)(hi - lo), { (const char *)c.col[0] + lo * block_cell(s.key), NULL } };
        if (s.val)
            part.col[1] = (const char *)c.col[1] + lo * block_cell(s.val);
        TRY(push_cols(r, &part, s, &first));
        if (row >= to)
            break;
    }
    return NULL;
}

struct err *
flow__source_range(struct flow_run *r, const struct plan_branch *b)
{
    const struct plan_node *n = plan_node(r->task->nodes, b->node);
    uint64_t from, to, v[FLOW_ROWS], first = 0;

    plan_slice(n->hi > n->lo ? n->hi - n->lo : 0, b->n, r->task->partition - b->first, &from, &to);
    for (uint64_t at = from; at < to;) {
        uint32_t k = 0;

        while (k < FLOW_ROWS && at < to)
            v[k++] = n->lo + at++;
        struct block_cols c = { k, { v, NULL } };
        TRY(push_cols(r, &c, (struct block_schema){ BLOCK_U64, BLOCK_NONE }, &first));
    }
    return NULL;
}
