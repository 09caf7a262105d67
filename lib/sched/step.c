/* step -- events, and the gate: which answer of which attempt counts. */
#include <stdlib.h>
#include <string.h>

#include "sched/sched_priv.h"

static void
or_default(uint8_t *v, uint8_t otherwise)
{
    if (*v == 0)
        *v = otherwise;
}

static void
set_defaults(struct sched_opts *o)
{
    if (o->max_failures == 0)
        o->max_failures = 4;
    if (o->max_failures > UINT16_MAX)
        o->max_failures = UINT16_MAX;
    if (o->max_lost == 0)
        o->max_lost = 64;
    if (o->max_lost > 200)
        o->max_lost = 200;
    if (o->max_rounds == 0)
        o->max_rounds = 4;
    if (o->prefetch_ns == 0)
        o->prefetch_ns = 10 * 1000 * 1000;
    if (o->prefetch_max == 0 || o->prefetch_max > SCHED__QUEUE_MAX)
        o->prefetch_max = SCHED__QUEUE_MAX;
    if (o->revoke_ns == 0)
        o->revoke_ns = 5 * o->prefetch_ns;
    if (o->locality_ns == 0)
        o->locality_ns = 100 * 1000 * 1000;
    if (o->near_percent == 0)
        o->near_percent = 20;
    if (o->avoid_ns == 0)
        o->avoid_ns = 3600ull * 1000 * 1000 * 1000;
    or_default(&o->avoid_task_executor, 1);
    or_default(&o->avoid_task_node, 2);
    or_default(&o->avoid_stage_executor, 2);
    or_default(&o->avoid_stage_node, 2);
    or_default(&o->avoid_app_executor, 2);
    or_default(&o->avoid_app_node, 2);
}

struct sched *
sched_new(const struct sched_opts *opts)
{
    struct sched *s = calloc(1, sizeof *s);

    ASSERT(s != NULL);
    sched_configure(s, opts);
    sched__slots_init(s);
    return s;
}

void
sched_configure(struct sched *s, const struct sched_opts *opts)
{
    s->opts = *opts;
    set_defaults(&s->opts);
}

void
sched_free(struct sched *s)
{
    if (!s)
        return;
    sched__stages_free(s);
    sched__slots_free(s);
    free(s);
}

void
sched_actions_fini(struct sched_actions *out)
{
    free(out->v);
    *out = (struct sched_actions){ 0 };
}

/* Room for one more than n. */
void *
sched__more(void *p, uint32_t n, size_t each, uint32_t *cap)
{
    if (n < *cap)
        return p;
    *cap = *cap ? *cap * 2 : 8;
    p = realloc(p, *cap * each);
    ASSERT(p != NULL);
    return p;
}

struct sched_action *
sched__act(struct sched *s, enum sched_action_kind kind)
{
    struct sched_actions *out = s->out;

    out->v = sched__more(out->v, out->n, sizeof *out->v, &out->cap);
    struct sched_action *a = &out->v[out->n++];
    *a = (struct sched_action){ .kind = (uint8_t)kind };
    return a;
}

/* An answer that is not wanted.  The accepted output has an attempt's number, too: a second copy of its DONE
 * must not delete it.  Of a stage that is gone (t NULL) nobody knows any more which attempt that was. */
static void
refuse(struct sched *s, const struct sched_event *ev, const struct sched__task *t)
{
    bool kept = !t || ((t->state == SCHED__ACCEPTED || t->generation > 0) && t->accepted == ev->attempt);

    s->count.stale++;
    if (ev->code != ERR_NONE || kept)
        return;
    struct sched_action *a = sched__act(s, SCHED_DISCARD);
    a->stage = ev->stage;
    a->partition = ev->partition;
    a->attempt = ev->attempt;
    a->epoch = ev->epoch;
    s->count.discarded++;
}

/* Did a map task that runs again make other rows than those that were accepted before? */
static bool
rows_changed(const struct sched__stage *st, const struct sched__task *t, const struct sched_event *ev)
{
    return st->shuffle && t->generation > 0 && t->digest != ev->digest;
}

/* True if rows of the earlier output are in somebody's accepted output (a job that has ended well had them
 * all from one generation and doesn't mind). */
static bool
was_used(const struct sched__stage *st)
{
    for (uint32_t i = 0; i < st->n_children; i++)
        if (st->children[i]->n_done > 0 && (st->children[i]->shuffle || st->children[i]->live_jobs > 0))
            return true;
    return false;
}

/* The new rows are taken: attempts that may have read the old ones don't count. */
static void
take_changed(struct sched *s, struct sched__stage *st, const struct sched_event *ev)
{
    struct sched_action *a = sched__act(s, SCHED_NONDETERMINISTIC);

    a->stage = ev->stage;
    a->partition = ev->partition;
    a->attempt = ev->attempt;
    for (uint32_t i = 0; i < st->n_children; i++)
        st->children[i]->version++;
}

static void
discard(struct sched *s, struct sched__stage *st, const struct sched_event *ev)
{
    struct sched_action *a = sched__act(s, SCHED_DISCARD);

    a->stage = ev->stage;
    a->partition = ev->partition;
    a->attempt = ev->attempt;
    a->epoch = ev->epoch;
    s->count.discarded++;
    sched__again(s, st, ev->partition);
}

static void
succeeded(struct sched *s, struct sched__stage *st, const struct sched_event *ev)
{
    struct sched__task *t = sched__task(st, ev->partition);
    struct sched__entry e = { .stage = ev->stage, .partition = ev->partition, .attempt = ev->attempt };

    if (st->live_jobs == 0 || (t->version != st->version && !PLANTED(s, SCHED__PLANT_OLD_READERS))) {
        discard(s, st, ev);
        return;
    }
    if (rows_changed(st, t, ev) && !PLANTED(s, SCHED__PLANT_MIXED_ROWS)) {
        if (was_used(st)) {
            discard(s, st, ev);
            sched__fail(s, st, SCHED_ROWS_CHANGED, ERR_USER, &e);
            return;
        }
        take_changed(s, st, ev);
    }
    sched__accept(s, st, ev);
}

void
sched__attempt_failed(struct sched *s, const struct sched__entry *e, enum err_code code, bool asked)
{
    struct sched__stage *st = sched__stage(s, e->stage);
    struct sched__task *t = sched__task(st, e->partition);
    bool lost = code == ERR_LOST || code == ERR_CANCELLED;
    enum sched_why why = SCHED_OK;

    if (st->live_jobs == 0 || (asked && code == ERR_CANCELLED)) {
        sched__again(s, st, e->partition);
        return;
    }
    if (lost) {
        s->count.lost++;
        if (st->missing == 0 && ++t->lost > s->opts.max_lost) /* else its input is what got lost */
            why = SCHED_TASK_LOST;
    } else {
        s->count.failed++;
        s->count.timeouts += code == ERR_TIMEOUT;
        st->n_failed++;
        sched__fault(s, st, e->partition, t->slot);
        if (++t->failures >= s->opts.max_failures || !err_code_retry(code))
            why = SCHED_TASK_FAILED;
    }
    if (why != SCHED_OK)
        t->failures = t->lost = 0; /* a later job may try again */
    sched__again(s, st, e->partition);
    if (why != SCHED_OK)
        sched__fail(s, st, why, lost ? ERR_LOST : code, e);
}

/* Is this the answer of the attempt that is running now? */
static bool
is_current(const struct sched *s, const struct sched__task *t, const struct sched_event *ev)
{
    return t->state == SCHED__LAUNCHED && ev->attempt + 1 == t->attempts &&
           s->executors[s->slots[t->slot].executor].epoch == ev->epoch;
}

static bool
planted(struct sched *s, struct sched__stage *st, struct sched__task *t, const struct sched_event *ev)
{
    if (PLANTED(s, SCHED__PLANT_DOUBLE_COMMIT) && t->state == SCHED__ACCEPTED && ev->code == ERR_NONE) {
        st->n_done--;
        st->n_running++;
        sched__accept(s, st, ev);
        return true;
    }
    if (PLANTED(s, SCHED__PLANT_STALE_EPOCH) && t->state == SCHED__LAUNCHED && ev->code == ERR_NONE &&
        !is_current(s, t, ev)) {
        struct sched__entry e = { .stage = ev->stage, .partition = ev->partition, .attempt = t->attempts - 1 };
        bool asked;

        sched__answered(s, t->slot, &e, &asked);
        sched__place(s, t->slot);
        sched__accept(s, st, ev);
        return true;
    }
    if (PLANTED(s, SCHED__PLANT_LOST_DONE) && t->state == SCHED__LAUNCHED) {
        const struct sched__slot *sl = &s->slots[t->slot];
        const struct sched__entry *e = &sl->queue[sl->head];

        return e->stage != ev->stage || e->partition != ev->partition;
    }
    return false;
}

static void
done(struct sched *s, const struct sched_event *ev)
{
    struct sched__stage *st = sched__stage(s, ev->stage);
    struct sched__entry e = { .stage = ev->stage, .partition = ev->partition, .attempt = ev->attempt };
    struct sched__task *t = sched__known(st, ev->partition);

    if (!t) {
        refuse(s, ev, NULL);
        return;
    }
    if (planted(s, st, t, ev))
        return;
    if (!is_current(s, t, ev)) {
        refuse(s, ev, t);
        return;
    }
    uint32_t slot = t->slot;
    uint64_t since = s->slots[slot].since;
    bool asked, there = sched__answered(s, slot, &e, &asked);
    ASSERT(there);
    if (ev->code == ERR_NONE) {
        sched__pace(s, slot, st, ev->took_ns ? ev->took_ns : s->now > since ? s->now - since : 0);
        succeeded(s, st, ev);
    } else {
        sched__place(s, slot);
        sched__attempt_failed(s, &e, (enum err_code)ev->code, asked);
    }
}

/* Which of the n attempts that the dead runner held is to blame; n for none. */
static uint32_t
blamed(const struct sched_event *ev, const struct sched__entry *held, uint32_t n,
       const struct sched__entry *killed)
{
    struct sched__entry told = { .stage = ev->stage, .partition = ev->partition, .attempt = ev->attempt };
    uint32_t i;

    switch (ev->blame) {
    case SCHED_BLAME_HEAD: /* killed for one that has answered meanwhile: the next has done nothing */
        return killed && n > 0 && !sched__same(killed, &held[0]) ? n : 0;
    case SCHED_BLAME_TASK:
        for (i = 0; i < n && !sched__same(&told, &held[i]); i++)
            continue;
        return i;
    default:
        return n;
    }
}

enum { DOWNS = 2 }; /* of a slot, in a row and nobody's fault */

static void
slot_down(struct sched *s, const struct sched_event *ev)
{
    struct sched__entry held[SCHED__QUEUE_MAX], killed;
    uint32_t slot = sched__slot_of(s, ev->executor, ev->slot);

    if (slot == SCHED__NONE || s->executors[ev->executor].epoch != ev->epoch) {
        s->count.stale++;
        return;
    }
    bool was_killed = s->slots[slot].killed;
    enum err_code code = ev->code == ERR_NONE ? ERR_LOST : (enum err_code)ev->code;
    enum err_code kill_code = (enum err_code)s->slots[slot].kill_code;

    killed = s->slots[slot].kill;
    uint32_t n = sched__flush(s, slot, held), guilty = blamed(ev, held, n, was_killed ? &killed : NULL);
    bool asked = was_killed && guilty < n && sched__same(&killed, &held[guilty]);
    if (asked)
        code = kill_code; /* whatever its end looked like, it was our doing */
    if (ev->blame == SCHED_BLAME_NONE && n > 0 && ++s->slots[slot].downs > DOWNS) { /* runners don't even start there */
        s->slots[slot].downs = DOWNS;
        guilty = 0;
        code = ERR_LOST;
        sched__fault(s, sched__stage(s, held[0].stage), held[0].partition, slot);
    }

    for (uint32_t i = 0; i < n; i++)
        if (i == guilty)
            sched__attempt_failed(s, &held[i], code, asked);
        else
            sched__again(s, sched__stage(s, held[i].stage), held[i].partition);
}

static void
executor_down(struct sched *s, const struct sched_event *ev)
{
    uint32_t epoch = sched_epoch(s, ev->executor);

    if (epoch == 0 || (ev->epoch != 0 && ev->epoch != epoch)) {
        s->count.stale++;
        return;
    }
    sched__executor_down(s, ev->executor);
    if (ev->outputs)
        sched__outputs_lost(s, ev->executor, SCHED__NONE);
}

static void
task_kill(struct sched *s, const struct sched_event *ev)
{
    struct sched__entry e = { .stage = ev->stage, .partition = ev->partition, .attempt = ev->attempt };
    struct sched__task *t = sched__known(sched__stage(s, ev->stage), ev->partition);

    if (!t || t->state != SCHED__LAUNCHED || ev->attempt + 1 != t->attempts || !sched__kill_task(s, t->slot, &e))
        s->count.stale++;
}

void
sched_step(struct sched *s, const struct sched_event *ev, uint64_t now, struct sched_actions *out)
{
    s->out = out;
    s->now = now > s->now ? now : s->now;
    switch ((enum sched_event_kind)ev->kind) {
    case SCHED_JOB_SUBMIT:
        sched__submit(s, ev);
        break;
    case SCHED_JOB_CANCEL:
        sched__cancel(s, ev->job);
        break;
    case SCHED_EXECUTOR_UP:
        sched__executor_up(s, ev->executor, ev->slots, ev->node);
        break;
    case SCHED_EXECUTOR_DOWN:
        executor_down(s, ev);
        break;
    case SCHED_SLOT_DOWN:
        slot_down(s, ev);
        break;
    case SCHED_DONE:
        done(s, ev);
        break;
    case SCHED_OUTPUT_LOST:
        sched__output_lost(s, ev);
        break;
    case SCHED_NODE_DOWN:
        sched__node_down(s, ev->node);
        break;
    case SCHED_STAGE_CANCEL:
        sched__cancel_stage(s, ev->stage);
        break;
    case SCHED_TASK_KILL:
        task_kill(s, ev);
        break;
    case SCHED_TIMER:
        sched__timer(s);
        break;
    }
    sched__launch_all(s);
    sched__bury(s);
    sched__arm(s);
    s->out = NULL;
}

void
sched_counters(const struct sched *s, struct sched_counters *ret)
{
    *ret = s->count;
}

bool
sched_stage_info(const struct sched *s, uint32_t stage, struct sched_stage_info *ret)
{
    const struct sched__stage *st = sched__stage(s, stage);

    if (!st)
        return false;
    *ret = (struct sched_stage_info){ .tasks = st->n, .done = st->n_done, .running = st->n_running,
                                      .failed = st->n_failed, .bytes = st->bytes, .rows = st->rows,
                                      .active = st->active };
    return true;
}

uint32_t
sched_epoch(const struct sched *s, uint32_t executor)
{
    return executor < s->n_executors ? s->executors[executor].epoch : 0;
}
