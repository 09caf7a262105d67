/* exe -- see exe.h */
#include "base/exe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

/* The folder of the running program. */
static struct err *
own_folder(struct arena *a, char **ret)
{
    char *path = arena_alloc(a, PATH_BYTES);
    ssize_t n = readlink("/proc/self/exe", path, PATH_BYTES - 1);

    if (n < 0)
        return err_hint(err_errno(errno, "reading \"/proc/self/exe\""), "taskd needs /proc.");
    path[n] = 0;
    char *slash = strrchr(path, '/');
    if (!slash)
        return err_new(ERR_IO, "the running program has no path: \"%s\"", path);
    *slash = 0;
    *ret = path;
    return NULL;
}

struct err *
exe_libexec(struct arena *a, const char *prog, const char **ret_path)
{
    const char *override = getenv("TASKD_LIBEXEC"), *places[3];
    size_t n = 0;
    char *dir = NULL;

    TRY(own_folder(a, &dir));
    if (override && *override)
        places[n++] = override;
    places[n++] = arena_printf(a, "%s/../libexec/taskd", dir);
    places[n++] = dir;
    for (size_t i = 0; i < n; i++) {
        const char *path = arena_printf(a, "%s/%s", places[i], prog);

        if (access(path, X_OK) == 0) {
            *ret_path = path;
            return NULL;
        }
    }
    return err_hint(err_new(ERR_IO, "the program \"%s\" is not installed beside \"%s\"", prog, dir),
                    "It is looked for in $TASKD_LIBEXEC, ../libexec/taskd and the same folder.");
}
