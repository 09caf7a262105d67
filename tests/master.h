/* The master's brain as tests see it: events in short, actions as text. */
#ifndef TESTS_MASTER_H
#define TESTS_MASTER_H
#include "base/buf.h"
#include "master/grants.h"
#include "unit.h"

#define SEC UINT64_C(1000000000)
#define GIB (UINT64_C(1) << 30)

struct rig {
    struct grants *g;
    uint64_t now;
    struct grants_actions out;
    struct buf text; /* what the last step asked for */
    bool quiet;      /* without START, which GRANTED follows, and WAKE */
};
void rig_init(struct rig *r, struct grants_opts o); /* recover_ns 0: none */
void rig_fini(struct rig *r);
/* One line an action, "; " between them. */
const char *rig_step(struct rig *r, struct grants_event ev);
const char *rig_later(struct rig *r, uint64_t ns); /* and TIMER */

#define RIG(r, k, ...) rig_step((r), (struct grants_event){ .kind = GRANTS_##k, __VA_ARGS__ })
const char *rig_worker(struct rig *r, const char *id, uint32_t cores, uint64_t gib);
const char *rig_child(struct rig *r, const char *worker, const char *id, uint32_t executor, uint8_t phase,
                      uint32_t status, const char *text);
/* Registers and wants cores (UINT32_MAX: all). */
const char *rig_app(struct rig *r, const char *id, struct grants_ask ask, uint32_t want);

extern const struct unit_test recover_tests[], soup_tests[];
#endif
