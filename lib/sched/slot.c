/* slot -- executors, their slots, and what is queued at each.
 *
 * A slot runs the head of its queue; behind it wait attempts so that the runner never does.  The queue may
 * hold about prefetch_ns of work as the stage's tasks have taken so far: one attempt at first, twice as many
 * after each answer.  Slots with room lie in buckets by the number of attempts they hold, so the least
 * loaded one is found at once.  What waits behind an attempt that takes long is taken back when a slot is idle. */
#include <stdlib.h>
#include <string.h>

#include "sched/sched_priv.h"

void
sched__slots_init(struct sched *s)
{
    memset(s->bucket_first, 0xff, sizeof s->bucket_first);
    memset(s->bucket_last, 0xff, sizeof s->bucket_last);
    s->time_first = s->time_last = SCHED__NONE;
}

void
sched__slots_free(struct sched *s)
{
    for (uint32_t i = 0; i < s->n_slots; i++)
        free(s->slots[i].queue);
    free(s->slots);
    free(s->executors);
    free(s->node_slots);
    sched__avoid_free(s->avoid);
}

/* ---- buckets */
static void
unplace(struct sched *s, uint32_t i)
{
    struct sched__slot *sl = &s->slots[i];
    uint32_t b = sl->bucket;

    if (!sl->placed)
        return;
    sl->placed = false;
    *(sl->prev != SCHED__NONE ? &s->slots[sl->prev].next : &s->bucket_first[b]) = sl->next;
    *(sl->next != SCHED__NONE ? &s->slots[sl->next].prev : &s->bucket_last[b]) = sl->prev;
    if (s->bucket_first[b] == SCHED__NONE)
        s->buckets[b / 64] &= ~(1ull << b % 64);
}

/* Puts the slot where it belongs now: the end of a bucket, or nowhere. */
void
sched__place(struct sched *s, uint32_t i)
{
    struct sched__slot *sl = &s->slots[i];
    uint32_t b = sl->n;

    unplace(s, i);
    /* One that was full gets more when half is gone, so that launches leave in batches: a message each would cost more
     * than a short task. */
    if (sl->n >= sl->depth)
        sl->full = true;
    else if (sl->n <= sl->depth / 2)
        sl->full = false;
    if (!sl->up || sl->killing || sl->avoid || sl->full)
        return;
    if (s->n_near > 0 && s->n_touched < SCHED__TOUCHED)
        s->touched[s->n_touched++] = i;
    s->idled += b == 0;
    sl->placed = true;
    sl->bucket = b;
    sl->prev = s->bucket_last[b];
    sl->next = SCHED__NONE;
    *(sl->prev != SCHED__NONE ? &s->slots[sl->prev].next : &s->bucket_first[b]) = i;
    s->bucket_last[b] = i;
    s->buckets[b / 64] |= 1ull << b % 64;
}

/* The first bucket from b on that has a slot; SCHED__QUEUE_MAX if none has. */
uint32_t
sched__bucket_from(const struct sched *s, uint32_t b)
{
    for (uint32_t w = b / 64; w < SCHED__WORDS; w++) {
        uint64_t bits = s->buckets[w] & (w == b / 64 ? ~0ull << b % 64 : ~0ull);

        if (bits)
            return w * 64 + (uint32_t)__builtin_ctzll(bits);
    }
    return SCHED__QUEUE_MAX;
}

/* ---- deadlines: slots in the order in which their heads began */
static void
untime(struct sched *s, uint32_t i)
{
    struct sched__slot *sl = &s->slots[i];

    if (!sl->timed)
        return;
    sl->timed = false;
    *(sl->time_prev != SCHED__NONE ? &s->slots[sl->time_prev].time_next : &s->time_first) = sl->time_next;
    *(sl->time_next != SCHED__NONE ? &s->slots[sl->time_next].time_prev : &s->time_last) = sl->time_prev;
}

/* Another attempt is the head of the queue now, or none is. */
static void
new_head(struct sched *s, uint32_t i)
{
    struct sched__slot *sl = &s->slots[i];

    sl->since = s->now;
    untime(s, i);
    if (sl->n == 0 || sl->killing || s->opts.task_timeout_ns == 0)
        return;
    sl->timed = true;
    sl->time_prev = s->time_last;
    sl->time_next = SCHED__NONE;
    *(sl->time_prev != SCHED__NONE ? &s->slots[sl->time_prev].time_next : &s->time_first) = i;
    s->time_last = i;
}

/* ---- the queue */
static struct sched__entry *
entry(const struct sched__slot *sl, uint32_t k)
{
    return &sl->queue[(sl->head + k) & (sl->cap - 1)];
}

void
sched__enqueue(struct sched *s, uint32_t i, struct sched__entry e)
{
    struct sched__slot *sl = &s->slots[i];

    if (sl->n == sl->cap) {
        uint32_t cap = sl->cap ? sl->cap * 2 : 4;
        struct sched__entry *q = calloc(cap, sizeof *q);

        ASSERT(q != NULL);
        for (uint32_t k = 0; k < sl->n; k++)
            q[k] = *entry(sl, k);
        free(sl->queue);
        sl->queue = q;
        sl->cap = cap;
        sl->head = 0;
    }
    *entry(sl, sl->n++) = e;
    s->n_held++;
    if (sl->n == 1) {
        s->n_busy++;
        new_head(s, i);
    }
    sched__place(s, i);
}

static void
kill_head(struct sched *s, uint32_t i, enum err_code code)
{
    struct sched__slot *sl = &s->slots[i];
    struct sched_action *a = sched__act(s, SCHED_KILL);

    sl->killing = sl->killed = true;
    sl->kill = *entry(sl, 0);
    sl->kill_code = (uint8_t)code;
    a->executor = sl->executor;
    a->slot = sl->number;
    a->epoch = s->executors[sl->executor].epoch;
    a->stage = sl->kill.stage;
    a->partition = sl->kill.partition;
    a->attempt = sl->kill.attempt & SCHED__ATTEMPT;
    a->code = (uint8_t)code;
    untime(s, i);
    unplace(s, i);
}

static void
kill_if_unwanted(struct sched *s, uint32_t i)
{
    struct sched__slot *sl = &s->slots[i];

    if (!sl->up || sl->killing || sl->n == 0)
        return;
    const struct sched__entry *e = entry(sl, 0);
    if ((e->attempt & SCHED__DOOMED) || sched__stage(s, e->stage)->live_jobs == 0)
        kill_head(s, i, ERR_CANCELLED);
}

static void
revoke(struct sched *s, uint32_t i, uint32_t k)
{
    struct sched__slot *sl = &s->slots[i];
    struct sched__entry *e = entry(sl, k);

    if (e->attempt & SCHED__REVOKED)
        return;
    e->attempt |= SCHED__REVOKED;
    struct sched_action *a = sched__act(s, SCHED_REVOKE);
    a->executor = sl->executor;
    a->slot = sl->number;
    a->epoch = s->executors[sl->executor].epoch;
    a->stage = e->stage;
    a->partition = e->partition;
    a->attempt = e->attempt & SCHED__ATTEMPT;
    a->code = ERR_CANCELLED;
    s->count.revoked++;
}

void
sched__kill_unwanted(struct sched *s)
{
    for (uint32_t i = 0; i < s->n_slots; i++) {
        kill_if_unwanted(s, i);
        if (!s->slots[i].up || s->slots[i].killing)
            continue; /* nothing here, or all of it ends with the head */
        for (uint32_t k = 1; k < s->slots[i].n; k++)
            if (sched__stage(s, entry(&s->slots[i], k)->stage)->live_jobs == 0)
                revoke(s, i, k);
    }
}

bool
sched__kill_task(struct sched *s, uint32_t i, const struct sched__entry *e)
{
    struct sched__slot *sl = &s->slots[i];
    uint32_t k = 0;

    while (k < sl->n && !sched__same(entry(sl, k), e))
        k++;
    if (k == sl->n)
        return false;
    entry(sl, k)->attempt |= SCHED__DOOMED;
    if (k == 0)
        kill_if_unwanted(s, i);
    else
        revoke(s, i, k);
    return true;
}

bool
sched__answered(struct sched *s, uint32_t i, const struct sched__entry *e, bool *ret_asked)
{
    struct sched__slot *sl = &s->slots[i];
    uint32_t k = 0;

    while (k < sl->n && !sched__same(entry(sl, k), e)) /* the head, unless answers came out of order */
        k++;
    if (k == sl->n)
        return false;
    bool head = k == 0;
    sl->downs = 0;
    *ret_asked = (entry(sl, k)->attempt & (SCHED__REVOKED | SCHED__DOOMED)) || (sl->killing && sched__same(&sl->kill, e));
    for (; k > 0; k--)
        *entry(sl, k) = *entry(sl, k - 1);
    sl->head = (sl->head + 1) & (sl->cap - 1);
    sl->n--;
    s->n_held--;
    s->n_busy -= sl->n == 0;
    if (sl->killing && sched__same(&sl->kill, e))
        sl->killing = false;
    if (head) {
        new_head(s, i);
        kill_if_unwanted(s, i);
    }
    return true;
}

uint32_t
sched__flush(struct sched *s, uint32_t i, struct sched__entry *e)
{
    struct sched__slot *sl = &s->slots[i];
    uint32_t n = sl->n;

    for (uint32_t k = 0; k < n; k++)
        e[k] = *entry(sl, k);
    for (uint32_t k = 0; k < n; k++)
        e[k].attempt &= SCHED__ATTEMPT;
    s->n_held -= n;
    s->n_busy -= n > 0;
    sl->n = sl->head = 0;
    sl->depth = 1;
    sl->killing = sl->killed = false;
    new_head(s, i);
    sched__place(s, i);
    return n;
}

void
sched__pace(struct sched *s, uint32_t i, struct sched__stage *st, uint64_t busy_ns)
{
    struct sched__slot *sl = &s->slots[i];

    st->busy_ns += busy_ns;
    if (++st->busy_n == 4096) { /* the older half counts half */
        st->busy_n /= 2;
        st->busy_ns /= 2;
    }
    uint64_t mean = st->busy_ns / st->busy_n, n = s->opts.prefetch_ns / (mean ? mean : 1) + 1;
    st->want = n < SCHED__QUEUE_MAX ? (uint32_t)n : SCHED__QUEUE_MAX;
    uint32_t want = sched__target(s, st);
    sl->depth = want < sl->depth * 2 ? want : sl->depth * 2;
    sched__place(s, i);
}

/* ---- time */
/* Takes back what waits behind attempts that began long ago. */
static void
revoke_late(struct sched *s)
{
    uint64_t next = 0;

    for (uint32_t i = 0; i < s->n_slots; i++) {
        struct sched__slot *sl = &s->slots[i];
        uint64_t at = sl->since + s->opts.revoke_ns;

        if (!sl->up || sl->killing || sl->n < 2)
            continue;
        if (at > s->now) {
            next = next == 0 || at < next ? at : next;
            continue;
        }
        sl->depth = 1;
        sched__place(s, i);
        for (uint32_t k = sl->n; k-- > 1;) {
            revoke(s, i, k);
            if (PLANTED(s, SCHED__PLANT_REVOKE_TWICE)) {
                const struct sched__entry *e = entry(sl, k);

                sl->n--;
                s->n_held--;
                sched__again(s, sched__stage(s, e->stage), e->partition);
            }
        }
    }
    s->revoke_at = next;
    s->revoke_seen = s->count.launched;
}

void
sched__timer(struct sched *s)
{
    uint64_t limit = s->opts.task_timeout_ns;

    if (s->now >= s->wake)
        s->wake = 0;
    while (s->time_first != SCHED__NONE && s->slots[s->time_first].since + limit <= s->now)
        kill_head(s, s->time_first, ERR_TIMEOUT);
    if (s->revoke_at != 0 && s->now >= s->revoke_at)
        revoke_late(s);
    sched__avoid_review(s);
}

void
sched__arm(struct sched *s)
{
    uint64_t at = s->near_at, until = s->avoid ? sched__avoid_until(s) : SCHED_NEVER;

    if (s->bucket_first[0] == SCHED__NONE || s->list_first || s->n_held == s->n_busy)
        s->revoke_at = 0;
    else if (s->revoke_at == 0 && s->revoke_seen != s->count.launched)
        s->revoke_at = s->now + s->opts.revoke_ns;
    if (s->revoke_at != 0 && s->revoke_at < at)
        at = s->revoke_at;
    if (until < at)
        at = until;
    if (s->time_first != SCHED__NONE && s->slots[s->time_first].since + s->opts.task_timeout_ns < at)
        at = s->slots[s->time_first].since + s->opts.task_timeout_ns;
    if (at == SCHED_NEVER || (s->wake != 0 && s->wake <= at))
        return;
    s->wake = at;
    sched__act(s, SCHED_WAKE_AT)->at = at;
}

/* ---- executors */
uint32_t
sched__slot_of(const struct sched *s, uint32_t executor, uint32_t number)
{
    const struct sched__executor *x = executor < s->n_executors ? &s->executors[executor] : NULL;

    return x && x->epoch != 0 && number < x->n ? x->first + number : SCHED__NONE;
}

/* n slots in a row at the end of the table. */
static void
slots_new(struct sched *s, struct sched__executor *x, uint32_t n)
{
    ASSERT(n < SCHED__NONE - s->n_slots);
    if (s->n_slots + n > s->cap_slots) {
        s->cap_slots = s->n_slots + n + s->cap_slots / 2;
        s->slots = realloc(s->slots, s->cap_slots * sizeof *s->slots);
        ASSERT(s->slots != NULL);
    }
    x->first = s->n_slots;
    x->room = n;
    memset(s->slots + s->n_slots, 0, n * sizeof *s->slots);
    s->n_slots += n;
}

/* The executor has n more slots that can be used, or fewer. */
static void
count_usable(struct sched *s, uint32_t node, uint32_t more, uint32_t fewer)
{
    s->changes++;
    if (node >= s->n_nodes) {
        uint32_t n = node + node / 2 + 8;

        s->node_slots = realloc(s->node_slots, n * sizeof *s->node_slots);
        ASSERT(s->node_slots != NULL);
        memset(s->node_slots + s->n_nodes, 0, (n - s->n_nodes) * sizeof *s->node_slots);
        s->n_nodes = n;
    }
    s->node_slots[node] += more - fewer;
    s->depth = SCHED__QUEUED / (s->count.slots + 1);
    if (s->depth < SCHED__DEPTH_MIN)
        s->depth = SCHED__DEPTH_MIN;
    if (s->depth > s->opts.prefetch_max)
        s->depth = s->opts.prefetch_max;
}

void
sched__avoid_slots(struct sched *s, uint32_t executor, bool avoid)
{
    struct sched__executor *x = &s->executors[executor];

    if (x->epoch == 0 || s->slots[x->first].avoid == avoid)
        return;
    count_usable(s, x->node, avoid ? 0 : x->n, avoid ? x->n : 0);
    for (uint32_t k = 0; k < x->n; k++) {
        s->slots[x->first + k].avoid = avoid;
        sched__place(s, x->first + k);
    }
}

void
sched__executor_up(struct sched *s, uint32_t executor, uint32_t n, uint32_t node)
{
    ASSERT(executor < SCHED__NONE / 64 && node < SCHED__NONE / 64 && n > 0);
    if (sched_epoch(s, executor) != 0)
        sched__executor_down(s, executor);
    if (executor >= s->n_executors) {
        uint32_t more = executor + executor / 2 + 4;

        s->executors = realloc(s->executors, more * sizeof *s->executors);
        ASSERT(s->executors != NULL);
        memset(s->executors + s->n_executors, 0, (more - s->n_executors) * sizeof *s->executors);
        s->n_executors = more;
    }
    struct sched__executor *x = &s->executors[executor];
    if (n > x->room || node != x->node) /* what the old ones made stays where it is */
        slots_new(s, x, n);
    x->node = node;
    x->epoch = ++s->epoch;
    x->n = n;
    s->count.executors++;
    s->count.slots += n;
    count_usable(s, node, n, 0);
    for (uint32_t k = 0; k < n; k++) {
        struct sched__slot *sl = &s->slots[x->first + k];

        sl->executor = executor;
        sl->number = k;
        sl->node = node;
        sl->up = true;
        sl->avoid = false;
        sl->downs = 0;
        sl->depth = 1;
        sched__place(s, x->first + k);
    }
    sched__avoid_look(s);
    sched__avoid_review(s);
}

void
sched__executor_down(struct sched *s, uint32_t executor)
{
    struct sched__executor *x = &s->executors[executor];
    struct sched__entry held[SCHED__QUEUE_MAX];
    uint32_t first = x->first, n = x->n;

    x->epoch = 0;
    x->n = 0;
    s->count.executors--;
    s->count.slots -= n;
    count_usable(s, x->node, 0, s->slots[first].avoid ? 0 : n);
    for (uint32_t k = 0; k < n; k++)
        s->slots[first + k].up = false;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t m = sched__flush(s, first + k, held);

        for (uint32_t i = 0; i < m; i++)
            if (i == 0)
                sched__attempt_failed(s, &held[i], ERR_LOST, false);
            else
                sched__again(s, sched__stage(s, held[i].stage), held[i].partition);
    }
    sched__avoid_review(s);
}

void
sched__executors_down(struct sched *s, uint32_t node)
{
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < s->n_executors; i++) {
            struct sched__executor *x = &s->executors[i];

            if (x->epoch == 0 || x->node != node)
                continue;
            for (uint32_t k = 0; k < x->n; k++)
                s->slots[x->first + k].up = false; /* first all of them: nothing is to be killed there */
            if (pass == 1)
                sched__executor_down(s, i);
        }
}
