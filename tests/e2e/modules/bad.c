/*
 * bad HOW ONCE INPUT OUTPUT [PARTITIONS]: misbehaves in the way HOW at each record that contains POISON.
 *
 * ONCE is a file that is made before the first misdeed; when it is there already, the function behaves, so the
 * next attempt succeeds.  "-" misbehaves for ever.  Lines go through to OUTPUT and are counted.
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <taskd.h>
#include <unistd.h>

TD_COUNTER(lines);

struct order {
    char how[32], once[400];
};

static volatile int zero;
static volatile char sink;

static __attribute__((noinline)) int
deeper(volatile char *p)
{
    volatile char here[4096];

    here[0] = *p;
    sink = here[0];
    return zero ? 0 : deeper(here) + 1;
}

static __attribute__((noinline)) void
spin(void)
{
    for (volatile long i = 0;; i++)
        ;
}

static __attribute__((noinline)) void
eat(void)
{
    for (;;) {
        char *p = malloc(1 << 20);

        memset(p, 1, 1 << 20);
        __asm__ volatile("" : : "r"(p) : "memory"); /* or clang does without the memory */
    }
}

/* Everything that is shared with the executor and writable. */
static void
scribble(void)
{
    char line[512];
    FILE *f = fopen("/proc/self/maps", "re");

    while (f && fgets(line, sizeof line, f)) {
        unsigned long lo, hi;

        if (sscanf(line, "%lx-%lx rw-s", &lo, &hi) == 2 && strstr(line, " rw-s ") && strstr(line, "memfd"))
            memset((void *)lo, 0xfe, hi - lo);
    }
}

static void *
in_thread(void *arg)
{
    *(volatile int *)arg = 1;
    return NULL;
}

static void *
busy_for_ever(void *arg)
{
    for (;;)
        free((void *)(((uintptr_t)malloc(100) & ~(uintptr_t)1) + (uintptr_t)zero));
    return arg;
}

static jmp_buf gone;
extern void __longjmp_chk(jmp_buf, int) __attribute__((noreturn)); /* longjmp() of fortified programs: sees where it goes */

static __attribute__((noinline)) int
remember(volatile char *p, int depth)
{
    volatile char here[4096];

    here[0] = *p;
    if (depth > 0)
        return remember(here, depth - 1) + here[0];
    return setjmp(gone);
}

static __attribute__((noinline)) void
overrun(void)
{
    volatile char *p = malloc(24);

    for (size_t i = 0; p; i++)
        p[i] = 'x';
}

static __attribute__((noinline)) void
free_twice(void)
{
    void *volatile p = malloc(24);

    free(p);
    free(p);
}

static void
at_exit(void)
{
    *(volatile int *)(uintptr_t)zero = 2;
}

/* All that a process has one of. */
static void
move_house(void)
{
    if (chdir("/") != 0)
        _exit(9);
    umask(0777);
    setlocale(LC_ALL, "tr_TR.UTF-8");
    setenv("LC_ALL", "tr_TR.UTF-8", 1);
    unsetenv("PATH");
}

/* Whoever wants to know why this process dies hears nothing. */
static void
take_signals(void)
{
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    signal(SIGTERM, SIG_IGN);
    *(volatile int *)(uintptr_t)zero = 2;
}

/* How many megabytes: "noise" has a few, "gigabyte" a thousand. */
static void
shout(unsigned megabytes)
{
    static char line[1 << 10];

    memset(line, 'n', sizeof line - 1);
    line[sizeof line - 1] = '\n';
    for (unsigned i = 0; i < megabytes << 10; i++)
        fwrite(line, 1, sizeof line, stdout);
}

static const struct {
    const char *how;
    void (*fn)(void);
} deeds[] = {
    { "loop", spin },         { "memory", eat },       { "scribble", scribble },      { "overrun", overrun },
    { "free", free_twice },   { "house", move_house }, { "sigaction", take_signals },
};

static void
misbehave(td_task *t, const char *how)
{
    pthread_t th;

    for (size_t i = 0; i < sizeof deeds / sizeof *deeds; i++)
        if (!strcmp(how, deeds[i].how))
            deeds[i].fn();
    if (!strcmp(how, "segv"))
        *(volatile int *)(uintptr_t)zero = 1;
    else if (!strcmp(how, "abort"))
        abort();
    else if (!strcmp(how, "fpe"))
        sink = (char)(7000 / zero);
    else if (!strcmp(how, "ill"))
        __builtin_trap();
    else if (!strcmp(how, "exit"))
        exit(0);
    else if (!strcmp(how, "_exit"))
        _exit(0);
    else if (!strcmp(how, "kill"))
        kill(getpid(), SIGKILL);
    else if (!strcmp(how, "stack"))
        sink = (char)deeper(&sink);
    else if (!strcmp(how, "tmp"))
        memset(td_tmp(t, (size_t)-1), 1, 100);
    else if (!strcmp(how, "alloc"))
        for (;;)
            memset(td_alloc(t, 1 << 20), 1, 1 << 20);
    else if (!strcmp(how, "fds"))
        for (int i = 0; i < 1024; i++)
            close(i);
    else if (!strcmp(how, "scribble-loop"))
        scribble(), spin();
    else if (!strcmp(how, "thread"))
        pthread_create(&th, NULL, in_thread, NULL), pthread_join(th, NULL);
    else if (!strcmp(how, "signals")) { /* deaf, and running for ever */
        sigset_t all;

        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, NULL);
        spin();
    } else if (!strcmp(how, "stop"))
        kill(getpid(), SIGSTOP);
    else if (!strcmp(how, "fork")) { /* a child that would outlive it */
        if (fork() == 0)
            pause();
        raise(SIGABRT); /* not abort(): two calls of that might become one */
    } else if (!strcmp(how, "daemon")) { /* one that wants to belong to nobody */
        if (fork() == 0) {
            setsid();
            close(1), close(2); /* what listens there is not to wait for it */
            pause();
        }
        raise(SIGABRT);
    } else if (!strcmp(how, "chain")) { /* always another one, each there for a moment only */
        if (fork() == 0)
            while (fork() == 0)
                ;
        else
            spin();
        _exit(0);
    } else if (!strcmp(how, "fail"))
        td_fail(t, "on purpose");
    else if (!strcmp(how, "again")) {
        static bool before;

        td_fail(t, before ? "in a process where an attempt has failed" : "in a process of its own");
        before = true;
    } else if (!strcmp(how, "bad"))
        td_bad(t, "no good");
    else if (!strcmp(how, "longjmp")) {
        remember(&sink, 8);
        __longjmp_chk(gone, 1); /* its frame is no more */
    } else if (!strcmp(how, "atexit"))
        atexit(at_exit);
    else if (!strcmp(how, "stray"))
        pthread_create(&th, NULL, busy_for_ever, NULL), pthread_detach(th);
    else if (!strcmp(how, "gigabyte"))
        shout(1024);
    else if (!strcmp(how, "noise"))
        for (int i = 0; i < 200000; i++)
            printf("noise %d\n", i);
}

static td_str
touch(td_task *t, td_str line)
{
    const struct order *o = td_arg(t, struct order);

    td_add(t, lines, 1);
    if (!td_has(line, td_lit("POISON")))
        return line;
    if (strcmp(o->once, "-")) {
        int fd = open(o->once, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

        if (fd < 0)
            return line;
        close(fd);
    }
    misbehave(t, o->how);
    if (!strcmp(o->how, "length"))
        line.n = (size_t)1 << 50;
    if (!strcmp(o->how, "string"))
        line.p = (const char *)(uintptr_t)16;
    return line;
}
TD_MAP(touch, str, str);

/* For HOW truncate: the first record cuts the input file behind everyone's back. */
static td_str
cut_input(td_task *t, td_str line)
{
    const struct order *o = td_arg(t, struct order);

    if (truncate(o->once, 100) != 0)
        td_fail(t, "truncate: %s", strerror(errno));
    return line;
}
TD_MAP(cut_input, str, str);

static int
job(td_job *j, int argc, char **argv)
{
    struct order o;
    uint64_t n = 0;

    if (argc < 5 || argc > 6 || (argc == 6 && !td_to_u64(td_cstr(argv[5]), &n)) || strlen(argv[1]) >= sizeof o.how ||
        strlen(argv[2]) >= sizeof o.once)
        return TD_USAGE(j, "bad HOW ONCE INPUT OUTPUT [PARTITIONS]");
    memset(&o, 0, sizeof o);
    strcpy(o.how, argv[1]);
    strcpy(o.once, argv[2]);
    if (!strcmp(o.how, "job-segv"))
        *(volatile int *)(uintptr_t)zero = 1;
    if (!strcmp(o.how, "job-exit"))
        exit(0);
    if (!strcmp(o.how, "job-loop"))
        spin();
    if (!strcmp(o.how, "job-3"))
        return 3;
    if (!strcmp(o.how, "job-2"))
        return 2;
    td_ds *in = td_text_file(j, argv[3], .partitions = (uint32_t)n);

    if (!strcmp(o.how, "truncate"))
        return td_save_text(td_map(in, cut_input, TD_ARG(o)), argv[4]);
    return td_save_text(td_map(in, touch, TD_ARG(o)), argv[4]);
}
TD_PLUGIN("bad", "1.0", job);
