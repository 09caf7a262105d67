/* slot -- executors, their slots, and what is queued at each.
 *
 * A slot runs the head of its queue; behind it wait attempts so that the runner never does.  The queue may
 * hold about prefetch_ns of work as the stage's tasks have taken so far: one attempt at first, twice as many
 * after each answer.  Slots with room lie in buckets by the number of attempts they hold, so the least
 * loaded one is found at once. */
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
static void
place(struct sched *s, uint32_t i)
{
    struct sched__slot *sl = &s->slots[i];
    uint32_t b = sl->n;

    unplace(s, i);
    if (!sl->up || sl->killing || sl->n >= sl->depth)
        return;
    sl->placed = true;
    sl->bucket = b;
    sl->prev = s->bucket_last[b];
    sl->next = SCHED__NONE;
    *(sl->prev != SCHED__NONE ? &s->slots[sl->prev].next : &s->bucket_first[b]) = i;
    s->bucket_last[b] = i;
    s->buckets[b / 64] |= 1ull << b % 64;
}

/* The first bucket from b on that has a slot; SCHED__QUEUE_MAX if none has. */
static uint32_t
bucket_from(const struct sched *s, uint32_t b)
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

static void
push(struct sched__slot *sl, struct sched__entry e)
{
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
    a->attempt = sl->kill.attempt;
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
    if (e->doomed || sched__stage(s, e->stage)->live_jobs == 0)
        kill_head(s, i, ERR_CANCELLED);
}

static void
revoke(struct sched *s, uint32_t i, uint32_t k)
{
    struct sched__slot *sl = &s->slots[i];
    struct sched__entry *e = entry(sl, k);

    if (e->revoked)
        return;
    e->revoked = 1;
    struct sched_action *a = sched__act(s, SCHED_REVOKE);
    a->executor = sl->executor;
    a->slot = sl->number;
    a->epoch = s->executors[sl->executor].epoch;
    a->stage = e->stage;
    a->partition = e->partition;
    a->attempt = e->attempt;
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
    entry(sl, k)->doomed = 1;
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
    *ret_asked = entry(sl, k)->revoked || entry(sl, k)->doomed || (sl->killing && sched__same(&sl->kill, e));
    for (; k > 0; k--)
        *entry(sl, k) = *entry(sl, k - 1);
    sl->head = (sl->head + 1) & (sl->cap - 1);
    sl->n--;
    if (sl->killing && sched__same(&sl->kill, e))
        sl->killing = false;
    if (head) {
        new_head(s, i);
        kill_if_unwanted(s, i);
    }
    place(s, i);
    return true;
}

uint32_t
sched__flush(struct sched *s, uint32_t i, struct sched__entry *e)
{
    struct sched__slot *sl = &s->slots[i];
    uint32_t n = sl->n;

    for (uint32_t k = 0; k < n; k++)
        e[k] = *entry(sl, k);
    sl->n = sl->head = 0;
    sl->depth = 1;
    sl->killing = sl->killed = false;
    new_head(s, i);
    place(s, i);
    return n;
}

/* Attempts of the stage that a slot should hold. */
static uint32_t
target(const struct sched *s, const struct sched__stage *st)
{
    if (st->busy_n == 0)
        return 1;
    uint64_t mean = st->busy_ns / st->busy_n, n = s->opts.prefetch_ns / (mean ? mean : 1) + 1;
    return n < s->opts.prefetch_max ? (uint32_t)n : s->opts.prefetch_max;
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
    uint32_t want = target(s, st);
    sl->depth = want < sl->depth * 2 ? want : sl->depth * 2;
    place(s, i);
}

/* ---- launching */
/* A slot that holds fewer than `most` attempts, the emptiest first; one that failed this task is the last
 * choice, its executor the last but one. */
static uint32_t
pick(const struct sched *s, uint32_t most, const struct sched__task *t)
{
    uint32_t b = bucket_from(s, 0), looked = 0, second = SCHED__NONE;

    if (b >= most)
        return SCHED__NONE;
    uint32_t i = s->bucket_first[b];
    if (t->failures == 0 || s->slots[i].executor != s->slots[t->slot].executor)
        return i;
    for (; b < most; b = bucket_from(s, b + 1)) {
        for (i = s->bucket_first[b]; i != SCHED__NONE && looked < 16; i = s->slots[i].next, looked++) {
            if (s->slots[i].executor != s->slots[t->slot].executor)
                return i;
            if (i != t->slot && second == SCHED__NONE)
                second = i;
        }
        if (b + 1 >= SCHED__QUEUE_MAX)
            break;
    }
    return second != SCHED__NONE ? second : t->slot;
}

static void
launch(struct sched *s, struct sched__stage *st, uint32_t partition, uint32_t i)
{
    struct sched__task *t = sched__task(st, partition);
    struct sched__slot *sl = &s->slots[i];
    struct sched_action *a = sched__act(s, SCHED_LAUNCH);

    sched__taken(s, st, partition);
    t->slot = i;
    a->executor = sl->executor;
    a->slot = sl->number;
    a->node = sl->node;
    a->epoch = s->executors[sl->executor].epoch;
    a->stage = st->id;
    a->partition = partition;
    a->attempt = t->attempts - 1;
    a->generation = t->generation;
    if (t->failures > 0 && t->failures + 1u >= s->opts.max_failures)
        a->flags = SCHED_ONE_RECORD;
    s->count.launched++;
    push(sl, (struct sched__entry){ .stage = st->id, .partition = partition, .attempt = a->attempt });
    if (sl->n == 1)
        new_head(s, i);
    place(s, i);
}

void
sched__launch_all(struct sched *s)
{
    struct sched__stage *st;
    uint32_t partition;

    while ((st = sched__next(s, &partition))) {
        uint32_t i = pick(s, target(s, st), sched__task(st, partition));

        if (i == SCHED__NONE)
            return;
        launch(s, st, partition, i);
    }
}

/* ---- time */
void
sched__timer(struct sched *s)
{
    uint64_t limit = s->opts.task_timeout_ns;

    if (s->now >= s->wake)
        s->wake = 0;
    while (s->time_first != SCHED__NONE && s->slots[s->time_first].since + limit <= s->now)
        kill_head(s, s->time_first, ERR_TIMEOUT);
}

void
sched__arm(struct sched *s)
{
    if (s->wake != 0 || s->time_first == SCHED__NONE)
        return;
    s->wake = s->slots[s->time_first].since + s->opts.task_timeout_ns;
    sched__act(s, SCHED_WAKE_AT)->at = s->wake;
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

void
sched__executor_up(struct sched *s, uint32_t executor, uint32_t n, uint32_t node)
{
    ASSERT(executor < SCHED__NONE / 64);
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
    for (uint32_t k = 0; k < n; k++) {
        struct sched__slot *sl = &s->slots[x->first + k];

        sl->executor = executor;
        sl->number = k;
        sl->node = node;
        sl->up = true;
        sl->depth = 1;
        place(s, x->first + k);
    }
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
}
