/* flow_rig -- see flow.h */
#include "flow.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "block/order.h"

void *rig_arg;
static struct rig *now;

uint64_t
rig_random(uint64_t *s)
{
    *s += 0x9e3779b97f4a7c15ull;
    return hash_u64(*s);
}

static int
memory(void)
{
    int fd = memfd_create("flow-test", MFD_CLOEXEC);

    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

int
rig_open_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* ---- text, as simple as can be */

static size_t
line_whole(const char *p, size_t n)
{
    while (n > 0 && p[n - 1] != '\n')
        n--;
    return n;
}

static size_t
line_first(const char *p, size_t n, size_t from)
{
    for (; from < n; from++)
        if (p[from] == '\n')
            return from + 1;
    return 0;
}

static uint32_t
line_cut(const char *p, size_t n, uint32_t max, struct block_str *rows, size_t *ret_used)
{
    uint32_t k = 0;
    size_t at = 0;

    while (at < n && k < max) {
        size_t end = at;

        while (end < n && p[end] != '\n')
            end++;
        rows[k++] = (struct block_str){ p + at, end - at };
        at = end < n ? end + 1 : n;
    }
    *ret_used = at;
    return k;
}

static void
line_put(struct buf *out, struct block_schema s, const struct block_cols *rows, uint32_t from, uint32_t to)
{
    uint8_t kind[2] = { s.key, s.val };

    for (uint32_t i = from; i < to; i++)
        for (int k = 0; k < 2 && kind[k]; k++) {
            const uint64_t *v = rows->col[k];
            const struct block_str *t = rows->col[k];

            if (k)
                buf_put(out, "\t", 1);
            if (kind[k] == BLOCK_STR)
                buf_put(out, t[i].p, t[i].n);
            else if (kind[k] == BLOCK_F64)
                buf_printf(out, "%.17g", ((const double *)rows->col[k])[i]);
            else
                buf_printf(out, kind[k] == BLOCK_I64 ? "%lld" : "%llu", (unsigned long long)v[i]);
            if (k || !kind[1])
                buf_put(out, "\n", 1);
        }
}

static const struct flow_format lines = { "lines", line_whole, line_first, line_cut, line_put };

/* ---- a stream */

static struct err *
xor_open(const struct stream_source *src, void **ret)
{
    struct stream_source *s = malloc(sizeof *s);

    *s = *src;
    *ret = s;
    return NULL;
}

static struct err *
xor_read(void *stream, void *buf, size_t n, size_t *ret_n)
{
    struct stream_source *s = stream;
    char *p = buf;

    TRY(s->pull(s->arg, buf, n < 7 ? n : 7, ret_n));
    for (size_t i = 0; i < *ret_n; i++) {
        p[i] ^= 0x55;
        if (p[i] == '\x7f')
            return err_new(ERR_CORRUPT, "\"%s\" is damaged", s->name);
    }
    return NULL;
}

const struct stream_codec rig_codec = { "x", ".x", "", 0, xor_open, xor_read, free, 64 };

/* ---- the world of a task */

static struct rig_file *
file_of(struct rig *r, const char *name)
{
    for (uint32_t i = 0; i < r->n_files; i++)
        if (!strcmp(r->file[i].name, name))
            return &r->file[i];
    CU_FAIL_FATAL("the job asks for a file that the test has not made");
    return NULL;
}

static struct err *
open_piece(void *arg, uint32_t index, struct flow_piece *ret)
{
    struct rig *r = arg;
    const struct plan_branch *b = plan_branch_of(r->stage, r->partition);
    const struct plan_split *s = &b->splits[r->partition - b->first];

    ret->fd = -1;
    if (r->n_cuts) {
        uint64_t from = index ? r->cut[index - 1] : 0;

        if (index < r->n_cuts)
            *ret = (struct flow_piece){ dup(r->file[0].fd), r->file[0].name, r->file[0].size, from,
                                        r->cut[index] - from, false };
        return NULL;
    }
    if (index >= s->n)
        return NULL;
    const struct plan_piece *p = &s->pieces[index];
    *ret = (struct flow_piece){ dup(file_of(r, p->path)->fd), p->path, p->file_size, p->offset, p->length, p->whole };
    return NULL;
}

static int *
slot_of(struct rig *r, uint32_t stage, uint32_t partition)
{
    for (uint32_t i = 0; i < r->n_out; i++)
        if (r->out[i].stage == stage)
            return &r->out[i].fd[partition];
    return NULL;
}

static struct err *
open_output(void *arg, int *ret_fd, const char **ret_name)
{
    struct rig *r = arg;
    int *at = slot_of(r, r->stage->id, r->partition);

    file_close(at);
    *at = memory();
    *ret_fd = dup(*at);
    *ret_name = "an output";
    return NULL;
}

static struct err *
open_spill(void *arg, int *ret_fd)
{
    *ret_fd = memory();
    return NULL;
}

static struct err *
run_of(struct rig *r, uint32_t stage, uint32_t map, int *ret_fd, struct block_run **ret)
{
    int fd = dup(*slot_of(r, stage, map));
    struct err *e = block_run_open(fd, "a map output", NULL, ret);

    if (e)
        close(fd);
    else
        *ret_fd = fd;
    return e;
}

struct first {
    uint64_t rank, bits;
    struct block_str str;
};

static int
by_first(const void *x, const void *y)
{
    const struct first *a = x, *b = y;

    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    return a->str.p ? block_str_cmp(a->str, b->str) : 0;
}

/* Splitters from the first keys of all blocks: good enough for a test. */
static struct err *
range(struct rig *r, const struct plan_branch *b, uint32_t p, uint32_t parts, const struct merge_opts *o,
      struct merge_bound *ret)
{
    struct first *f = NULL;
    size_t n = 0;

    for (uint32_t m = 0; m < b->parent_maps; m++) {
        struct block_run *run;
        int fd;

        TRY(run_of(r, b->parent, m, &fd, &run));
        f = realloc(f, (n + block_run_count(run) + 1) * sizeof *f);
        for (uint32_t i = 0; i < block_run_count(run); i++) {
            const struct block_entry *en = block_run_entry(run, i);
            struct first *to = &f[n++];

            *to = (struct first){ 0 };
            if (o->schema.key == BLOCK_STR) {
                char *q = arena_zalloc(&r->a, en->first_n + BLOCK_PAD);

                memcpy(q, en->first, en->first_n);
                to->str = (struct block_str){ q, en->first_n };
            } else {
                memcpy(&to->bits, en->first, 8);
            }
            block_key_ranks(o->schema.key, false, to->str.p ? (void *)&to->str : (void *)&to->bits, 0, 1, &to->rank);
        }
        block_run_close(run);
        close(fd);
    }
    qsort(f, n, sizeof *f, by_first);
    *ret = (struct merge_bound){ .has_lo = p > 0, .has_hi = p + 1 < parts };
    uint32_t q = o->descending ? parts - 1 - p : p;
    if (n && parts > 1) {
        struct first lo = f[n * p / parts], hi = f[n * (p + 1) / parts < n ? n * (p + 1) / parts : n - 1];

        if (o->descending) { /* ranges from the top */
            hi = f[n * q / parts];
            lo = f[n * (q + 1) / parts < n ? n * (q + 1) / parts : n - 1];
        }
        ret->lo = lo.bits, ret->lo_s = lo.str;
        ret->hi = hi.bits, ret->hi_s = hi.str;
    } else if (parts > 1) {
        ret->has_lo = ret->has_hi = false;
    }
    free(f);
    return NULL;
}

static struct err *
open_runs(void *arg, const struct plan_branch *b, uint32_t partition, const struct merge_opts *o,
          struct merge_set *into, struct merge_bound *bound)
{
    struct rig *r = arg;

    if (o->by_key)
        TRY(range(r, b, partition, b->n, o, bound));
    for (uint32_t m = 0; m < b->parent_maps; m++) {
        struct block_run *run;
        uint32_t from, to;
        int fd;

        TRY(run_of(r, b->parent, m, &fd, &run));
        uint32_t n = block_run_count(run), runs = n ? block_run_entry(run, n - 1)->partition + 1 : 0;
        for (uint32_t k = 0; o->by_key && k < runs; k++) { /* of a sort: each "partition" is a run */
            struct block_run *part;
            int own;

            TRY(run_of(r, b->parent, m, &own, &part));
            block_run_partition(part, k, &from, &to);
            TRY(merge_set_add(into, part, own, from, to));
        }
        from = to = 0;
        if (!o->by_key)
            block_run_partition(run, partition, &from, &to);
        TRY(merge_set_add(into, run, fd, from, to));
    }
    return NULL;
}

static void
log_line(void *arg, int level, const char *file, int line, const char *text)
{
    struct rig *r = arg;

    buf_printf(&r->log, "%d %s\n", level, text);
}

static void
die(void *arg, struct err *e)
{
    struct rig *r = arg;

    if (r->die_fd) {
        char *text = err_text(e);

        CU_ASSERT(write(r->die_fd, text, strlen(text)) > 0);
        _exit(0);
    }
    unit_no_err(e, "an attempt died", __FILE__, __LINE__);
    abort();
}

static void
progress(void *arg, uint64_t records, uint64_t bytes, uint32_t op)
{
    ((struct rig *)arg)->progress++;
}

void
rig_spot(void)
{
    flow_where(&now->spot);
    size_t n = now->spot.n < 63 ? now->spot.n : 63;
    if (now->spot.known)
        memcpy(now->spot_text, now->spot.p, n);
    now->spot_text[n] = 0;
}

/* ---- the driver */

static struct flow_items
items(void)
{
    return (struct flow_items){ __start_td_items, (uint32_t)(__stop_td_items - __start_td_items) };
}

static void
add_deltas(struct rig *r, const struct flow_delta *deltas, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct flow_delta *d = &deltas[i];

        CU_ASSERT_FATAL(d->item < 256);
        if (!r->touched[d->item])
            r->total[d->item] = flow_delta_zero(d->op);
        r->touched[d->item] = true;
        flow_delta_merge(d->op, &r->total[d->item], d->v);
    }
}

static struct err *
run_one(struct rig *r, const struct plan_graph *g, const struct plan_stage *st, uint32_t p)
{
    struct flow_items it = items();
    struct flow_task t = { st, g, p, r->one_record };
    struct budget b = { .limit = r->budget ? r->budget : 1 << 30 };
    struct arena a = { 0 };
    struct flow_result res;
    int fds = rig_open_fds();

    r->stage = st;
    r->partition = p;
    r->tasks++;
    int *at = slot_of(r, st->id, p);
    bool had = *at >= 0;
    struct err *e = flow_run_task(&r->world, &it, &t, &b, &a, &res);
    EQ_U64(b.held, 0);
    EQ_U64(rig_open_fds(), fds + (*at >= 0 && !had));
    r->peak = b.peak > r->peak ? b.peak : r->peak;
    if (!e) {
        r->in_rows += res.in_rows;
        r->in_bytes += res.in_bytes;
        r->out_rows += res.out_rows;
        r->bad_rows += res.bad_rows;
        r->digest += res.digest;
        add_deltas(r, res.deltas, res.n_deltas);
    }
    r->spill_bytes += res.spill_bytes;
    arena_fini(&a);
    return e;
}

static void
make_out(struct rig *r, const struct plan_stage *st, const char *path)
{
    CU_ASSERT_FATAL(r->n_out < 64);
    int *fd = malloc((st->tasks + 1) * sizeof *fd);
    for (uint32_t i = 0; i <= st->tasks; i++)
        fd[i] = -1;
    r->out[r->n_out].stage = st->id;
    r->out[r->n_out].n = st->tasks;
    r->out[r->n_out].fd = fd;
    r->out[r->n_out++].path = path ? strdup(path) : NULL;
}

static uint32_t
inputs(struct rig *r, const struct plan_graph *g, struct plan_input *in)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < g->n; i++) {
        const struct plan_node *d = &g->nodes[i];

        if (d->op != PLAN_TEXT && d->op != PLAN_BLOCKS)
            continue;
        in[n] = (struct plan_input){ d->id, 0, ARENA_ARRAY(&r->a, struct plan_file, 8) };
        /* "a+b" are two files */
        for (char *s = arena_strdup(&r->a, d->path), *one; (one = strsep(&s, "+"));) {
            const struct rig_file *f = file_of(r, one);

            in[n].files[in[n].n++] = (struct plan_file){ f->name, f->size, f->whole };
        }
        n++;
    }
    return n;
}

static struct err *
act(void *arg, const struct plan_graph *g, const struct plan_action *a, struct job_answer *ret)
{
    struct rig *r = arg;
    struct plan_opts po = { r->slots ? r->slots : 1, r->parallelism ? r->parallelism : 2, r->split_bytes };
    struct plan_input in[16];
    struct plan plan;
    uint64_t before = 0;
    struct buf wire = { 0 };
    struct plan_graph copy;

    plan_graph_encode(g, &wire);
    struct get get = GET_OF(wire.p, wire.n);
    struct err *e = plan_graph_decode(&get, &r->a, &copy);
    buf_fini(&wire);
    if (!e)
        e = plan_cut(&copy, a, in, inputs(r, &copy, in), &po, &r->ids, &r->a, &plan);
    for (uint32_t i = 0; !e && i < plan.n; i++) {
        const struct plan_stage *st = &plan.stages[i];
        bool last = i + 1 == plan.n;
        uint32_t from = last ? plan.first : 0, n = last ? plan.n_result : st->tasks;

        if (slot_of(r, st->id, 0)) /* a shuffle of an earlier action */
            continue;
        make_out(r, st, last ? a->path : NULL);
        before = r->out_rows;
        for (uint32_t p = from; !e && p < from + n; p++)
            e = run_one(r, &copy, st, p);
        if (last) {
            *ret = (struct job_answer){ st->tasks, from, n, r->out_rows - before };
            r->result_stage = (int)st->id;
            r->first = from;
        }
    }
    return e;
}

static struct err *
open_result(void *arg, uint32_t index, int *ret_fd)
{
    struct rig *r = arg;

    if (r->lose && ++r->opened % r->lose == 0)
        return err_new(ERR_LOST, "result %u was on a host that is gone", index);
    *ret_fd = dup(*slot_of(r, (uint32_t)r->result_stage, r->first + index));
    return NULL;
}

static struct err *
conf(void *arg, const char *key, struct arena *a, const char **ret)
{
    *ret = NULL;
    return NULL;
}

static struct err *
conf_set(void *arg, const char *key, const char *value, const char *origin)
{
    return err_new(ERR_CONFIG, "no keys here");
}

static struct err *
add(void *arg, const struct flow_delta *d, uint32_t n)
{
    add_deltas(arg, d, n);
    return NULL;
}

static struct err *
total(void *arg, uint32_t item, uint32_t op, td_slot_ *ret)
{
    struct rig *r = arg;

    *ret = r->touched[item] ? r->total[item] : flow_delta_zero(op);
    return NULL;
}

static void
say(void *arg, int level, const char *file, int line, const char *text)
{
    buf_printf(&((struct rig *)arg)->said, "%s\n", text);
}

static struct err *
broadcast(void *arg, uint32_t id, const char *name, int fd, const char *path)
{
    struct rig *r = arg;

    if (path && strcmp(path, "file"))
        return err_new(ERR_INPUT, "there is no \"%s\"", path);
    CU_ASSERT_FATAL(r->n_bcast < 8);
    r->bcast[r->n_bcast].id = id;
    r->bcast[r->n_bcast++].fd = path ? dup(r->file[0].fd) : dup(fd);
    return NULL;
}

static struct err *
unbroadcast(void *arg, uint32_t id)
{
    struct rig *r = arg;

    for (uint32_t i = 0; i < r->n_bcast; i++)
        if (r->bcast[i].id == id) {
            file_close(&r->bcast[i].fd);
            r->bcast[i] = r->bcast[--r->n_bcast];
            return NULL;
        }
    return err_new(ERR_INPUT, "there is no broadcast %u", id);
}

static struct err *
open_broadcast(void *arg, uint32_t id, int *ret_fd, uint64_t *ret_size)
{
    struct rig *r = arg;

    r->bcast_opens++;
    for (uint32_t i = 0; i < r->n_bcast; i++)
        if (r->bcast[i].id == id) {
            *ret_fd = dup(r->bcast[i].fd);
            *ret_size = (uint64_t)lseek(r->bcast[i].fd, 0, SEEK_END);
            return NULL;
        }
    return err_new(ERR_INPUT, "it was destroyed");
}

/* ---- */

void
rig_file(struct rig *r, const char *name, const void *p, size_t n)
{
    int fd = memory();

    NO_ERR(file_write_full(fd, p, n, name));
    CU_ASSERT_FATAL(r->n_files < 8);
    r->file[r->n_files++] = (struct rig_file){ name, fd, n, strstr(name, ".x") != NULL };
}

void
rig_text(struct rig *r, const char *name, const char *text)
{
    rig_file(r, name, text, strlen(text));
}

int
rig_run(struct rig *r, int (*main)(td_job *, int, char **), void *arg)
{
    static const struct stream_codec *const streams[] = { &rig_codec, NULL };
    static const struct block_codec *const codecs[] = { NULL };
    struct flow_items it = items();
    char name[] = "job", *argv[] = { name, NULL };

    r->world = (struct flow_world){ .arg = r, .open_piece = open_piece, .open_output = open_output,
        .open_spill = open_spill, .open_runs = open_runs, .log = log_line, .die = die, .progress = progress,
        .open_broadcast = open_broadcast, .bcasts = &r->bcasts, .codecs = codecs, .streams = streams, .text = &lines };
    r->job = (struct job_world){ r, act, open_result, conf, conf_set, total, add, broadcast, unbroadcast, say };
    now = r;
    rig_arg = arg;
    job_run(&r->job, &r->world, &it, main, 1, argv, &r->status);
    buf_put(&r->log, "", 1);
    r->log.n--;
    buf_put(&r->said, "", 1);
    r->said.n--;
    return r->status;
}

char *
rig_saved(struct rig *r, uint32_t partition, size_t *ret_n)
{
    int fd = *slot_of(r, (uint32_t)r->result_stage, partition);
    size_t n = (size_t)lseek(fd, 0, SEEK_END);
    char *p = arena_alloc(&r->a, n + 1);

    NO_ERR(file_pread_full(fd, p, n, 0, "saved"));
    p[n] = 0;
    if (ret_n)
        *ret_n = n;
    return p;
}

char *
rig_saved_all(struct rig *r, size_t *ret_n)
{
    struct buf b = { 0 };
    uint32_t parts = 0;

    for (uint32_t i = 0; i < r->n_out; i++)
        if ((int)r->out[i].stage == r->result_stage)
            parts = r->out[i].n;
    for (uint32_t i = 0; i < parts; i++) {
        size_t n;
        const char *p = rig_saved(r, i, &n);

        buf_put(&b, p, n);
    }
    char *p = arena_memdup(&r->a, b.p, b.n);
    if (ret_n)
        *ret_n = b.n;
    buf_fini(&b);
    return p;
}

void
rig_fini(struct rig *r)
{
    for (uint32_t i = 0; i < r->n_out; i++) {
        for (uint32_t p = 0; p < r->out[i].n; p++)
            file_close(&r->out[i].fd[p]);
        free(r->out[i].fd);
        free(r->out[i].path);
    }
    for (uint32_t i = 0; i < r->n_files; i++)
        file_close(&r->file[i].fd);
    flow_bcasts_fini(&r->bcasts);
    for (uint32_t i = 0; i < r->n_bcast; i++)
        file_close(&r->bcast[i].fd);
    plan_ids_fini(&r->ids);
    buf_fini(&r->log);
    buf_fini(&r->said);
    arena_fini(&r->a);
}
