/* broadcast -- the values of broadcasts in this process: bytes mapped from the host's one copy, and what the author's
 * build made of them; once, when a function first asks. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "flow_priv.h"

enum { PAGE = 4096, PAD = 64, TMP_BYTES = 16 << 10, UNDO_ROOM = 16 };

struct flow_bcast {
    uint32_t id;
    const td_bc *bc;
    void *map; /* the bytes and at least PAD behind them */
    size_t mapped;
    td_str bytes;
    void *made;       /* NULL: tasks get &bytes, or it is being made */
    bool building;
    struct arena a;   /* td_alloc of the build */
};

/* The td_task of a build: there is no record, and no attempt that it belongs to. */
struct build {
    td_task t; /* first */
    const struct flow_run *run;
    const struct plan_node *node;
    struct flow_bcast *b;
    struct arena tmp;
    struct err *err; /* the first sentence counts */
};

static const char *
base_name(const char *path)
{
    const char *s = strrchr(path, '/');

    return s ? s + 1 : path;
}

/* ---- files that went along */

struct err *
flow__file(const struct flow_world *w, const char *name, struct arena *a, const char **ret)
{
    bool odd = !name || !name[0] || name[0] == '/' || strstr(name, "..");

    *ret = arena_printf(a, "%s/%s", w->files ? w->files : "", odd ? "" : name);
    if (!odd && w->files && access(*ret, R_OK) == 0)
        return NULL;
    return err_hint(err_new(ERR_INPUT, "no file \"%s\" went along with the module", name ? name : ""),
                    "Name it at submission: --files PATH, or --files PATH#NAME.");
}

/* ---- calls of an author's build into the host */

static void *
host_alloc(td_task *t, size_t n, int keep)
{
    struct build *u = (struct build *)t;

    return arena_zalloc(keep ? &u->b->a : &u->tmp, n);
}

static void
host_undo_full(td_task *t)
{
    t->undo_n = 0; /* nothing is taken back */
}

static void
host_bad(td_task *t, int fatal, const char *file, int line, const char *fmt, va_list ap)
{
    struct build *u = (struct build *)t;

    t->bad = 2;
    if (!u->err)
        u->err = err_wrap_take(err_newv(ERR_USER, fmt, ap), "failed at %s:%d", base_name(file), line);
    (void)fatal;
}

static void
host_log(td_task *t, td_job *j, int level, const char *file, int line, const char *fmt, va_list ap)
{
    const struct flow_world *w = ((struct build *)t)->run->w;
    char text[2048];

    vsnprintf(text, sizeof text, fmt, ap);
    w->log(w->arg, level, file, line, text);
    (void)j;
}

/* As in a function: a build does not look for NULL. */
static const void *
host_get(td_task *t, uint32_t item)
{
    struct build *u = (struct build *)t;
    const void *p = NULL;
    struct err *e = flow__bcast(u->run, u->node, item, &p);

    if (e)
        u->run->w->die(u->run->w->arg, err_wrap_take(e, "td_get in the build of broadcast \"%s\"", u->b->bc->i.name));
    t->slot[item].p = p;
    return p;
}

static const char *
host_path(td_task *t, td_job *j, const char *name, const char *file, int line)
{
    struct build *u = (struct build *)t;
    const char *path;
    struct err *e = flow__file(u->run->w, name, &u->b->a, &path);

    if (e)
        u->run->w->die(u->run->w->arg, err_wrap_take(e, "td_file in the build of broadcast \"%s\" at %s:%d",
                                                     u->b->bc->i.name, base_name(file), line));
    return path;
}

static const td_host build_host = {
    .size = sizeof(td_host), .abi_major = TD_ABI_MAJOR, .abi_minor = TD_ABI_MINOR,
    .alloc = host_alloc, .undo_full = host_undo_full, .bad = host_bad, .log = host_log, .get = host_get, .path = host_path,
};

/* ---- building */

static void
slots_init(const struct flow_items *items, td_slot_ *slot)
{
    for (uint32_t i = 0; i < items->n; i++)
        if (items->item[i]->kind == TD_I_ACC)
            slot[i] = flow_delta_zero(((const td_acc *)(const void *)items->item[i])->op);
}

/* A build runs once a process: what it counts would depend on how many there are. */
static struct err *
check_slots(const struct flow_items *items, const td_slot_ *slot)
{
    for (uint32_t i = 0; i < items->n; i++)
        if (items->item[i]->kind == TD_I_ACC &&
            slot[i].i != flow_delta_zero(((const td_acc *)(const void *)items->item[i])->op).i)
            return err_new(ERR_INPUT, "adds to the accumulator \"%s\", which a build can't", items->item[i]->name);
    return NULL;
}

static struct err *
build(const struct flow_run *r, const struct plan_node *node, struct flow_bcast *b)
{
    struct build u = { .run = r, .node = node, .b = b };
    const char *outer = r->w->bcasts->building;

    u.t.h = &build_host;
    u.t.undo_cap = UNDO_ROOM;
    u.t.undo = ARENA_ARRAY(&u.tmp, td_undo_, UNDO_ROOM);
    u.t.tmp = arena_alloc(&u.tmp, TMP_BYTES);
    u.t.tmp_end = u.t.tmp + TMP_BYTES;
    u.t.slot = ARENA_ARRAY(&u.tmp, td_slot_, r->items->n);
    slots_init(r->items, u.t.slot);
    r->w->bcasts->building = b->bc->i.name;
    b->building = true;
    b->made = b->bc->build(&u.t, b->bytes);
    b->building = false;
    r->w->bcasts->building = outer;
    if (!u.err && !b->made)
        u.err = err_new(ERR_USER, "returned NULL");
    if (!u.err)
        u.err = check_slots(r->items, u.t.slot);
    arena_fini(&u.tmp);
    return u.err;
}

/* ---- bytes */

/* Strings have readable bytes behind them: an anonymous mapping that the file's covers all but the end of. */
static struct err *
map(struct flow_bcast *b, int fd, uint64_t size)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_errno(errno, "looking at its bytes");
    if ((uint64_t)st.st_size != size)
        return err_new(ERR_CORRUPT, "its copy here has %llu bytes instead of %llu", (unsigned long long)st.st_size,
                       (unsigned long long)size);
    b->mapped = (size + PAD + PAGE - 1) & ~(size_t)(PAGE - 1);
    void *p = mmap(NULL, b->mapped, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return err_errno(errno, "making room for its %llu bytes", (unsigned long long)size);
    b->map = p;
    if (size && mmap(p, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
        return err_errno(errno, "mapping its %llu bytes", (unsigned long long)size);
    b->bytes = (td_str){ p, size };
    return NULL;
}

static void
bcast_free(struct flow_bcast *b)
{
    if (b->map)
        munmap(b->map, b->mapped);
    arena_fini(&b->a);
    free(b);
}

void
flow_bcast_drop(struct flow_bcasts *t, uint32_t id)
{
    for (uint32_t i = 0; i < t->n; i++) {
        struct flow_bcast *b = t->v[i];

        if (b->id != id)
            continue;
        t->v[i] = t->v[--t->n];
        if (b->made && b->bc->drop)
            b->bc->drop(b->made);
        bcast_free(b);
        return;
    }
}

void
flow_bcasts_fini(struct flow_bcasts *t)
{
    while (t->n)
        flow_bcast_drop(t, t->v[0]->id);
    free(t->v);
    *t = (struct flow_bcasts){ 0 };
}

/* ---- which value */

static struct err *
value_of(const struct plan_node *node, uint32_t item, const td_bc *bc, uint32_t *ret_id)
{
    for (uint32_t i = 0; i < node->n_bcast; i++) {
        if (node->bcast[i].item != item)
            continue;
        if (node->bcast[i].id == 0)
            return err_new(ERR_INPUT, "broadcast \"%s\" (%s:%u) was destroyed before this dataset was made", bc->i.name,
                           base_name(bc->i.file), bc->i.line);
        *ret_id = node->bcast[i].id;
        return NULL;
    }
    return err_hint(err_new(ERR_INPUT, "broadcast \"%s\" (%s:%u) had no value when this dataset was made", bc->i.name,
                            base_name(bc->i.file), bc->i.line),
                    "Call td_broadcast or td_broadcast_file before the datasets whose functions use it.");
}

static struct err *
open_value(const struct flow_run *r, const struct plan_node *node, struct flow_bcast *b)
{
    const td_item *i = &b->bc->i;
    uint64_t size;
    int fd = -1;

    struct err *e = r->w->open_broadcast(r->w->arg, b->id, &fd, &size);
    if (!e)
        e = map(b, fd, size);
    file_close(&fd);
    if (e)
        return err_wrap_take(e, "broadcast \"%s\" (%s:%u)", i->name, base_name(i->file), i->line);
    if (b->bc->build)
        TRY_OR(build(r, node, b), "the build of broadcast \"%s\" (%s:%u)", i->name, base_name(i->file), i->line);
    return NULL;
}

struct err *
flow__bcast(const struct flow_run *r, const struct plan_node *node, uint32_t item, const void **ret)
{
    struct flow_bcasts *t = r->w->bcasts;
    const td_bc *bc = (const td_bc *)(const void *)r->items->item[item];
    struct flow_bcast *b = NULL;
    uint32_t id = 0;

    TRY(value_of(node, item, bc, &id));
    for (uint32_t i = 0; i < t->n && !b; i++)
        if (t->v[i]->id == id)
            b = t->v[i];
    if (b && b->building)
        return err_new(ERR_INPUT, "the build of broadcast \"%s\" (%s:%u) needs itself", bc->i.name, base_name(bc->i.file),
                       bc->i.line);
    if (!b) {
        b = calloc(1, sizeof *b);
        if (t->n == t->cap) {
            t->cap = t->cap ? t->cap * 2 : 8;
            t->v = realloc(t->v, t->cap * sizeof *t->v);
        }
        if (!b || !t->v)
            abort();
        b->id = id;
        b->bc = bc;
        t->v[t->n++] = b;
        struct err *e = open_value(r, node, b);
        if (e) { /* its neighbours may have come and gone meanwhile */
            b->made = NULL;
            flow_bcast_drop(t, id);
            return e;
        }
    }
    *ret = bc->build ? b->made : &b->bytes;
    return NULL;
}
