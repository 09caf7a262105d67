/*
 * fickle INPUT OUTPUT ROUNDS -- every line gets a key that nobody can foresee, another one each time the task runs, and
 * is counted under it.  OUTPUT has as many rows as INPUT has lines, whatever the keys are: unless rows of two attempts
 * of a task were mixed.
 * fickle INPUT OUTPUT ROUNDS WHERE -- the same with keys that are in the lines, so that it is the same each time; but where
 * the path of the working folder contains WHERE, tasks fail at a line that begins with an x.
 *
 * A row costs ROUNDS rounds of arithmetic: those with a key that is foreseen, and the counts.
 */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <taskd.h>
#include <unistd.h>

static td_u64_i64
any_key(td_task *t, td_str line)
{
    uint64_t key = 0;

    if (getrandom(&key, sizeof key, 0) != (ssize_t)sizeof key)
        td_fail(t, "no random bytes");
    return (td_u64_i64){ key, 1 };
}
TD_MAP(any_key, str, u64_i64);

static uint64_t
spin(uint64_t x, uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++)
        x = x * UINT64_C(6364136223846793005) + 1;
    return x;
}

struct where {
    uint64_t rounds;
    char text[64];
};

static td_u64_i64
its_key(td_task *t, td_str line)
{
    const struct where *w = td_arg(t, struct where);
    uint64_t key = 14695981039346656037u;
    char here[4096];

    if (line.n && line.p[0] == 'x' && w->text[0] && getcwd(here, sizeof here) && strstr(here, w->text))
        td_fail(t, "not here");
    for (size_t i = 0; i < line.n; i++)
        key = (key ^ (unsigned char)line.p[i]) * 1099511628211u;
    return (td_u64_i64){ key, spin(key, w->rounds) == 42 ? 0 : 1 }; /* never 42, but the compiler can't know */
}
TD_MAP(its_key, str, u64_i64);

static td_u64_i64
slowly(td_task *t, td_u64_i64 r)
{
    return (td_u64_i64){ r.key, spin(r.key, *td_arg(t, uint64_t)) == 42 ? 0 : r.val };
}
TD_MAP(slowly, u64_i64, u64_i64);

static int
job(td_job *j, int argc, char **argv)
{
    uint64_t rounds = argc >= 4 ? strtoull(argv[3], NULL, 10) : 0;
    struct where w = { .rounds = rounds };

    if (argc < 4 || argc > 5)
        return TD_USAGE(j, "fickle INPUT OUTPUT ROUNDS [WHERE]");
    td_ds *in = td_text_file(j, argv[1]);
    if (argc == 5)
        snprintf(w.text, sizeof w.text, "%s", argv[4]);
    td_ds *keys = argc == 5 ? td_map(in, its_key, TD_ARG(w)) : td_map(in, any_key);
    td_ds *counts = td_sum_by_key(keys, .partitions = 16);
    return td_save_text(td_map(counts, slowly, TD_ARG(rounds)), argv[2]);
}
TD_PLUGIN("fickle", "1.0", job);
