/* Broadcasts end to end: the first argument says what is tried.
 *   bytes FILE TASKS OUT   every task sums all bytes of FILE; says in which processes it was built
 *   changes FILE TASKS OUT writes over FILE between broadcast and use
 *   big N TASKS            the same with N bytes from main's memory
 *   rounds N               a value a round, each used by the dataset of its round, and looks for what is left
 *   fail | null | crash | exit | early | gone | missing      what goes wrong */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <taskd.h>
#include <unistd.h>

struct summed {
    uint64_t sum, n;
    td_str bytes;
};
static uint64_t
sum_of(td_str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    uint64_t a = 0, b = 0, w;
    size_t i = 0;

    for (; i + 8 <= s.n; i += 8) {
        memcpy(&w, p + i, 8);
        a += w;
        b += a;
    }
    for (; i < s.n; i++)
        b += p[i];
    return a ^ (b << 1);
}

static struct summed *
summed_build(td_task *t, td_str bytes)
{
    struct summed *s = td_alloc(t, sizeof *s);

    if (td_starts(bytes, td_lit("FAIL")))
        td_fail(t, "the table begins with \"%.*s\"", 4, bytes.p);
    if (td_starts(bytes, td_lit("NULL")))
        return NULL;
    if (td_starts(bytes, td_lit("CRASH")))
        *(volatile int *)(uintptr_t)bytes.n = 1; /* here it crashes */
    if (td_starts(bytes, td_lit("EXIT")))
        exit(3);
    *s = (struct summed){ sum_of(bytes), bytes.n, bytes };
    td_log(t, TD_INFO, "built in %d", (int)getpid());
    return s;
}
static void
summed_drop(struct summed *s)
{
    fprintf(stderr, "dropped %" PRIu64 " in %d\n", s->n, (int)getpid());
}
TD_BROADCAST(table, struct summed, summed_build, summed_drop);

TD_COUNTER(used);
static td_u64
use(td_task *t, td_u64 v)
{
    const struct summed *s = td_get(t, table);

    td_add(t, used, 1);
    return s->sum + v * 0;
}
TD_MAP(use, u64, u64);

/* Mappings of broadcasts in this process, and descriptors. */
static td_u64
look(td_task *t, td_u64 v)
{
    char line[512];
    FILE *f = fopen("/proc/self/maps", "r");
    td_u64 n = 0;

    while (f && fgets(line, sizeof line, f)) {
        const char *s = strrchr(line, '/');

        n += s && s[1] == 'b' && s[2] >= '0' && s[2] <= '9';
    }
    if (f)
        fclose(f);
    return n;
}
TD_MAP(look, u64, u64);

static td_u64
or(td_task *t, td_u64 a, td_u64 b)
{
    return a | b;
}
TD_REDUCE(or, u64);

static int
sums(td_job *j, uint32_t tasks, const char *out)
{
    td_ds *d = td_map(td_range(j, 0, tasks, .partitions = tasks), use);
    td_rows r;

    if (out)
        return td_save_text(d, out);
    if (td_collect(d, &r))
        return 1;
    for (uint64_t i = 1; i < r.n; i++)
        if (td_row(&r, u64, i) != td_row(&r, u64, 0))
            return td_say(j, "the sums differ"), 1;
    td_say(j, "%" PRIu64 " sums %" PRIu64, r.n, td_row(&r, u64, 0));
    return 0;
}

static int
big(td_job *j, size_t n, uint32_t tasks)
{
    char *p = malloc(n);

    for (size_t i = 0; p && i < n; i++)
        p[i] = (char)(i * 2654435761u >> 13);
    if (!p || td_broadcast(j, table, p, n))
        return 1;
    td_str s = { p, n };
    td_say(j, "wanted %" PRIu64, sum_of(s));
    free(p);
    return sums(j, tasks, NULL);
}

static int
rounds(td_job *j, int n)
{
    td_u64 left, during;
    td_rows r;

    for (int i = 0; i < n; i++) {
        char text[100];
        int k = snprintf(text, sizeof text, "round %d", i);
        td_str s = { text, (size_t)k };

        if (td_broadcast(j, table, text, (size_t)k))
            return 1;
        td_ds *d = td_map(td_range(j, 0, 8, .partitions = 8), use);
        if (td_collect(d, &r) || r.n != 8 || td_row(&r, u64, 7) != sum_of(s))
            return td_say(j, "round %d: another value", i), 1;
        if (td_reduce(td_map(td_range(j, 0, 8, .partitions = 8), look), or, &during) || td_unbroadcast(j, table) ||
            td_reduce(td_map(td_range(j, 0, 8, .partitions = 8), look), or, &left))
            return 1;
        td_say(j, "round %d: %s mapped before, %" PRIu64 " mapped behind", i, during ? "some" : "none", left);
    }
    return 0;
}

static int
job(td_job *j, int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    uint64_t n;

    if (!strcmp(how, "bytes") && argc == 5)
        return td_broadcast_file(j, table, argv[2]) || sums(j, (uint32_t)atoi(argv[3]), argv[4]);
    if (!strcmp(how, "changes") && argc == 5) {
        if (td_broadcast_file(j, table, argv[2]))
            return 1;
        FILE *f = fopen(argv[2], "w");
        if (!f || fputs("other", f) < 0 || fclose(f))
            return 1;
        return sums(j, (uint32_t)atoi(argv[3]), argv[4]);
    }
    if (!strcmp(how, "big") && argc == 4)
        return big(j, strtoull(argv[2], NULL, 10), (uint32_t)atoi(argv[3]));
    if (!strcmp(how, "rounds") && argc == 3)
        return rounds(j, atoi(argv[2]));
    if (!strcmp(how, "missing"))
        return td_broadcast_file(j, table, "there/is/no/such/file");
    if (!strcmp(how, "early"))
        return sums(j, 4, NULL);
    if (!strcmp(how, "gone")) {
        td_broadcast(j, table, "x", 1);
        td_ds *d = td_map(td_range(j, 0, 2), use);
        return td_unbroadcast(j, table) || td_count(d, &n);
    }
    if (argc == 2) /* its first word is what the build does */
        return td_broadcast(j, table, how, strlen(how)) || sums(j, 4, NULL);
    return TD_USAGE(j, "broadcast HOW ...");
}
TD_PLUGIN("broadcast", "1.0", job);
