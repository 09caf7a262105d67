/* Chaos for the master's brain: events that make no sense, and a world of workers and drivers whose links break, which
 * die and come back, while the master itself starts anew.  Every run is a seed's; a failure prints it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master.h"

static uint64_t
rnd(uint64_t *s, uint64_t n)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return (*s >> 11) % n;
}

static void
check(bool good, uint64_t seed, const char *what)
{
    if (!good)
        printf("\n  seed %llu: %s\n", (unsigned long long)seed, what);
    CU_ASSERT_TRUE(good);
}

/* ---- nonsense: no event may do harm, whatever came before it */

static const char *const names[] = { "a", "b", "c", "d" };

struct started {
    char id[8];
    uint32_t executor;
};

static void
random_event(uint64_t *s, struct grants_event *ev, struct grants_child *c)
{
    for (unsigned i = 0; i < 4; i++)
        c[i] = (struct grants_child){ .id = names[rnd(s, 4)], .executor = (uint32_t)rnd(s, 6), .phase = (uint8_t)rnd(s, 4),
                                      .cores = (uint32_t)rnd(s, 3), .memory = rnd(s, 3), .status = (uint32_t)rnd(s, 2) };
    *ev = (struct grants_event){ .kind = (uint8_t)(1 + rnd(s, GRANTS_TIMER)), .state = (uint8_t)(1 + rnd(s, 4)),
                                 .supervise = rnd(s, 2), .id = names[rnd(s, 4)], .worker = names[rnd(s, 4)],
                                 .host = "h", .submission = names[rnd(s, 4)], .process = rnd(s, 2),
                                 .executor = (uint32_t)rnd(s, 6), .cores = (uint32_t)rnd(s, 9), .memory = rnd(s, 9),
                                 .tries = (uint32_t)rnd(s, 3), .child = c[0], .children = c,
                                 .n_children = (uint32_t)rnd(s, 5), .apps = names, .n_apps = (uint32_t)rnd(s, 5),
                                 .ask = { (uint32_t)rnd(s, 5), (uint32_t)rnd(s, 3), rnd(s, 3), (uint32_t)rnd(s, 4) } };
    /* a worker does not list a child twice */
    for (uint32_t i = 0; i < ev->n_children; i++)
        for (uint32_t k = 0; k < i; k++)
            if (!strcmp(c[i].id, c[k].id) && c[i].executor == c[k].executor)
                ev->n_children = i;
}

/* What it gives out fits into its own books, whoever filled these. */
static void
check_books(const struct rig *r, uint64_t seed)
{
    struct grants_worker_info w;

    for (uint32_t i = 0; i < r->out.n; i++) {
        const struct grants_action *a = &r->out.v[i];

        if (a->kind != GRANTS_START_EXECUTOR && a->kind != GRANTS_START_DRIVER)
            continue;
        for (uint32_t k = 0; grants_worker(r->g, k, &w); k++)
            if (!strcmp(w.id, a->worker))
                check(w.used <= w.cores && w.memory_used <= w.memory && w.up, seed, "more given than there is");
    }
}

static void
test_nonsense(void)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t s = seed * 0x9e3779b97f4a7c15u;
        struct grants_child c[4];
        struct grants_event ev;
        struct rig r;

        rig_init(&r, (struct grants_opts){ .fifo = seed & 1, .recover_ns = seed & 2 ? 5 * SEC : 1 });
        for (unsigned i = 0; i < 400; i++) {
            r.now += rnd(&s, 4) ? rnd(&s, SEC / 2) : 0;
            random_event(&s, &ev, c);
            rig_step(&r, ev);
            check_books(&r, seed);
            if (!rnd(&s, 4)) {
                rig_step(&r, ev); /* twice */
                check_books(&r, seed);
            }
        }
        rig_fini(&r);
    }
}

/* ---- a world */

enum { WORKERS = 4, APPS = 3, DRIVERS = 3, CHILDREN = 64, CORES = 4, QUEUE = 4096 };

struct kid {
    char id[24];
    uint32_t executor;
    bool running;
    uint64_t ends_at; /* 0: only when told */
    uint32_t status;
};
struct order { /* from the master, on its way */
    uint8_t kind;
    char id[24];
    uint32_t executor;
    bool after_restart;
};
struct host {
    char id[4];
    bool alive, linked;
    uint64_t process, back_at;
    struct kid kids[CHILDREN];
    uint32_t n_kids;
    struct order q[QUEUE];
    uint32_t n_q;
};
struct prog { /* an application */
    char id[24];
    bool alive, linked, ended;
    uint64_t back_at;
    uint32_t want;
    struct grants_child has[CHILDREN];
    uint32_t n_has;
};
struct sub { /* a submitted driver, as the journal has it */
    char id[24], worker[24];
    bool known, over, supervise;
    uint32_t tries;
};
struct world {
    uint64_t seed, s, hash;
    struct rig r;
    struct host w[WORKERS];
    struct prog a[APPS];
    struct sub d[DRIVERS];
    unsigned generation;
    bool calm;
    struct { char id[24]; uint32_t executor; } seen[65536];
    uint32_t n_seen;
};

static struct host *
host(struct world *w, const char *id)
{
    for (unsigned i = 0; i < WORKERS; i++)
        if (!strcmp(w->w[i].id, id))
            return &w->w[i];
    return NULL;
}

static struct prog *
prog(struct world *w, const char *id)
{
    for (unsigned i = 0; i < APPS; i++)
        if (!strcmp(w->a[i].id, id))
            return &w->a[i];
    return NULL;
}

static struct sub *
sub(struct world *w, const char *id)
{
    for (unsigned i = 0; i < DRIVERS; i++)
        if (!strcmp(w->d[i].id, id))
            return &w->d[i];
    return NULL;
}

static void
unhas(struct prog *p, uint32_t executor)
{
    for (uint32_t i = 0; i < p->n_has; i++)
        if (p->has[i].executor == executor)
            p->has[i--] = p->has[--p->n_has];
}

static void
to_worker(struct world *w, const struct grants_action *a)
{
    struct host *h = host(w, a->worker);

    if (!h || !h->linked)
        return;
    check(h->n_q < QUEUE, w->seed, "the queue is full");
    struct order *o = &h->q[h->n_q++ % QUEUE];
    *o = (struct order){ .kind = a->kind, .executor = a->executor };
    snprintf(o->id, sizeof o->id, "%s", a->id);
}

static void
to_app(struct world *w, const struct grants_action *a)
{
    struct prog *p = prog(w, a->id);

    if (!p || !p->linked)
        return;
    if (a->kind == GRANTS_APP_STATE) {
        p->ended = true;
        p->linked = p->alive = false;
    } else if (a->kind == GRANTS_GONE && a->executor) {
        unhas(p, a->executor);
    } else if (a->kind == GRANTS_GRANTED) {
        unhas(p, a->executor);
        check(p->n_has < CHILDREN, w->seed, "too many executors");
        p->has[p->n_has++] = (struct grants_child){ .id = p->id, .executor = a->executor, .phase = GRANTS_RUNNING,
                                                    .cores = a->cores };
    }
}

static void
journal(struct world *w, const struct grants_action *a)
{
    struct sub *d = sub(w, a->id);

    if (!d)
        return;
    check(!d->over, w->seed, "a driver that is over has a new state");
    d->over = a->state != GRANTS_ACTIVE && a->state != GRANTS_BACKOFF;
    d->tries = a->tries;
    snprintf(d->worker, sizeof d->worker, "%s", a->worker);
}

static void
not_twice(struct world *w, const struct grants_action *a)
{
    for (uint32_t i = 0; i < w->n_seen; i++)
        check(w->seen[i].executor != a->executor || strcmp(w->seen[i].id, a->id) != 0, w->seed,
              "an executor's number is used twice");
    snprintf(w->seen[w->n_seen].id, sizeof w->seen[0].id, "%s", a->id);
    w->seen[w->n_seen++].executor = a->executor;
}

static void
step(struct world *w, struct grants_event ev)
{
    const char *text = rig_step(&w->r, ev);

    for (const char *p = text; *p; p++)
        w->hash = (w->hash ^ (uint8_t)*p) * 0x100000001b3u;
    check_books(&w->r, w->seed);
    for (uint32_t i = 0; i < w->r.out.n; i++) {
        const struct grants_action *a = &w->r.out.v[i];

        switch (a->kind) {
        case GRANTS_START_EXECUTOR:
            not_twice(w, a);
            to_worker(w, a);
            break;
        case GRANTS_START_DRIVER:
        case GRANTS_STOP:
        case GRANTS_FORGET:
            to_worker(w, a);
            break;
        case GRANTS_DRIVER_STATE:
            journal(w, a);
            break;
        default:
            to_app(w, a);
        }
    }
}
#define STEP(w, k, ...) step((w), (struct grants_event){ .kind = GRANTS_##k, __VA_ARGS__ })

static void
say_kid(struct world *w, struct host *h, const struct kid *k, uint8_t phase)
{
    if (h->linked)
        STEP(w, CHILD, .worker = h->id,
             .child = { .id = k->id, .executor = k->executor, .phase = phase, .cores = 1, .status = k->status });
}

static void
kid_ends(struct world *w, struct host *h, uint32_t i, uint32_t status)
{
    struct kid k = h->kids[i];

    k.status = status;
    h->kids[i] = h->kids[--h->n_kids];
    say_kid(w, h, &k, GRANTS_ENDED);
    if (k.executor && !rnd(&w->s, 4))
        say_kid(w, h, &k, GRANTS_ENDED);
}

static void
obey(struct world *w, struct host *h, const struct order *o)
{
    if (o->kind == GRANTS_STOP) {
        for (uint32_t i = 0; i < h->n_kids; i++)
            if (h->kids[i].executor == o->executor && !strcmp(h->kids[i].id, o->id)) {
                kid_ends(w, h, i, 143);
                return;
            }
        return;
    }
    if (o->kind == GRANTS_FORGET)
        return;
    struct kid k = { .executor = o->executor };
    snprintf(k.id, sizeof k.id, "%s", o->id);
    if (!w->calm && !rnd(&w->s, 20)) {
        say_kid(w, h, &k, GRANTS_FAILED);
        return;
    }
    check(h->n_kids < CORES, w->seed, "a worker runs more than it has cores for");
    if (!o->executor)
        k.ends_at = w->r.now + rnd(&w->s, 20 * SEC) + 1;
    h->kids[h->n_kids++] = k;
}

static void
worker_tick(struct world *w, struct host *h)
{
    if (!h->alive || !h->linked) {
        if (w->r.now < h->back_at)
            return;
        struct grants_child c[CHILDREN];
        if (!h->alive)
            h->process++;
        h->alive = h->linked = true;
        for (uint32_t i = 0; i < h->n_kids; i++)
            c[i] = (struct grants_child){ .id = h->kids[i].id, .executor = h->kids[i].executor, .cores = 1,
                                          .phase = h->kids[i].running ? GRANTS_RUNNING : GRANTS_STARTING };
        for (uint64_t n = 1 + !rnd(&w->s, 4); n; n--) { /* a new link each: what was under way is lost */
            h->n_q = 0;
            STEP(w, WORKER_UP, .id = h->id, .host = h->id, .process = h->process, .cores = CORES, .memory = GIB,
                 .children = c, .n_children = h->n_kids);
        }
        return;
    }
    for (uint32_t n = (uint32_t)rnd(&w->s, 4), i = 0; n && h->n_q; n--) {
        struct order o = h->q[i];

        memmove(&h->q[0], &h->q[1], --h->n_q * sizeof h->q[0]);
        obey(w, h, &o);
    }
    for (uint32_t i = 0; i < h->n_kids; i++) {
        struct kid *k = &h->kids[i];

        if (!k->running && !rnd(&w->s, 3)) {
            k->running = true;
            say_kid(w, h, k, GRANTS_RUNNING);
        }
        if ((k->ends_at && w->r.now >= k->ends_at) || (!w->calm && !rnd(&w->s, 200)))
            kid_ends(w, h, i--, k->ends_at && rnd(&w->s, 3) ? 0 : (uint32_t)rnd(&w->s, 200));
    }
}

static void
app_tick(struct world *w, unsigned i)
{
    struct prog *p = &w->a[i];

    if (p->ended || !p->alive) { /* another one takes its place */
        if (w->r.now < p->back_at)
            return;
        *p = (struct prog){ .alive = true, .linked = true, .want = 1 + (uint32_t)rnd(&w->s, 9) };
        snprintf(p->id, sizeof p->id, "app%u-%u", i, w->generation++);
        STEP(w, APP_UP, .id = p->id, .ask = { .cores_per_executor = 1 });
        STEP(w, APP_WANT, .id = p->id, .cores = p->want);
        return;
    }
    if (!p->linked) {
        if (w->r.now < p->back_at)
            return;
        p->linked = true;
        STEP(w, APP_UP, .id = p->id, .ask = { .cores_per_executor = 1 }, .children = p->has, .n_children = p->n_has,
             .executor = w->n_seen);
        STEP(w, APP_WANT, .id = p->id, .cores = p->want);
    }
    if (w->calm || !p->linked)
        return;
    if (p->n_has && !rnd(&w->s, 100))
        STEP(w, APP_RELEASE, .id = p->id, .executor = p->has[0].executor);
    if (p->linked && !rnd(&w->s, 500)) {
        char id[24];

        memcpy(id, p->id, sizeof id);
        p->ended = true;
        p->linked = p->alive = false;
        p->back_at = w->r.now + rnd(&w->s, 3 * SEC);
        STEP(w, APP_END, .id = id, .state = GRANTS_FINISHED);
        STEP(w, APP_END, .id = id, .state = GRANTS_FINISHED);
    }
}

static void
master_restarts(struct world *w)
{
    uint64_t now = w->r.now;

    grants_free(w->r.g);
    w->r.now = now + rnd(&w->s, 2 * SEC);
    w->r.g = grants_new(&(struct grants_opts){ 
                                              .fifo = w->seed & 1, .recover_ns = 5 * SEC, .max_retries = 1000 }, w->r.now);
    for (unsigned i = 0; i < WORKERS; i++) {
        w->w[i].linked = false;
        w->w[i].n_q = 0;
        w->w[i].back_at = w->r.now + rnd(&w->s, 2 * SEC);
    }
    for (unsigned i = 0; i < APPS; i++) {
        struct prog *p = &w->a[i];

        p->linked = false;
        p->back_at = w->r.now + rnd(&w->s, 2 * SEC);
        if (p->alive)
            STEP(w, APP_KNOWN, .id = p->id, .executor = w->n_seen);
    }
    for (unsigned i = 0; i < DRIVERS; i++)
        if (w->d[i].known && !w->d[i].over) {
            char worker[24];

            memcpy(worker, w->d[i].worker, sizeof worker);
            STEP(w, DRIVER_SUBMIT, .id = w->d[i].id, .supervise = w->d[i].supervise, .tries = w->d[i].tries,
                 .worker = worker);
        }
}

static void
fault(struct world *w)
{
    struct host *h = &w->w[rnd(&w->s, WORKERS)];
    unsigned i = (unsigned)rnd(&w->s, APPS);
    struct prog *p = &w->a[i];
    uint64_t back = w->r.now + (rnd(&w->s, 2) ? rnd(&w->s, SEC) : rnd(&w->s, 8 * SEC));

    switch (rnd(&w->s, 6)) {
    case 0: /* its link breaks */
        if (!h->linked)
            return;
        h->linked = false;
        h->back_at = back;
        STEP(w, WORKER_DOWN, .id = h->id);
        return;
    case 1: /* it dies with its children */
        if (!h->alive)
            return;
        h->alive = false;
        h->n_kids = 0;
        h->back_at = back;
        if (h->linked)
            STEP(w, WORKER_DOWN, .id = h->id);
        h->linked = false;
        return;
    case 2:
    case 3:
        if (!p->linked)
            return;
        p->linked = false;
        p->back_at = back;
        if (rnd(&w->s, 2))
            p->alive = false;
        STEP(w, APP_DOWN, .id = p->id);
        return;
    case 4:
        master_restarts(w);
        return;
    default:;
        struct sub *d = &w->d[rnd(&w->s, DRIVERS)];

        if (!d->known || d->over) {
            *d = (struct sub){ .known = true, .supervise = rnd(&w->s, 2) };
            snprintf(d->id, sizeof d->id, "drv-%u", w->generation++);
            STEP(w, DRIVER_SUBMIT, .id = d->id, .supervise = d->supervise);
        } else if (!rnd(&w->s, 6)) {
            STEP(w, DRIVER_KILL, .id = d->id);
        }
    }
}

static void
tick(struct world *w)
{
    w->r.now += SEC / 20;
    STEP(w, TIMER);
    for (unsigned i = 0; i < WORKERS; i++)
        worker_tick(w, &w->w[i]);
    for (unsigned i = 0; i < APPS; i++)
        app_tick(w, i);
}

/* All is quiet: everybody has what he asked for, as far as there is, and nobody has anything else. */
static void
check_calm(struct world *w)
{
    uint32_t wanted = 0, total = WORKERS * CORES, kids = 0;

    for (unsigned i = 0; i < DRIVERS; i++)
        check(!w->d[i].known || w->d[i].over, w->seed, "a driver was lost sight of");
    for (unsigned i = 0; i < APPS; i++) {
        struct grants_app_info info;

        check(grants_app(w->r.g, w->a[i].id, &info) && info.up, w->seed, "an application is not known");
        /* one that a driver never heard of before the restart may come on top of its wish */
        wanted += w->a[i].want > info.cores ? w->a[i].want : info.cores;
        check(info.executors == w->a[i].n_has, w->seed, "driver and master differ in what there is");
        check(w->a[i].n_has > 0 || w->seed & 1, w->seed, "an application has nothing");
    }
    for (unsigned i = 0; i < WORKERS; i++)
        for (uint32_t k = 0; k < w->w[i].n_kids; k++) {
            struct prog *p = prog(w, w->w[i].kids[k].id);
            bool has = false;

            kids++;
            for (uint32_t m = 0; p && m < p->n_has; m++)
                has |= p->has[m].executor == w->w[i].kids[k].executor;
            check(has, w->seed, "a process belongs to nobody");
        }
    check(kids == (wanted < total ? wanted : total), w->seed, "cores lie idle, or are given twice");
}

static uint64_t
run_world(uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);

    w->seed = seed;
    w->s = seed * 0x9e3779b97f4a7c15u + 1;
    rig_init(&w->r, (struct grants_opts){ .fifo = seed & 1, .max_retries = 1000 });
    for (unsigned i = 0; i < WORKERS; i++)
        snprintf(w->w[i].id, sizeof w->w[i].id, "w%u", i);
    for (unsigned t = 0; t < 1500; t++) {
        tick(w);
        if (!rnd(&w->s, 20))
            fault(w);
    }
    w->calm = true;
    for (unsigned i = 0; i < DRIVERS; i++)
        w->d[i].supervise = false;
    /* long enough for every back-off: drivers that fail are killed at last */
    for (unsigned t = 0; t < 3000; t++)
        tick(w);
    for (unsigned i = 0; i < DRIVERS; i++)
        if (w->d[i].known && !w->d[i].over)
            STEP(w, DRIVER_KILL, .id = w->d[i].id);
    for (unsigned t = 0; t < 600; t++)
        tick(w);
    check_calm(w);
    uint64_t hash = w->hash;
    rig_fini(&w->r);
    free(w);
    return hash;
}

static void
test_world(void)
{
    const char *one = getenv("MASTER_SEED"), *many = getenv("MASTER_SEEDS");
    uint64_t from = one ? strtoull(one, NULL, 10) : 1, to = one ? from : many ? strtoull(many, NULL, 10) : 20;

    for (uint64_t seed = from; seed <= to; seed++)
        run_world(seed);
}

static void
test_replay(void)
{
    for (uint64_t seed = 1; seed <= 3; seed++)
        CU_ASSERT_EQUAL(run_world(seed), run_world(seed));
}

const struct unit_test soup_tests[] = {
    { "soup.nonsense", test_nonsense },
    { "soup.world", test_world },
    { "soup.replay", test_replay },
    UNIT_END,
};
