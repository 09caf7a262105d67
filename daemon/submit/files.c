/* files -- what --libs, --files and --archives name, for the runners that this process starts: SCRATCH/files/NAME. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/exe.h"
#include "base/file.h"
#include "submit/submit_priv.h"

extern char **environ;

static struct err *
link_file(const struct submit_file *f, const char *to)
{
    char *from = realpath(f->path, NULL);
    struct err *e = NULL;

    if (!from)
        return err_errno(errno, "finding \"%s\"", f->path);
    if (symlink(from, to) < 0)
        e = err_errno(errno, "making \"%s\"", to);
    free(from);
    return e;
}

/* What it said, in one line. */
static struct err *
unpack_failed(const struct submit_file *f, int said)
{
    char text[1000] = "";
    size_t n = 0;

    err_free(file_pread(said, text, sizeof text - 1, 0, &n, "taskd-unpack"));
    text[n] = 0;
    text[strcspn(text, "\n")] = 0;
    return err_new(ERR_DENIED, "unpacking \"%s\": %s", f->path, text[0] ? text : "taskd-unpack died");
}

static struct err *
unpack(struct submit *s, const struct submit_file *f, const char *to)
{
    const char *program;
    char *argv[] = { (char *)"taskd-unpack", (char *)to, NULL };
    posix_spawn_file_actions_t fa;
    int status = 0, said = -1, rc = 0;
    pid_t pid;

    TRY(exe_libexec(&s->a, "taskd-unpack", &program));
    if (mkdir(to, 0700) < 0)
        return err_errno(errno, "making \"%s\"", to);
    int from = open(f->path, O_RDONLY | O_CLOEXEC);
    if (from < 0 || (said = open(s->scratch, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600)) < 0) {
        struct err *e = err_errno(errno, "opening \"%s\"", f->path);

        file_close(&from);
        return e;
    }
    if (posix_spawn_file_actions_init(&fa) || posix_spawn_file_actions_adddup2(&fa, from, 3) ||
        posix_spawn_file_actions_adddup2(&fa, said, STDERR_FILENO))
        abort();
    rc = posix_spawn(&pid, program, &fa, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&fa);
    file_close(&from);
    while (rc == 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    struct err *e = rc ? err_errno(rc, "starting \"%s\"", program) : status ? unpack_failed(f, said) : NULL;
    file_close(&said);
    return e;
}

struct err *
submit__files(struct submit *s)
{
    s->files = "";
    s->libs = ARENA_ARRAY(&s->a, const char *, s->o.n_files);
    if (s->o.n_files == 0)
        return NULL;
    s->files = arena_printf(&s->a, "%s/files", s->scratch);
    bool ready = access(s->files, F_OK) == 0; /* by the worker that started us */
    if (!ready && mkdir(s->files, 0700) < 0)
        return err_errno(errno, "making \"%s\"", s->files);
    for (size_t i = 0; i < s->o.n_files; i++) {
        const struct submit_file *f = &s->o.files[i];
        const char *to = arena_printf(&s->a, "%s/%s", s->files, f->name);

        if (f->use == SUBMIT_LIBRARY)
            s->libs[s->n_libs++] = f->name;
        if (!ready)
            TRY(f->use == SUBMIT_ARCHIVE ? unpack(s, f, to) : link_file(f, to));
    }
    return NULL;
}
