/* job_broadcast -- the calls of main about broadcasts: a value gets a number, its bytes go to the driver, and every
 * dataset that is made from then on carries the number. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "flow/job_priv.h"

static void
push(struct plan_bcast **v, uint32_t *n, struct plan_bcast x)
{
    *v = realloc(*v, (*n + 1) * sizeof **v);
    if (!*v)
        abort();
    (*v)[(*n)++] = x;
}

/* What datasets see from now on. */
static void
set_now(struct job *j, uint32_t item, uint32_t id)
{
    for (uint32_t i = 0; i < j->n_bcast; i++)
        if (j->bcast[i].item == item) {
            j->bcast[i].id = id;
            return;
        }
    push(&j->bcast, &j->n_bcast, (struct plan_bcast){ item, id });
}

/* n bytes of the author's in memory that nobody can write any more. */
static struct err *
seal(const void *p, size_t n, const char *name, int *ret_fd)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct err *e = NULL;

    if (fd < 0)
        return err_errno(errno, "making memory for %zu bytes", n);
    if (n)
        e = file_write_full(fd, p, n, name);
    if (!e && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        e = err_errno(errno, "sealing %zu bytes", n);
    if (e)
        file_close(&fd);
    else
        *ret_fd = fd;
    return e;
}

static struct err *
set(struct job *j, int op, uint32_t item, const td_bc *b, const void *p, size_t n)
{
    uint32_t id = j->bcasts + 1;
    int fd = -1;

    if (op == TD_BC_FILE && (!p || !((const char *)p)[0]))
        return err_new(ERR_INPUT, "a path is needed");
    if (op == TD_BC_BYTES && n && !p)
        return err_new(ERR_INPUT, "%zu bytes at NULL", n);
    if (op == TD_BC_BYTES)
        TRY(seal(p, n, b->i.name, &fd));
    struct err *e = j->w->broadcast(j->w->arg, id, b->i.name, fd, op == TD_BC_FILE ? p : NULL);
    file_close(&fd);
    if (e)
        return e;
    j->bcasts = id;
    push(&j->bcast_live, &j->n_bcast_live, (struct plan_bcast){ item, id });
    set_now(j, item, id);
    return NULL;
}

/* All values of it that there are. */
static struct err *
destroy(struct job *j, uint32_t item)
{
    uint32_t n = 0, had = j->n_bcast_live;
    struct err *e = NULL;

    for (uint32_t i = 0; i < had; i++) {
        struct plan_bcast b = j->bcast_live[i];

        if (b.item != item) {
            j->bcast_live[n++] = b;
            continue;
        }
        struct err *one = j->w->unbroadcast(j->w->arg, b.id);
        if (e)
            err_free(one);
        else
            e = one;
        flow_bcast_drop(j->fw->bcasts, b.id); /* td_reduce runs functions here, too */
    }
    j->n_bcast_live = n;
    if (n == had)
        return err_new(ERR_INPUT, "it has no value");
    set_now(j, item, 0);
    return e;
}

int
job__broadcast(td_job *tj, int op, const td_bc *b, const void *p, size_t n, const char *file, int line)
{
    static const char *const names[] = { [TD_BC_BYTES] = "td_broadcast", [TD_BC_FILE] = "td_broadcast_file",
                                         [TD_BC_DESTROY] = "td_unbroadcast" };
    struct job *j = (struct job *)tj;
    uint32_t item = job__item(j, &b->i);
    struct err *e = op == TD_BC_DESTROY ? destroy(j, item) : set(j, op, item, b, p, n);

    if (!e)
        return 0;
    job__fail(j, err_wrap_take(e, "%s:%d: %s of \"%s\"", job__base(file), line, names[op], b->i.name));
    j->w->say(j->w->arg, TD_ERROR, "", 0, j->error);
    return 1;
}
