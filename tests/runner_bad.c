/* A module that does everything wrong: compiled by the test with -g -O2 -shared. */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
static volatile int zero;
static int *volatile nowhere;
static int (*volatile no_function)(void);

EXPORT int
anchor(const char *r)
{
    return (int)strlen(r);
}

static inline int
poison(const char *r)
{
    if (strstr(r, "POISON"))
        *nowhere = 1; /* line 26 */
    return 0;
}

EXPORT int
segv(const char *r)
{
    return poison(r) + 1; /* line 33 */
}

EXPORT int
fpe(const char *r)
{
    return 7 / zero; /* line 39 */
}

static __attribute__((noinline)) void
give_up(void)
{
    abort(); /* line 45 */
    __asm__ volatile("");
}

EXPORT int
aborts(const char *r)
{
    give_up();
    return 0;
}

EXPORT int
frees(const char *r)
{
    char *p = malloc(40);

    free(p);
    __asm__ volatile("" : "+r"(p));
    free(p); /* line 63 */
    free(p);
    return 1;
}

EXPORT __attribute__((noinline)) int
recurse(const char *r)
{
    volatile char big[1000];

    big[0] = r[0];
    return recurse((const char *)big) + big[0]; /* line 74 */
}

EXPORT int
exits(const char *r)
{
    exit(7); /* line 80 */
}

EXPORT int
exits_now(const char *r)
{
    _exit(0);
}

EXPORT int
loops(const char *r)
{
    for (;;)
        zero = 0; /* line 93 */
}

EXPORT int
loops_deaf(const char *r)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (;;)
        zero = 0;
}

EXPORT int
jumps(const char *r)
{
    return no_function() + 1; /* line 110 */
}

EXPORT int
eats(const char *r)
{
    for (;;) {
        char *p = malloc(1 << 20);
        memset(p, 1, 1 << 20); /* line 118 */
    }
}

EXPORT int
closes(const char *r)
{
    close_range(3, ~0u, 0);
    for (;;)
        zero = 0; /* line 127 */
}

EXPORT int
kills(const char *r)
{
    return kill(getpid(), SIGKILL);
}

EXPORT int
forks(const char *r)
{
    if (fork() == 0)
        for (;;)
            pause();
    *nowhere = 1;
    return 0;
}

EXPORT int
forks_away(const char *r)
{
    if (fork() == 0) {
        setpgid(0, 0);
        for (;;)
            pause();
    }
    return 1;
}

EXPORT int
closes_quietly(const char *r)
{
    return close_range(3, ~0u, 0);
}

/* All writable shared memory that can be found. */
EXPORT int
scribbles(const char *r)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[512];
    unsigned long from, to;
    int n = 0;

    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%lx-%lx rw-s", &from, &to) == 2 && strstr(line, "rw-s")) {
            memset((void *)from, 0xa5, to - from);
            n++;
        }
        if (sscanf(line, "%lx-%lx r--s", &from, &to) == 2 && strstr(line, "r--s") &&
            mprotect((void *)from, to - from, PROT_READ | PROT_WRITE) == 0) {
            memset((void *)from, 0xa5, to - from); /* must not come to this */
            n += 1000;
        }
    }
    fclose(f);
    return n;
}

EXPORT int
scribbles_on(const char *r)
{
    for (;;)
        scribbles(r);
}

EXPORT int
prints(const char *r)
{
    printf("%s\n", r);
    return 5;
}

EXPORT int
handles(const char *r)
{
    signal(SIGSEGV, SIG_DFL);
    *nowhere = 1;
    return 0;
}
