/* runner -- see runner.h: takes tasks from its ring, runs them through flow, answers once each. */
#include "runner/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "flow/module.h"
#include "net/recorder.h"
#include "net/ring.h"
#include "runner/crash.h"
#include "runner/runner_priv.h"

/* ---- talking to the executor */

static struct stage *
stage_of(struct runner *r, uint32_t id)
{
    for (uint32_t i = r->n_stages; i-- > 0;)
        if (r->stage[i]->id == id)
            return r->stage[i];
    return NULL;
}

static struct err *
take_stage(struct runner *r, const struct frame *f)
{
    struct stage *s = calloc(1, sizeof *s);

    if (!s)
        abort();
    s->id = f->id;
    TRY_OR(plan_stage_decode(f->p, f->n, &s->a, &s->stage, &s->nodes), "stage %u", f->id);
    r->stage = realloc(r->stage, (r->n_stages + 1) * sizeof *r->stage);
    if (!r->stage)
        abort();
    r->stage[r->n_stages++] = s;
    return NULL;
}

/* The executor is gone or talks nonsense: there is nobody to tell. */
static _Noreturn void
give_up(struct err *e)
{
    char *s = err_text(e);

    crash_give_up(s);
}

static void
must(struct err *e)
{
    if (e)
        give_up(e);
}

/* Sends a request and waits for its reply; stages that come first are kept. */
struct err *
runner__call(struct runner *r, uint32_t type, const struct buf *b, struct frame *ret_f, struct get *ret_g)
{
    return runner__call_fd(r, type, b, -1, ret_f, ret_g);
}

struct err *
runner__call_fd(struct runner *r, uint32_t type, const struct buf *b, int fd, struct frame *ret_f, struct get *ret_g)
{
    return runner__call_fds(r, type, b, &fd, fd >= 0, ret_f, ret_g);
}

struct err *
runner__call_fds(struct runner *r, uint32_t type, const struct buf *b, const int *fd, int n, struct frame *ret_f,
                 struct get *ret_g)
{
    uint32_t id = ++r->calls;

    must(frame_send(r->chan, type, id, b->p, b->n, fd, n));
    for (;;) {
        must(frame_recv(r->chan, ret_f));
        if (ret_f->type == WIRE_STAGE) {
            must(take_stage(r, ret_f));
        } else if (ret_f->type == WIRE_REPLY && ret_f->id == id) {
            *ret_g = GET_OF(ret_f->p, ret_f->n);
            return wire_get_err(ret_g);
        } else {
            give_up(err_new(ERR_CORRUPT, "the executor sent a frame of kind %u instead of a reply", ret_f->type));
        }
    }
}

/* ---- the world of a task */

static struct err *
ask_open(struct runner *r, uint8_t kind, uint32_t parent, uint32_t index, uint32_t count, struct frame *f, struct get *g)
{
    struct wire_open o = { kind, r->task.stage, r->task.partition, r->task.attempt, parent, index, count };

    r->out.n = 0;
    wire_put_open(&r->out, &o);
    return runner__call(r, WIRE_OPEN, &r->out, f, g);
}

static struct err *
take_file(struct runner *r, struct frame *f, struct get *g, int i, struct flow_piece *p)
{
    p->name = get_str(g, &r->a);
    p->file_size = get_u64(g);
    p->offset = get_u64(g);
    p->length = get_u64(g);
    p->whole = get_u8(g);
    p->fd = frame_take_fd(f, i);
    if (g->bad || p->fd < 0) {
        file_close(&p->fd);
        return err_new(ERR_CORRUPT, "the executor's reply has no file");
    }
    return NULL;
}

static struct err *
open_piece(void *arg, uint32_t index, struct flow_piece *ret)
{
    struct frame f;
    struct get g;

    TRY(ask_open(arg, WIRE_OPEN_PIECE, 0, index, 0, &f, &g));
    ret->fd = -1;
    return g.p == g.end ? NULL : take_file(arg, &f, &g, 0, ret);
}

static struct err *
open_output(void *arg, int *ret_fd, const char **ret_name)
{
    struct frame f;
    struct get g;
    struct flow_piece p;

    TRY(ask_open(arg, WIRE_OPEN_OUTPUT, 0, 0, 0, &f, &g));
    TRY(take_file(arg, &f, &g, 0, &p));
    *ret_fd = p.fd;
    *ret_name = p.name;
    return NULL;
}

static struct err *
open_spill(void *arg, int *ret_fd)
{
    struct frame f;
    struct get g;
    struct flow_piece p;

    TRY(ask_open(arg, WIRE_OPEN_SPILL, 0, 0, 0, &f, &g));
    TRY(take_file(arg, &f, &g, 0, &p));
    *ret_fd = p.fd;
    return NULL;
}

/* Map outputs come WIRE_OPEN_MAX at a time; the ones not asked for yet wait here. */
static struct err *
ask_maps(struct runner *r, struct maps *m, uint32_t map)
{
    uint32_t count = m->total - map < WIRE_OPEN_MAX ? m->total - map : WIRE_OPEN_MAX;
    struct frame f;
    struct get g;

    runner__drop_maps(m);
    struct err *e = ask_open(r, WIRE_OPEN_MAP, m->stage, map, count, &f, &g);
    uint32_t bad = e ? get_u32(&g) : 0;
    if (e && !g.bad && bad > map && bad - map < count) { /* one behind this one: it is told of when its turn comes */
        err_free(e);
        count = bad - map;
        e = ask_open(r, WIRE_OPEN_MAP, m->stage, map, count, &f, &g);
        bad = e ? get_u32(&g) : 0;
    }
    if (e) {
        if (!g.bad && bad != UINT32_MAX) {
            r->lost_stage = m->stage;
            r->lost_map = bad;
        }
        return e;
    }
    for (uint32_t i = 0; i < count; i++) {
        m->name[i] = get_str(&g, &r->a);
        get_u64(&g);
        uint64_t attempt = get_u64(&g), node = get_u64(&g);
        if (get_u8(&g) == WIRE_COPY)
            runner__is_copy(r, m->stage, m->total, map + i, (uint32_t)attempt, (uint32_t)node);
        m->fd[i] = frame_take_fd(&f, (int)i);
        m->n = i + 1;
        if (g.bad || m->fd[i] < 0)
            return err_new(ERR_CORRUPT, "the executor's reply has no file");
    }
    m->first = map;
    return NULL;
}

struct err *
runner__open_map(void *arg, uint32_t map, int *ret_fd, struct arena *a, char **ret_name)
{
    struct runner *r = arg;
    struct maps *m = &r->maps;

    if (map < m->first || map >= m->first + m->n || m->fd[map - m->first] < 0) /* a sort asks twice */
        TRY(ask_maps(r, m, map));
    *ret_fd = m->fd[map - m->first];
    *ret_name = arena_strdup(a, m->name[map - m->first]);
    m->fd[map - m->first] = -1;
    return NULL;
}

void
runner__drop_maps(struct maps *m)
{
    for (uint32_t i = 0; i < m->n; i++)
        file_close(&m->fd[i]);
    m->n = 0;
}

static struct err *
open_runs(void *arg, const struct plan_branch *b, uint32_t partition, const struct merge_opts *order,
          struct merge_set *into, struct merge_bound *bound)
{
    struct runner *r = arg;

    r->maps = (struct maps){ .stage = b->parent, .total = b->parent_maps };
    return runner__fetch(r, b, partition, order, into, bound);
}

static void
log_line(void *arg, int level, const char *file, int line, const char *text)
{
    struct runner *r = arg;

    r->out.n = 0;
    put_u8(&r->out, (uint8_t)level);
    put_str(&r->out, file);
    put_u32(&r->out, (uint32_t)line);
    put_str(&r->out, text);
    must(frame_send(r->chan, WIRE_LOG, 0, r->out.p, r->out.n, NULL, 0));
}

static void
progress(void *arg, uint64_t records, uint64_t bytes, uint32_t op)
{
    struct runner *r = arg;

    r->rec->task.records = records;
    r->rec->task.bytes = bytes;
    r->rec->task.op = op;
}

static uint32_t
value_kind(uint8_t kind)
{
    return kind == TD_K_U64 ? RECORDER_U64 : kind == TD_K_I64 ? RECORDER_I64 : kind == TD_K_F64 ? RECORDER_F64 : RECORDER_STR;
}

_Static_assert(FLOW_AT == (int)RECORDER_AT && FLOW_AT_UNPACKED == (int)RECORDER_AT_UNPACKED &&
                  FLOW_NUMBER == (int)RECORDER_NUMBER && FLOW_KEY == (int)RECORDER_KEY,
              "flow_known is passed on as recorder_known");

static void
record_in_hand(void *arg, struct recorder *rec)
{
    const struct runner *r = arg;
    struct flow_spot s;

    if (r->bcasts.building) { /* no record's fault */
        rec->end.text_n = (uint32_t)strnlen(r->bcasts.building, RECORDER_TEXT);
        memcpy(rec->end.text, r->bcasts.building, rec->end.text_n);
        return;
    }
    flow_where(&s);
    rec->task.op = s.op;
    if (!s.known)
        return;
    rec->rec.file = s.file;
    rec->rec.offset = s.offset;
    rec->rec.row = s.row;
    rec->rec.kind = value_kind(s.kind);
    rec->rec.first_n = s.n < RECORDER_FIRST ? (uint32_t)s.n : RECORDER_FIRST;
    rec->rec.cut = s.n > RECORDER_FIRST;
    memcpy(rec->rec.first, s.p, rec->rec.first_n);
    rec->rec.known = s.known;
}

/* ---- tasks */

static void
answer(struct runner *r, struct wire_done *d)
{
    r->out.n = 0;
    wire_put_done(&r->out, d);
    if (r->out.n > RING_FRAME_MAX || !ring_send(r->ring, WIRE_DONE, r->out.p, r->out.n))
        must(frame_send(r->chan, WIRE_DONE, 0, r->out.p, r->out.n, NULL, 0));
    else
        ring_kick(r->ring);
}

/* flow can neither go on nor return: this attempt's answer is the process's last word. */
static void
die(void *arg, struct err *e)
{
    struct runner *r = arg;
    struct wire_done d = { .task = r->task, .err = e, .lost_stage = UINT32_MAX, .last = true };

    answer(r, &d);
    crash_quit(1);
}

static void
run_task(struct runner *r, const struct wire_task *t)
{
    struct wire_done d = { .task = *t, .lost_stage = UINT32_MAX };
    struct stage *s;

    r->task = *t;
    r->lost_stage = UINT32_MAX;
    r->copies = NULL; /* were the last attempt's arena's */
    r->fetch.maps = 0;
    r->fetched = 0;
    r->rec->task.stage = t->stage;
    r->rec->task.partition = t->partition;
    r->rec->task.attempt = t->attempt;
    progress(r, 0, 0, 0);
    while (!(s = stage_of(r, t->stage))) {
        struct frame f;

        must(frame_recv(r->chan, &f));
        if (f.type == WIRE_STAGE)
            must(take_stage(r, &f));
    }
    struct flow_task ft = { &s->stage, &s->nodes, t->partition, t->flags & WIRE_ONE_RECORD };
    r->budget = (struct budget){ .limit = r->limit, .used = ring_budget(r->ring) };
    struct flow_items items = { r->image.items, r->image.nitems };
    uint64_t began = clock_mono_ns();
    if (t->partition >= s->stage.tasks)
        d.err = err_new(ERR_CORRUPT, "stage %u has no partition %u", t->stage, t->partition);
    else
        d.err = flow_run_task(&r->world, &items, &ft, &r->budget, &r->a, &d.result);
    if (d.err && d.err->code == ERR_CORRUPT)
        runner__find_lost(r);
    d.result.in_bytes += r->fetched;
    d.took_ns = clock_mono_ns() - began;
    d.lost_stage = r->lost_stage;
    d.lost_map = r->lost_map;
    /* What the author's code left here when it gave up, memory above all, is gone with the process. */
    d.last = d.err && (d.err->code == ERR_USER || d.err->code == ERR_LIMIT);
    answer(r, &d);
    if (d.last)
        crash_quit(1);
    err_free(d.err);
    runner__drop_maps(&r->maps);
    arena_reset(&r->a);
}

static void
load(struct runner *r)
{
    struct frame f;
    struct buf b = { 0 };

    must(frame_recv(r->chan, &f));
    struct get g = GET_OF(f.p, f.n);
    struct wire_module m;
    wire_get_module(&g, &r->process, &m);
    r->limit = m.budget;
    runner__codec(&r->world, m.codec);
    r->world.files = m.files[0] ? m.files : NULL;
    int fd = frame_take_fd(&f, 0);
    if (f.type != WIRE_MODULE || g.bad || fd < 0)
        give_up(err_new(ERR_CORRUPT, "the first frame is no module"));
    struct err *e = NULL;
    for (uint32_t i = 0; !e && i < m.n_libs; i++)
        e = module_load_library(arena_printf(&r->process, "%s/%s", m.files, m.libs[i]));
    if (!e)
        e = module_load(fd, m.name, &r->image);
    close(fd);
    if (!e)
        crash_module(r->image.base, r->image.size);
    wire_put_err(&b, e);
    must(frame_send(r->chan, WIRE_LOADED, 0, b.p, b.n, NULL, 0));
    buf_fini(&b);
    if (e) {
        err_free(e);
        crash_quit(1);
    }
}

_Noreturn void
runner_main(const struct runner_start *start)
{
    struct runner *r = calloc(1, sizeof *r);

    if (!r)
        abort();
    must(frame_open(start->socket, 1u << 30, &r->chan));
    must(ring_attach(start->fd_a, start->fd_b, start->bell_page, start->bell_event, &r->ring));
    close(start->fd_a);
    close(start->fd_b);
    r->rec = ring_recorder(r->ring);
    must(crash_init(r->rec));
    crash_on_record(record_in_hand, r);
    r->world = (struct flow_world){ .arg = r, .open_piece = open_piece, .open_output = open_output,
                                    .open_spill = open_spill, .open_runs = open_runs, .log = log_line, .die = die, .progress = progress,
                                    .open_broadcast = runner__open_broadcast, .keep = &r->keep, .bcasts = &r->bcasts };
    runner__plugins(&r->world);
    load(r);
    for (;;) {
        struct ring_frame f;
        enum ring_got got = ring_recv(r->ring, &f);

        if (got == RING_EMPTY) {
            ring_wait(r->ring);
        } else if (got == RING_FRAME && f.type == WIRE_TASK && f.n == sizeof(struct wire_task)) {
            struct wire_task t;

            memcpy(&t, f.p, sizeof t);
            run_task(r, &t);
        } else if (got == RING_FRAME && f.type == WIRE_DROP && f.n == sizeof(uint32_t)) {
            uint32_t id;

            memcpy(&id, f.p, sizeof id);
            flow_bcast_drop(&r->bcasts, id);
        } else if (got == RING_FRAME && f.type == WIRE_MAIN) {
            runner__main(r);
        } else {
            give_up(err_new(ERR_CORRUPT, "the executor's ring holds nonsense"));
        }
    }
}
