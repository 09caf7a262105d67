/*
 * fickle INPUT OUTPUT ROUNDS -- every line gets a key that nobody can foresee, another one each time the task runs, and
 * is counted under it.  OUTPUT has as many rows as INPUT has lines, whatever the keys are: unless rows of two attempts
 * of a task were mixed.
 */
#include <sys/random.h>
#include <taskd.h>

static td_u64_i64
any_key(td_task *t, td_str line)
{
    uint64_t key = 0;

    if (getrandom(&key, sizeof key, 0) != (ssize_t)sizeof key)
        td_fail(t, "no random bytes");
    return (td_u64_i64){ key, 1 };
}
TD_MAP(any_key, str, u64_i64);

static td_u64_i64
slowly(td_task *t, td_u64_i64 r)
{
    uint64_t rounds = *td_arg(t, uint64_t), x = r.key;

    for (uint64_t i = 0; i < rounds; i++)
        x = x * UINT64_C(6364136223846793005) + 1;
    return (td_u64_i64){ r.key, x == 42 ? 0 : r.val }; /* never 42, but the compiler can't know */
}
TD_MAP(slowly, u64_i64, u64_i64);

static int
job(td_job *j, int argc, char **argv)
{
    uint64_t rounds = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;

    if (argc != 4)
        return TD_USAGE(j, "fickle INPUT OUTPUT ROUNDS");
    td_ds *counts = td_sum_by_key(td_map(td_text_file(j, argv[1]), any_key), .partitions = 16);
    return td_save_text(td_map(counts, slowly, TD_ARG(rounds)), argv[2]);
}
TD_PLUGIN("fickle", "1.0", job);
