/* actions INPUT DIR: every action, and what a job can say; prints lines "name value" with td_say. */
#include <inttypes.h>
#include <taskd.h>

TD_COUNTER(seen);
TD_MAXIMUM(most);

static td_u64
twice(td_task *t, td_u64 v)
{
    td_add(t, seen, 1);
    td_max(t, most, (int64_t)v);
    return 2 * v;
}
TD_MAP(twice, u64, u64);

static td_u64
add(td_task *t, td_u64 a, td_u64 b)
{
    return a + b;
}
TD_REDUCE(add, u64);

static int
job(td_job *j, int argc, char **argv)
{
    static const td_str_i64 some[] = { { { "b", 1 }, 2 }, { { "a", 1 }, -1 }, { { "c", 1 }, 5 } };
    td_rows rows;
    uint64_t n = 0, sum = 0;

    if (argc != 3)
        return TD_USAGE(j, "actions INPUT DIR");
    char path[4000];
    td_ds *numbers = td_map(td_range(j, 0, 100000, .partitions = 7), twice);

    if (td_count(numbers, &n))
        return 1;
    td_say(j, "count %" PRIu64, n);
    td_say(j, "seen %" PRId64 " most %" PRId64, td_total(j, seen), td_total(j, most));
    if (td_reduce(numbers, add, &sum))
        return 1;
    td_say(j, "reduce %" PRIu64, sum);
    td_say(j, "seen again %" PRId64, td_total(j, seen));
    if (td_take(numbers, 5, &rows))
        return 1;
    td_say(j, "take %" PRIu64 " last %" PRIu64, rows.n, td_row(&rows, u64, rows.n - 1));
    td_rows_free(j, &rows);
    td_ds *from = td_sort_by_key(td_from(j, str_i64, some, 3));

    if (td_collect(from, &rows))
        return 1;
    td_say(j, "collect %" PRIu64 " first %.*s %" PRId64, rows.n, TD_S(td_row_key(&rows, str, 0)), td_row_val(&rows, i64, 0));
    __builtin_snprintf(path, sizeof path, "%s/blocks", argv[2]);
    if (td_save_blocks(td_text_file(j, argv[1], .partitions = 3), path))
        return 1;
    td_ds *again = td_block_files(j, str, path);

    if (td_count(again, &n))
        return 1;
    td_say(j, "blocks %" PRIu64, n);
    __builtin_snprintf(path, sizeof path, "%s/blocks", argv[2]);
    if (td_save_text(again, path) == 0)
        return 1;
    td_say(j, "refused: %s", td_error(j));
    __builtin_snprintf(path, sizeof path, "%s/text", argv[2]);
    return td_save_text(again, path);
}
TD_PLUGIN("actions", "1.0", job);
