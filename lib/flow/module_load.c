/* module_load -- the runner's half of module.h */
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "flow/module_priv.h"

#define HINT_AGAIN "Build it again with this taskd's taskd-cc."

struct where {
    const void *inside; /* an address in the module */
    uintptr_t base, end;
};

/* dl_iterate_phdr: the object that holds w->inside. */
static int
find_image(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct where *w = arg;
    uintptr_t lo = UINTPTR_MAX, hi = 0;

    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

        if (ph->p_type != PT_LOAD)
            continue;
        uintptr_t at = info->dlpi_addr + ph->p_vaddr;

        lo = at < lo ? at : lo;
        hi = at + ph->p_memsz > hi ? at + ph->p_memsz : hi;
    }
    if ((uintptr_t)w->inside < lo || (uintptr_t)w->inside >= hi)
        return 0;
    w->base = lo & ~(uintptr_t)4095;
    w->end = hi;
    return 1;
}

/* n bytes from p on lie in the module. */
static bool
inside(const struct module_image *m, const void *p, size_t n)
{
    uintptr_t at = (uintptr_t)p - (uintptr_t)m->base;

    return (uintptr_t)p >= (uintptr_t)m->base && at <= m->size && n <= m->size - at;
}

static struct err *
differs(const char *name, const char *what, unsigned theirs, size_t ours)
{
    return err_hint(err_new(ERR_ABI, "%s was built with another taskd.h: its %s has %u bytes, this taskd's has %zu",
                            name, what, theirs, ours),
                    HINT_AGAIN);
}

static struct err *
check_plugin(const struct module_image *m)
{
    static const char magic[8] = TD_MAGIC_;
    const td_plugin *p = m->plugin;

    if (!inside(m, p, 24) || memcmp(p->magic, magic, sizeof magic))
        return err_hint(err_new(ERR_ABI, "%s has a td_plugin_v1 that TD_PLUGIN did not make", m->name), HINT_AGAIN);
    if (p->abi_major != TD_ABI_MAJOR || p->abi_minor != TD_ABI_MINOR)
        return err_hint(err_new(ERR_ABI, "%s was built for ABI %u.%u, this taskd has %u.%u", m->name, p->abi_major,
                                p->abi_minor, TD_ABI_MAJOR, TD_ABI_MINOR),
                        HINT_AGAIN);
    if (p->size != sizeof *p)
        return differs(m->name, "td_plugin", p->size, sizeof *p);
    const struct {
        const char *what;
        unsigned theirs;
        size_t ours;
    } sizes[] = {
        { "td_str", p->sz_str, sizeof(td_str) },    { "td_batch", p->sz_batch, sizeof(td_batch) },
        { "td_out", p->sz_out, sizeof(td_out) },    { "td_task", p->sz_task, sizeof(td_task) },
        { "td_fn", p->sz_fn, sizeof(td_fn) },       { "td_opts", p->sz_opts, sizeof(td_opts) },
    };

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].theirs != sizes[i].ours)
            return differs(m->name, sizes[i].what, sizes[i].theirs, sizes[i].ours);
    if (!p->main)
        return err_new(ERR_ABI, "%s has no job function in its TD_PLUGIN", m->name);
    return NULL;
}

static bool
type_ok(const td_type *t)
{
    return t && t->name && t->key >= TD_K_U64 && t->key <= TD_K_STR && t->val <= TD_K_STR;
}

/* What is wrong with one item; NULL: nothing. */
static const char *
item_fault(const struct module_image *m, const td_item *i)
{
    if (!inside(m, i, sizeof *i))
        return "lies outside the module";
    if (!i->name || !inside(m, i->name, 1) || !i->name[0])
        return "has no name";
    if (i->kind == TD_I_ACC) {
        const td_acc *acc = (const td_acc *)i;

        return i->size != sizeof *acc                     ? "has another size than a td_acc" :
               !inside(m, acc, sizeof *acc)               ? "lies outside the module" :
               acc->op < TD_A_SUM || acc->op > TD_A_FSUM  ? "is an accumulator of no known kind" :
                                                            NULL;
    }
    if (i->kind == TD_I_BROADCAST) {
        const td_bc *bc = (const td_bc *)i;

        return i->size != sizeof *bc       ? "has another size than a td_bc" :
               !inside(m, bc, sizeof *bc)  ? "lies outside the module" :
                                             NULL;
    }
    if (i->kind < TD_I_MAP || i->kind > TD_I_GROUP)
        return "is of no known kind";
    const td_fn *fn = (const td_fn *)i;

    if (i->size != sizeof *fn)
        return "has another size than a td_fn";
    if (!inside(m, fn, sizeof *fn))
        return "lies outside the module";
    if (!type_ok(fn->in) || !type_ok(fn->out))
        return "has no known type";
    if (i->kind == TD_I_FOLD ? !fn->fold : i->kind == TD_I_GROUP ? !fn->group : !fn->run)
        return "has no function";
    return NULL;
}

static struct err *
check_items(struct module_image *m)
{
    const td_plugin *p = m->plugin;
    uintptr_t lo = (uintptr_t)p->begin, hi = (uintptr_t)p->end;

    if (!lo && !hi)
        return NULL;
    if (lo > hi || (lo | hi) % sizeof *p->begin || !inside(m, p->begin, hi - lo) ||
        (hi - lo) / sizeof *p->begin > UINT16_MAX)
        return err_hint(err_new(ERR_ABI, "%s has an item table that is not within it", m->name), HINT_AGAIN);
    m->items = p->begin;
    m->nitems = (uint32_t)((hi - lo) / sizeof *p->begin);
    for (uint32_t i = 0; i < m->nitems; i++) {
        const char *fault = item_fault(m, m->items[i]);

        if (fault)
            return err_hint(err_new(ERR_ABI, "item %u of %s %s", i, m->name, fault), HINT_AGAIN);
    }
    return NULL;
}

/* What dlopen() says names the memfd; people know the module's name. */
static const char *
without_path(const char *text, const char *path)
{
    size_t n = strlen(path);

    return !strncmp(text, path, n) && !strncmp(text + n, ": ", 2) ? text + n + 2 : text;
}

struct err *
module_load_library(const char *path)
{
    if (dlopen(path, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE))
        return NULL;
    const char *why = dlerror();

    return err_new(ERR_ABI, "loading library %s: %s", flow__base_name(path), without_path(why ? why : "unknown reason", path));
}

struct err *
module_load(int fd, const char *name, struct module_image *ret)
{
    struct module_image m = { .name = flow__base_name(name) };
    char path[32];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

    if (!h) {
        const char *why = dlerror();

        return err_new(ERR_ABI, "loading %s: %s", m.name, without_path(why ? why : "unknown reason", path));
    }
    m.plugin = dlsym(h, "td_plugin_v1");
    if (!m.plugin)
        return err_hint(err_new(ERR_ABI, "%s does not export td_plugin_v1, the one symbol this taskd looks for",
                                m.name),
                        "Link it with taskd-cc, without a version script.");
    struct where w = { .inside = m.plugin };

    if (!dl_iterate_phdr(find_image, &w))
        return err_new(ERR_ABI, "%s exports a td_plugin_v1 that is not in any loaded file", m.name);
    m.base = (const void *)w.base;
    m.size = w.end - w.base;
    TRY(check_plugin(&m));
    TRY(check_items(&m));
    *ret = m;
    return NULL;
}

const td_item *
module_item(const struct module_image *m, uint32_t number, uint16_t kind)
{
    return number < m->nitems && m->items[number]->kind == kind ? m->items[number] : NULL;
}

uint32_t
module_item_number(const struct module_image *m, const td_item *item)
{
    for (uint32_t i = 0; i < m->nitems; i++)
        if (m->items[i] == item)
            return i;
    return UINT32_MAX;
}
