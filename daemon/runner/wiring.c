/* wiring -- the only file of the runner that names plugins and the shuffle room. */
#include <string.h>

#include "codec/lz4/lz4.h"
#include "codec/zlib/zlib.h"
#include "flow/merge_set.h"
#include "format/text/text.h"
#include "runner/runner_priv.h"
#include "shuffle/shuffle.h"

static const struct block_codec *const codecs[] = { &codec_lz4, &codec_zlib, NULL };
static const struct stream_codec *const streams[] = { &codec_gzip, NULL };

void
runner__plugins(struct flow_world *w)
{
    w->codecs = codecs;
    w->streams = streams;
    w->text = &format_text;
}

void
runner__codec(struct flow_world *w, const char *name)
{
    w->shuffle_codec = NULL;
    for (const struct block_codec *const *c = codecs; *c; c++)
        if (!strcmp((*c)->name, name))
            w->shuffle_codec = *c;
}

struct err *
runner__fetch(struct runner *r, const struct plan_branch *b, uint32_t partition, const struct merge_opts *order,
              struct merge_set *into, struct merge_bound *bound)
{
    struct shuffle_opts o = { .stage = b->parent, .maps = b->parent_maps, .partition = partition, .partitions = b->n,
                              .merge = *order, .codecs = codecs, .open = runner__open_map,
                              .need = runner__need, .corrupt = runner__corrupt, .arg = r };
    uint64_t bytes = 0;

    r->maps = (struct maps){ .stage = b->parent, .total = b->parent_maps };
    r->fetch = o;
    struct err *e = shuffle_fetch(&o, &r->a, into, bound, &bytes);
    r->fetched += bytes;
    return e;
}

void
runner__find_lost(struct runner *r)
{
    uint32_t map;

    if (r->lost_stage != UINT32_MAX || r->fetch.maps == 0)
        return;
    runner__drop_maps(&r->maps);
    struct err *e = shuffle_find_bad(&r->fetch, &map);
    if (!e && map != UINT32_MAX) {
        r->lost_stage = r->fetch.stage;
        r->lost_map = map;
    }
    err_free(e);
}
