/* Broadcasts in lib/flow: values, versions, builds and what can go wrong with them. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "flow.h"

struct table {
    td_str bytes;
    td_u64 *half; /* by td_alloc */
};
static int builds, drops;

static struct table *
table_build(td_task *t, td_str bytes)
{
    struct table *a = td_alloc(t, sizeof *a);
    char *scratch = td_tmp(t, 100 << 10);

    memset(scratch, 7, 100 << 10);
    builds++;
    a->bytes = bytes;
    a->half = td_alloc(t, sizeof *a->half);
    *a->half = bytes.n / 2;
    td_log(t, TD_INFO, "built of %zu", bytes.n);
    return a;
}

static void
table_drop(struct table *a)
{
    CU_ASSERT(*a->half == a->bytes.n / 2);
    drops++;
}
TD_BROADCAST(table, struct table, table_build, table_drop);
TD_BROADCAST(raw);

static td_u64
look(td_task *t, td_u64 v)
{
    const struct table *a = td_get(t, table);

    return v + *a->half * 1000;
}
TD_MAP(look, u64, u64);

static td_u64
size(td_task *t, td_u64 v)
{
    const td_str *s = td_get(t, raw);

    for (int i = 0; i < 64; i++)
        CU_ASSERT_FATAL(s->p[s->n + (size_t)i] == 0); /* readable, and zero here */
    return v + (s->n ? (unsigned char)s->p[s->n - 1] : 0) + s->n * 1000;
}
TD_MAP(size, u64, u64);

static td_u64
more(td_task *t, td_u64 a, td_u64 b)
{
    return a + b + td_get(t, raw)->n;
}
TD_REDUCE(more, u64);

/* ---- values */

static int
values_job(td_job *j, int argc, char **argv)
{
    td_u64 v = 0;
    td_rows r;

    EQ_U64(td_broadcast(j, table, "0123456789", 10), 0);
    td_ds *old = td_map(td_range(j, 0, 4, .partitions = 4), look);
    EQ_U64(td_collect(old, &r), 0);
    for (uint64_t i = 0; i < 4; i++)
        EQ_U64(td_row(&r, u64, i), i + 5000);
    EQ_U64(builds, 1); /* for four tasks */
    EQ_U64(td_broadcast(j, table, "0123456789abcdef", 16), 0);
    td_ds *now = td_map(td_range(j, 0, 1), look);
    EQ_U64(td_collect(td_union(old, now), &r), 0); /* each its own */
    EQ_U64(td_row(&r, u64, 3), 5003);
    EQ_U64(td_row(&r, u64, 4), 8000);
    EQ_U64(builds, 2);

    EQ_U64(td_broadcast_file(j, raw, "file"), 0);
    EQ_U64(td_collect(td_map(td_range(j, 0, 1), size), &r), 0);
    EQ_U64(td_row(&r, u64, 0), 8192001);
    EQ_U64(td_broadcast(j, raw, "", 0), 0);
    EQ_U64(td_collect(td_map(td_range(j, 0, 1), size), &r), 0);
    EQ_U64(td_row(&r, u64, 0), 0);
    EQ_U64(td_broadcast(j, raw, "xy", 2), 0);
    EQ_U64(td_collect(td_map(td_range(j, 0, 1), size), &r), 0);
    EQ_U64(td_row(&r, u64, 0), 2000 + 'y');
    /* 3 + 3 in two partitions, and 2 for each of the 3 folds, in this process for one of them */
    EQ_U64(td_reduce(td_map(td_range(j, 0, 4, .partitions = 2), size), more, &v), 0);
    EQ_U64(v, 6 + 4 * (2000 + 'y') + 3 * 2);
    EQ_U64(drops, 0);
    EQ_U64(td_unbroadcast(j, table), 0);
    EQ_U64(drops, 2);
    return 0;
}

static void
values(void)
{
    struct rig r = { 0 };
    char file[8192] = { 0 };

    file[8191] = 1;
    builds = drops = 0;
    rig_file(&r, "file", file, sizeof file);
    EQ_U64(rig_run(&r, values_job, NULL), 0);
    EQ_U64(r.bcast_opens, 5);
    EQ_STR(r.log.p, "2 built of 10\n2 built of 16\n");
    rig_fini(&r);
}

/* ---- what is refused, in main */

static int
refused_job(td_job *j, int argc, char **argv)
{
    CU_ASSERT(td_unbroadcast(j, raw) != 0);
    CU_ASSERT(strstr(td_error(j), "flow_broadcast.c:") && strstr(td_error(j), "td_unbroadcast of \"raw\": it has no value"));
    CU_ASSERT(td_broadcast_file(j, raw, "nothing") != 0);
    CU_ASSERT(strstr(td_error(j), "td_broadcast_file of \"raw\": there is no \"nothing\"") != NULL);
    CU_ASSERT(td_broadcast_file(j, raw, NULL) != 0);
    CU_ASSERT(td_broadcast(j, raw, NULL, 4) != 0);
    EQ_U64(td_broadcast(j, raw, "x", 1), 0);
    EQ_U64(td_unbroadcast(j, raw), 0);
    CU_ASSERT(td_unbroadcast(j, raw) != 0);
    return 0; /* it failed all the same */
}

static void
refused(void)
{
    struct rig r = { 0 };

    EQ_U64(rig_run(&r, refused_job, NULL), 1);
    rig_fini(&r);
}

/* ---- what ends an attempt */

/* Runs a job in a process of its own, which is to end in an attempt that says words. */
static void
dies(int (*job)(td_job *, int, char **), const char *words)
{
    char text[2000] = "";
    size_t n = 0;
    ssize_t k;
    int p[2], status;

    CU_ASSERT_FATAL(pipe(p) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct rig r = { .die_fd = p[1] };

        rig_run(&r, job, NULL);
        _exit(1);
    }
    close(p[1]);
    while ((k = read(p[0], text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)k;
    close(p[0]);
    CU_ASSERT(waitpid(pid, &status, 0) == pid && status == 0);
    if (!strstr(text, words)) {
        printf("\n\"%s\" is not in \"%s\"\n", words, text);
        CU_FAIL("another sentence");
    }
}

static int
unset_job(td_job *j, int argc, char **argv)
{
    uint64_t n;
    td_ds *d = td_map(td_range(j, 0, 4), size);

    td_broadcast(j, raw, "too late", 8);
    return td_count(d, &n);
}

static int
destroyed_job(td_job *j, int argc, char **argv)
{
    uint64_t n;

    td_broadcast(j, raw, "x", 1);
    td_unbroadcast(j, raw);
    return td_count(td_map(td_range(j, 0, 4), size), &n);
}

static int
gone_job(td_job *j, int argc, char **argv)
{
    uint64_t n;

    td_broadcast(j, raw, "x", 1);
    td_ds *d = td_map(td_range(j, 0, 4), size);
    if (td_count(d, &n))
        return 1;
    td_unbroadcast(j, raw);
    return td_count(d, &n);
}

TD_COUNTER(counter);
static const char *how;
static struct table *
bad_build(td_task *t, td_str bytes)
{
    if (!strcmp(how, "fail"))
        td_fail(t, "no line %d", 17);
    if (!strcmp(how, "add"))
        td_add(t, counter, 1);
    return strcmp(how, "null") ? td_alloc(t, sizeof(struct table)) : NULL;
}
TD_BROADCAST(bad, struct table, bad_build);

static td_u64
use_bad(td_task *t, td_u64 v)
{
    return v + (td_get(t, bad) != NULL);
}
TD_MAP(use_bad, u64, u64);

static int
bad_job(td_job *j, int argc, char **argv)
{
    uint64_t n;

    td_broadcast(j, bad, "x", 1);
    return td_count(td_map(td_range(j, 0, 4), use_bad), &n);
}

/* Two builds that need each other. */
static struct table *ring2_build(td_task *t, td_str bytes);
static struct table *ring1_build(td_task *t, td_str bytes);
TD_BROADCAST(ring1, struct table, ring1_build);
TD_BROADCAST(ring2, struct table, ring2_build);
static struct table *
ring1_build(td_task *t, td_str bytes)
{
    td_get(t, ring2);
    return NULL;
}
static struct table *
ring2_build(td_task *t, td_str bytes)
{
    td_get(t, ring1);
    return NULL;
}
static td_u64
use_ring(td_task *t, td_u64 v)
{
    return v + (td_get(t, ring1) != NULL);
}
TD_MAP(use_ring, u64, u64);

static int
ring_job(td_job *j, int argc, char **argv)
{
    uint64_t n;

    td_broadcast(j, ring1, "x", 1);
    td_broadcast(j, ring2, "x", 1);
    return td_count(td_map(td_range(j, 0, 4), use_ring), &n);
}

static void
ends(void)
{
    dies(unset_job, "td_get in size() of \"size\" (flow_broadcast.c:");
    dies(unset_job, "broadcast \"raw\" (flow_broadcast.c:");
    dies(unset_job, ") had no value when this dataset was made");
    dies(destroyed_job, ") was destroyed before this dataset was made");
    dies(gone_job, "broadcast \"raw\" (flow_broadcast.c:");
    dies(gone_job, "): it was destroyed");
    how = "fail";
    dies(bad_job, "the build of broadcast \"bad\" (flow_broadcast.c:");
    dies(bad_job, "): failed at flow_broadcast.c:");
    dies(bad_job, ": no line 17");
    how = "null";
    dies(bad_job, "): returned NULL");
    how = "add";
    dies(bad_job, "): adds to the accumulator \"counter\", which a build can't");
    dies(ring_job, "td_get in the build of broadcast \"ring2\": the build of broadcast \"ring1\" (flow_broadcast.c:");
    dies(ring_job, ") needs itself");
}

/* A build may use another broadcast. */
static struct table *
nested_build(td_task *t, td_str bytes)
{
    struct table *a = td_alloc(t, sizeof *a);

    *a = (struct table){ bytes, td_get(t, table)->half };
    return a;
}
TD_BROADCAST(nested, struct table, nested_build);
static td_u64
use_nested(td_task *t, td_u64 v)
{
    return v + *td_get(t, nested)->half;
}
TD_MAP(use_nested, u64, u64);
static int
nested_job(td_job *j, int argc, char **argv)
{
    td_rows r;

    td_broadcast(j, nested, "x", 1);
    td_broadcast(j, table, "xxxx", 4);
    EQ_U64(td_collect(td_map(td_range(j, 0, 1), use_nested), &r), 0);
    EQ_U64(td_row(&r, u64, 0), 2);
    return 0;
}

static void
nests(void)
{
    struct rig r = { 0 };

    EQ_U64(rig_run(&r, nested_job, NULL), 0);
    rig_fini(&r);
}

const struct unit_test flow_broadcast_tests[] = {
    { "broadcast.values_and_versions", values },
    { "broadcast.mains_mistakes", refused },
    { "broadcast.without_a_value_the_attempt_ends", ends },
    { "broadcast.builds_use_others", nests },
    UNIT_END,
};
