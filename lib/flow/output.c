/* output -- the sealed run of a map attempt, and where a block run of results goes. */
#include "base/file.h"
#include "block/order.h"
#include "flow_priv.h"

struct err *
flow__output_open(struct flow_run *r, struct block_schema schema, uint32_t partitions, bool first_keys,
                  struct flow_output *o)
{
    struct block_run_opts opts = { .schema = schema, .first_keys = first_keys };

    *o = (struct flow_output){ .r = r, .fd = -1, .schema = schema, .partitions = partitions };
    if (r->task->stage->sink == PLAN_SINK_SHUFFLE) {
        opts.codec = r->w->shuffle_codec;
        opts.block_bytes = flow__block_bytes(r->budget);
    }
    TRY(r->w->open_output(r->w->arg, &o->fd, &o->name));
    struct err *e = block_writer_open(o->fd, o->name, &opts, &o->w);
    if (e)
        file_close(&o->fd);
    return e;
}

struct err *
flow__output_put(struct flow_output *o, const struct block_cols *rows, const uint64_t *ranks)
{
    uint64_t own[FLOW_ROWS];

    if (o->partitions <= 1)
        return block_put(o->w, rows, 0, rows->n);
    for (uint32_t from = 0, n; from < rows->n; from += n) {
        n = rows->n - from < FLOW_ROWS ? rows->n - from : FLOW_ROWS;
        const uint64_t *rank = ranks ? ranks + from : own;

        if (!ranks)
            block_hash_ranks(o->schema.key, rows->col[0], from, from + n, own);
        for (uint32_t i = 0; i < n;) {
            uint32_t p = block_partition_of(rank[i], o->partitions), k = n;

            if (block_partition_of(rank[n - 1], o->partitions) != p)
                for (k = i + 1; block_partition_of(rank[k], o->partitions) == p;)
                    k++;
            if (p != o->now)
                TRY(block_partition(o->w, p));
            o->now = p;
            TRY(block_put(o->w, rows, from + i, from + k));
            i = k;
        }
    }
    return NULL;
}

struct err *
flow__output_close(struct flow_output *o)
{
    struct block_run_info info;

    TRY(block_writer_close(&o->w, &info));
    o->r->res->out_rows += info.rows;
    o->r->res->out_bytes += info.file_bytes;
    o->r->res->digest += info.digest;
    file_close(&o->fd);
    return NULL;
}
