/* results -- what an action gave, for the job's main. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "driver/driver_priv.h"
#include "executor/names.h"

void
driver__open_result(struct driver *d, uint32_t frame, uint32_t index)
{
    const struct stage *s = d->job.result;
    uint32_t p = d->job.plan.first + index;
    struct buf path = { 0 };
    struct err *e = NULL;
    int fd = -1;

    if (!s || index >= d->job.plan.n_result || s->attempt[p] < 0) {
        driver__main_file(d, frame, "", 0, -1, err_new(ERR_INPUT, "the action has no result %u", index));
        return;
    }
    const struct node *n = &d->node[s->place[p]];
    buf_printf(&path, "%s/", n->dir);
    names_output(&path, s->id, p, (uint32_t)s->attempt[p]);
    if (strcmp(n->host, d->o.host))
        e = err_new(ERR_LOST, "result %u is on host \"%s\"", index, n->host);
    else if ((fd = open(path.p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0)
        e = err_new(ERR_LOST, "result %u is gone: opening \"%s\": %s", index, path.p, strerror(errno));
    driver__main_file(d, frame, path.p, 0, fd, e);
    buf_fini(&path);
}
