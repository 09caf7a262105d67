/* handover -- see handover.h */
#include "submit/handover.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/exe.h"

const char *
submit_handover_to(const struct submit_options *o)
{
    if (o->action == SUBMIT_KILL || o->action == SUBMIT_STATUS)
        return "taskd-client";
    if (o->action != SUBMIT_RUN || o->dry_run || o->master.kind == SUBMIT_LOCAL)
        return NULL;
    return o->cluster_mode ? "taskd-client" : "taskd-driver";
}

struct err *
submit_handover(const char *program, char **argv)
{
    struct arena a = { 0 };
    const char *path;
    struct err *e = exe_libexec(&a, program, &path);

    if (!e) {
        /* What it is shown as: the role, and what was submitted. */
        argv[0] = strcmp(program, "taskd-driver") ? "taskd submit" : "taskd driver";
        execv(path, argv);
        e = err_errno(errno, "running \"%s\"", path);
    }
    arena_fini(&a);
    return e;
}
