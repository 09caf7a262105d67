/* broadcast -- what a runner asks for about broadcasts: tasks their bytes, main that there be new ones. */
#include "base/file.h"
#include "runner/runner_priv.h"

struct err *
runner__open_broadcast(void *arg, uint32_t id, int *ret_fd, uint64_t *ret_size)
{
    struct runner *r = arg;
    struct wire_open o = { WIRE_OPEN_BROADCAST, r->task.stage, r->task.partition, r->task.attempt, 0, id, 0 };
    struct frame f;
    struct get g;
    size_t name;

    r->out.n = 0;
    wire_put_open(&r->out, &o);
    TRY(runner__call(r, WIRE_OPEN, &r->out, &f, &g));
    get_bytes(&g, &name);
    *ret_size = get_u64(&g);
    *ret_fd = frame_take_fd(&f, 0);
    if (!g.bad && *ret_fd >= 0)
        return NULL;
    file_close(ret_fd);
    return err_new(ERR_CORRUPT, "the executor's reply has no file");
}

struct err *
runner__broadcast(void *arg, uint32_t id, const char *name, int fd, const char *path)
{
    struct runner *r = arg;
    struct frame f;
    struct get g;

    r->out.n = 0;
    put_u32(&r->out, id);
    put_str(&r->out, name);
    put_u8(&r->out, path != NULL);
    put_str(&r->out, path);
    return runner__call_fd(r, WIRE_BROADCAST, &r->out, fd, &f, &g);
}

struct err *
runner__unbroadcast(void *arg, uint32_t id)
{
    struct runner *r = arg;
    struct frame f;
    struct get g;

    r->out.n = 0;
    put_u32(&r->out, id);
    return runner__call(r, WIRE_UNBROADCAST, &r->out, &f, &g);
}
