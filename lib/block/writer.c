/* writer -- rows into blocks, blocks into a file, footer behind them. */
#include <stdlib.h>

#include "base/file.h"
#include "block/block_priv.h"

struct block_writer {
    int fd;
    char *name;
    struct block_run_opts opts;
    uint32_t rows_max;
    uint32_t partition;
    struct block__stage stage;
    struct buf out;     /* sealed blocks that are not written yet */
    struct buf scratch; /* for packing */
    struct buf footer;
    struct block_run_info info;
};

bool
block_schema_valid(struct block_schema s)
{
    return s.key >= BLOCK_U64 && s.key <= BLOCK_STR && s.val <= BLOCK_STR;
}

size_t
block_cell(uint8_t kind)
{
    return kind == BLOCK_NONE ? 0 : kind == BLOCK_STR ? sizeof(struct block_str) : 8;
}

static uint32_t
block_bytes_of(const struct block_run_opts *o)
{
    uint32_t n = o->block_bytes ? o->block_bytes : BLOCK_BYTES;

    return n < BLOCK_RAW_MAX / 2 ? n : BLOCK_RAW_MAX / 2;
}

/* Small blocks, small writes: who asks for them has little memory. */
static size_t
write_bytes_of(const struct block_run_opts *o)
{
    size_t n = 4 * (size_t)block_bytes_of(o);

    return n < BLOCK_WRITE_BYTES ? n : BLOCK_WRITE_BYTES;
}

static uint32_t
rows_max_of(const struct block_run_opts *o)
{
    uint32_t n = block_bytes_of(o) / (o->schema.val ? 16 : 8);

    return n < 1 ? 1 : n > BLOCK_ROWS_MAX ? BLOCK_ROWS_MAX : n;
}

struct err *
block_writer_open(int fd, const char *name, const struct block_run_opts *opts, struct block_writer **ret)
{
    ASSERT(block_schema_valid(opts->schema));
    struct block_writer *w = calloc(1, sizeof *w);

    if (!w || !(w->name = strdup(name)))
        abort();
    w->fd = fd;
    w->opts = *opts;
    w->opts.block_bytes = block_bytes_of(opts);
    w->rows_max = rows_max_of(opts);
    block__stage_init(&w->stage, opts->schema);
    *ret = w;
    return NULL;
}

/* A buffer that one giant record made large is not kept. */
static void
drop_giant(const struct block_writer *w, struct buf *b)
{
    if (b->cap > 4 * (BLOCK_WRITE_BYTES + (size_t)w->opts.block_bytes))
        buf_fini(b);
}

static struct err *
write_out(struct block_writer *w)
{
    TRY(file_write_full(w->fd, w->out.p, w->out.n, w->name));
    w->out.n = 0;
    drop_giant(w, &w->out);
    drop_giant(w, &w->scratch);
    return NULL;
}

/* The first key of the stage, cut. */
static void
put_first(struct buf *b, const struct block__stage *s)
{
    if (s->schema.key == BLOCK_STR) {
        uint32_t n = s->col[0].len[0] < BLOCK_FIRST_MAX ? s->col[0].len[0] : BLOCK_FIRST_MAX;

        put_u8(b, (uint8_t)n);
        buf_put(b, s->col[0].bytes, n);
    } else {
        put_u8(b, 8);
        put_u64(b, s->col[0].v[0]);
    }
}

static struct err *
seal(struct block_writer *w)
{
    struct block__stage *s = &w->stage;
    size_t need = block__seal_bound(s), most = write_bytes_of(&w->opts);

    if (s->rows == 0)
        return NULL;
    if (w->out.n && w->out.n + need > most)
        TRY(write_out(w));
    if (w->info.blocks == 1 && need < most) /* more than one: one buffer for all that follow */
        buf_room(&w->out, most - w->out.n);
    struct block__header h = block__seal(s, w->opts.codec, &w->scratch, &w->out);
    uint32_t bytes = (uint32_t)sizeof h + h.stored;
    put_u32(&w->footer, bytes);
    put_u32(&w->footer, h.raw);
    put_u32(&w->footer, h.rows);
    put_u32(&w->footer, w->partition);
    put_u32(&w->footer, (uint32_t)h.checksum);
    if (w->opts.first_keys)
        put_first(&w->footer, s);
    w->info.blocks++;
    w->info.rows += h.rows;
    if (!w->opts.no_digest)
        w->info.digest += block__stage_digest(s);
    w->info.raw_bytes += h.raw;
    w->info.file_bytes += bytes;
    block__stage_clear(s);
    if (s->col[0].cap + s->col[1].cap > 4 * (size_t)w->opts.block_bytes + 8192) /* a giant was here */
        block__stage_fini(s), s->rows_cap = 0;
    return w->out.n >= most ? write_out(w) : NULL;
}

struct err *
block_put(struct block_writer *w, const struct block_cols *cols, uint32_t from, uint32_t to)
{
    ASSERT(from <= to && to <= cols->n);
    while (from < to) {
        uint32_t end;

        TRY_OR(block__stage_put(&w->stage, cols, from, to, w->rows_max, w->opts.block_bytes, &end),
               "writing \"%s\"", w->name);
        from = end;
        if (from < to || w->stage.rows == w->rows_max || w->stage.raw >= w->opts.block_bytes)
            TRY(seal(w));
    }
    return NULL;
}

struct err *
block_partition(struct block_writer *w, uint32_t partition)
{
    ASSERT(partition >= w->partition);
    if (partition != w->partition)
        TRY(seal(w));
    w->partition = partition;
    return NULL;
}

static struct err *
finish(struct block_writer *w)
{
    TRY(seal(w));
    struct block_run_info *i = &w->info;
    struct block__trailer t = { .magic = BLOCK__RUN_MAGIC, .version = BLOCK__VERSION,
                                .key = w->opts.schema.key, .val = w->opts.schema.val,
                                .flags = w->opts.first_keys ? BLOCK__FIRST_KEYS : 0, .rows = i->rows,
                                .raw_bytes = i->raw_bytes, .digest = i->digest,
                                .footer_bytes = w->footer.n, .blocks = i->blocks };

    i->file_bytes += w->footer.n + sizeof t;
    t.file_bytes = i->file_bytes;
    t.checksum = block__checksum(&t, offsetof(struct block__trailer, checksum), w->footer.p, w->footer.n);
    buf_put(&w->out, w->footer.p, w->footer.n);
    buf_put(&w->out, &t, sizeof t);
    return write_out(w);
}

struct err *
block_writer_close(struct block_writer **take, struct block_run_info *ret)
{
    struct err *e = finish(*take);

    if (!e && ret)
        *ret = (*take)->info;
    block_writer_abandon(take);
    return e;
}

void
block_writer_abandon(struct block_writer **take)
{
    struct block_writer *w = *take;

    *take = NULL;
    if (!w)
        return;
    block__stage_fini(&w->stage);
    buf_fini(&w->out);
    buf_fini(&w->scratch);
    buf_fini(&w->footer);
    free(w->name);
    free(w);
}

uint64_t
block_writer_bytes(const struct block_writer *w)
{
    return w->info.file_bytes;
}

size_t
block_writer_held(const struct block_writer *w)
{
    return sizeof *w + block__stage_held(&w->stage) + w->out.cap + w->scratch.cap + w->footer.cap;
}

size_t
block_writer_need(const struct block_run_opts *o)
{
    size_t block = block_bytes_of(o), stage = 2 * block + 8192;

    return sizeof(struct block_writer) + stage + write_bytes_of(o) + 2 * block + (o->codec ? 3 * block : 0);
}
