/* wiring -- the only file of the runner that names plugins and the shuffle room. */
#include <unistd.h>

#include "flow/merge_set.h"
#include "format/text/text.h"
#include "runner/runner_priv.h"

void
runner__plugins(struct flow_world *w)
{
    static const struct block_codec *const codecs[] = { NULL };
    static const struct stream_codec *const streams[] = { NULL };

    w->codecs = codecs;
    w->streams = streams;
    w->text = &format_text;
}

struct err *
runner__fetch(struct runner *r, runner_open_fn *open, const struct plan_branch *b, uint32_t partition,
              const struct merge_opts *order, struct merge_set *into, struct merge_bound *bound)
{
    for (uint32_t i = 0; i < b->parent_maps; i++) {
        struct block_run *run;
        char *name;
        int fd;
        uint32_t from, to;

        TRY(open(r, i, &fd, &r->a, &name));
        struct err *e = block_run_open(fd, name, r->world.codecs, &run);
        if (e) {
            close(fd);
            return e;
        }
        block_run_partition(run, partition, &from, &to);
        TRY(merge_set_add(into, run, fd, from, to));
    }
    return NULL;
}
