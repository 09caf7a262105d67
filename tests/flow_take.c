/* flow_take -- a take ends within a partition, however long that is and whatever stands in the chain. */
#include "flow.h"

static unsigned ends;
TD_COUNTER(stopped);

static void
count_end(td_task *t)
{
    ends++;
    td_add(t, stopped, 1);
}

static void
for_ever(td_task *t, td_u64 k, td_out_u64 *out)
{
    for (uint64_t i = 0; !td_stop(t); i++)
        td_emit(out, k + i);
}
TD_FLAT_MAP(for_ever, u64, u64, .teardown = count_end);

static int
twice(td_task *t, const td_batch *b, td_out_u64 *out)
{
    for (uint32_t i = 0; i < b->n; i++) {
        td_emit(out, td_load_u64(b, i));
        td_emit(out, td_load_u64(b, i));
    }
    return 0;
}
TD_MAP_BATCH(twice, u64, u64, .teardown = count_end);

static bool
odd(td_task *t, td_u64 v)
{
    td_add(t, stopped, 1);
    return v & 1;
}
TD_FILTER(odd, u64, .teardown = count_end);

static void
all_of(td_task *t, td_u64 k, td_iter_u64 *it, td_out_u64 *out)
{
    uint64_t v;

    while (td_next(it, &v))
        td_emit(out, v);
}
TD_GROUP(all_of, u64, u64, u64, .teardown = count_end);

/* The first n rows of d: 0 when row i is from + i / every * step. */
static uint64_t
take_differs(td_job *j, td_ds *d, uint64_t n, uint64_t from, uint64_t every, uint64_t step, unsigned want_ends)
{
    td_rows rows;
    uint64_t bad = 0;

    ends = 0;
    if (td_take(d, n, &rows))
        return UINT64_MAX;
    EQ_U64(rows.n, n);
    EQ_U64(ends, want_ends);
    for (uint64_t i = 0; i < rows.n; i++)
        bad += td_row(&rows, u64, i) != from + i / every * step;
    td_rows_free(j, &rows);
    return bad;
}

static td_u64_u64
by_seven(td_task *t, td_u64 k)
{
    return (td_u64_u64){ k % 7, k };
}
TD_MAP(by_seven, u64, u64_u64);

static int
endless_job(td_job *j, int argc, char **argv)
{
    struct rig *r = rig_arg;
    td_ds *all = td_range(j, 0, UINT64_MAX, .partitions = 3), *some = td_range(j, 0, 50000, .partitions = 2);
    td_ds *few = td_filter(td_range(j, 0, 10, .partitions = 2), odd);
    td_ds *group = td_group_by_key(td_map(some, by_seven), all_of, .partitions = 1);
    td_rows rows;

    EQ_U64(take_differs(j, all, 5, 0, 1, 1, 0), 0);
    CU_ASSERT(r->in_rows <= 1024);
    EQ_U64(take_differs(j, td_filter(all, odd), 3000, 1, 1, 2, 1), 0);
    EQ_U64(take_differs(j, td_flat_map(all, for_ever), 3000, 0, 1, 1, 1), 0);
    EQ_U64(take_differs(j, td_map_batch(all, twice), 3001, 0, 2, 1, 1), 0);
    td_ds *chain = td_filter(td_flat_map(td_filter(all, odd), for_ever), odd);
    EQ_U64(take_differs(j, td_map_batch(chain, twice), 2500, 1, 2, 2, 4), 0);
    if (td_take(group, 1, &rows)) /* the first group begins with its key */
        return 1;
    uint64_t first = td_row(&rows, u64, 0);
    CU_ASSERT(first < 7);
    EQ_U64(take_differs(j, group, 5000, first, 1, 7, 1), 0);
    if (td_take(td_sum_by_key(td_map(some, by_seven), .partitions = 1), 3, &rows))
        return 1;
    EQ_U64(rows.n, 3);
    EQ_U64(td_total(j, stopped), 0); /* nothing was read whole */
    EQ_U64(take_differs(j, few, 5, 1, 1, 2, 2), 0);
    EQ_U64(td_total(j, stopped), 6); /* the first half was, with its end; of the second the last row was enough */
    return 0;
}

static void
takes_end(void)
{
    for (int one = 0; one < 2; one++) {
        struct rig r = { .one_record = one };

        EQ_U64(rig_run(&r, endless_job, &r), 0);
        rig_fini(&r);
    }
}

const struct unit_test flow_take_tests[] = {
    { "act.take_ends_within_a_partition", takes_end },
    UNIT_END,
};
