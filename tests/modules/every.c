/* A module with an item of each kind, for the ELF reader, module_load and taskd inspect. */
#include <taskd.h>

TD_COUNTER(seen);
TD_MAXIMUM(longest);
TD_MINIMUM(shortest);
TD_FSUM(weight);

static void
words(td_task *t, td_str line, td_out_str_i64 *out)
{
    td_str w;

    td_add(t, seen, 1);
    td_max(t, longest, (int64_t)line.n);
    td_min(t, shortest, (int64_t)line.n);
    td_fadd(t, weight, 0.5);
    TD_EACH_WORD(w, line)
        td_emit(out, w, 1);
}
TD_FLAT_MAP(words, str, str_i64);

static td_u64
length(td_task *t, td_str s)
{
    return s.n;
}
TD_MAP(length, str, u64);

static bool
solid(td_task *t, td_str s)
{
    return s.n > 0;
}
TD_FILTER(solid, str);

static td_i64
larger(td_task *t, td_i64 a, td_i64 b)
{
    return a > b ? a : b;
}
TD_REDUCE(larger, i64);

static void
first(td_task *t, td_str k, td_iter_i64 *it, td_out_str_i64 *out)
{
    td_i64 v;

    if (td_next(it, &v))
        td_emit(out, k, v);
}
TD_GROUP(first, str, i64, str_i64);

static int
columns(td_task *t, const td_batch *b, td_out_u64 *out)
{
    for (uint32_t i = 0; i < b->n; i++)
        td_emit(out, ((const td_str *)b->col[0])[i].n);
    return 0;
}
TD_MAP_BATCH(columns, str, u64);

static int
text(td_task *t, td_str lines, td_out_u64 *out)
{
    td_emit(out, lines.n);
    return 0;
}
TD_MAP_TEXT(text, u64);

struct table {
    td_u64 n;
};
static struct table *
table_build(td_task *t, td_str bytes)
{
    struct table *a = (struct table *)td_alloc(t, sizeof *a);

    a->n = bytes.n;
    return a;
}
TD_BROADCAST(table, struct table, table_build);

static int
job(td_job *j, int argc, char **argv)
{
    return 0;
}
TD_PLUGIN("every", "2.5", job);
