/* tests/worker-child -- an executor or driver that does as its spec's app_name, or first argument, says:
 *   say            prints what it was given, and ends
 *   exit N         writes "last words" to stderr and ends with that status
 *   json           writes a line of the log and ends with status 5
 *   stay           until a signal
 *   deaf           the same, but SIGTERM is ignored
 *   stopped        stops itself
 *   family         starts a process of its own that stays, prints its id, and stays
 *   write N        N bytes to stdout, the number of each line in it; "done" to stderr */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "proto/proto.h"

static void
stay(void)
{
    for (;;)
        pause();
}

static void
do_it(const char *what)
{
    if (!strncmp(what, "exit ", 5)) {
        fputs("first words\nlast words\n", stderr);
        exit(atoi(what + 5));
    } else if (!strcmp(what, "json")) {
        fputs("{\"ts\":\"x\",\"err\":\"a \\\"b\\\"\\u000ac\",\"message\":\"m\"}\n", stderr);
        exit(5);
    } else if (!strcmp(what, "stay")) {
        stay();
    } else if (!strcmp(what, "deaf")) {
        signal(SIGTERM, SIG_IGN);
        puts("deaf");
        fflush(stdout);
        stay();
    } else if (!strcmp(what, "stopped")) {
        raise(SIGSTOP);
    } else if (!strcmp(what, "family")) {
        pid_t pid = fork();

        if (pid == 0)
            stay();
        printf("%d\n", (int)pid);
        fflush(stdout);
        stay();
    } else if (!strncmp(what, "write ", 6)) {
        for (long i = 0, n = atol(what + 6) / 16; i < n; i++)
            printf("%015ld\n", i);
        fputs("done", stderr);
    }
}

/* Descriptors above 2, as "3 "; there should be none but the spec's. */
static void
print_descriptors(void)
{
    for (int fd = 3; fd < 200; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf("fd %d\n", fd);
}

int
main(int argc, char **argv)
{
    struct arena a = { 0 };
    struct stat st;
    const char *what;
    sigset_t blocked;

    if (fstat(3, &st) < 0)
        return 90;
    char *p = malloc((size_t)st.st_size + 1);
    if (!p || read(3, p, (size_t)st.st_size) != st.st_size)
        return 91;
    if (pwrite(3, "x", 1, 0) == 1)
        return 92; /* not sealed */
    if (!strncmp(argv[0], "taskd executor ", 15)) {
        Taskd__ExecutorSpec *s;

        if (proto_get_executor_spec(p, (size_t)st.st_size, &a, &s))
            return 93;
        what = s->start->app_name;
        if (!strcmp(what, "say")) {
            printf("%s\nhost %s\ndir %s\nblobs %s\nbulk %s\nscratch %s\nsecret %zu %c\n", argv[0], s->host, s->dir, s->blobs,
                   s->bulk, s->scratch, s->start->secret.len, s->start->secret.data[0]);
            print_descriptors();
        }
    } else {
        Taskd__DriverSpec *s;

        if (proto_get_driver_spec(p, (size_t)st.st_size, &a, &s))
            return 94;
        what = s->start->arg[0];
        if (!strcmp(what, "say"))
            printf("%s\nmaster %s\ntoken %.*s\nconf %zu\n", argv[0], s->master, (int)s->token.len, (char *)s->token.data,
                   s->start->n_conf_key);
    }
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    if (sigismember(&blocked, SIGTERM) || getpgrp() != getpid())
        return 95;
    do_it(what);
    fflush(stdout);
    free(p);
    arena_fini(&a);
    return 0;
}
