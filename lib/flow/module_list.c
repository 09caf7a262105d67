/*
 * module_list -- td_plugin_v1 and the item table, read from the file's bytes.
 *
 * All pointers of those structs are zero in the file; what they will be is in the relocations.  So a pointer at
 * an address is looked up there first, and a string is read at the address that it will have.
 */
#include <stdlib.h>
#include <string.h>

#include "flow/module_priv.h"

#if defined(__aarch64__)
enum { R_RELATIVE = R_AARCH64_RELATIVE, R_ABS64 = R_AARCH64_ABS64 };
#else
enum { R_RELATIVE = R_X86_64_RELATIVE, R_ABS64 = R_X86_64_64 };
#endif

struct reader {
    struct module__elf elf;
    Elf64_Rela *rela; /* sorted by address */
    size_t nrela;
    struct arena *a;
};

static int
by_offset(const void *a, const void *b)
{
    uint64_t x = ((const Elf64_Rela *)a)->r_offset, y = ((const Elf64_Rela *)b)->r_offset;

    return (x > y) - (x < y);
}

static void
read_relocations(struct reader *r)
{
    uint64_t n = flow__elf_dyn(&r->elf, DT_RELASZ, NULL) / sizeof(Elf64_Rela);
    const void *p = flow__elf_addr(&r->elf, flow__elf_dyn(&r->elf, DT_RELA, NULL), n * sizeof(Elf64_Rela));

    if (!p || !n)
        return;
    r->rela = ARENA_ARRAY(r->a, Elf64_Rela, n);
    r->nrela = n;
    memcpy(r->rela, p, n * sizeof *r->rela);
    qsort(r->rela, n, sizeof *r->rela, by_offset);
}

/* What a relocation puts in; 0: nothing that can be known from this file. */
static uint64_t
relocated(const struct reader *r, const Elf64_Rela *rela)
{
    Elf64_Sym s;

    if (ELF64_R_TYPE(rela->r_info) == R_RELATIVE)
        return (uint64_t)rela->r_addend;
    if (ELF64_R_TYPE(rela->r_info) != R_ABS64)
        return 0;
    uint64_t at = flow__elf_dyn(&r->elf, DT_SYMTAB, NULL) + ELF64_R_SYM(rela->r_info) * sizeof s;
    const void *p = flow__elf_addr(&r->elf, at, sizeof s);

    if (!p)
        return 0;
    memcpy(&s, p, sizeof s);
    return s.st_shndx == SHN_UNDEF ? 0 : s.st_value + (uint64_t)rela->r_addend;
}

/* The pointer at an address, as it will be once loaded (at base 0). */
static uint64_t
pointer_at(const struct reader *r, uint64_t addr)
{
    Elf64_Rela want = { .r_offset = addr };
    const Elf64_Rela *rela = r->nrela ? bsearch(&want, r->rela, r->nrela, sizeof want, by_offset) : NULL;
    uint64_t raw = 0;

    if (rela)
        return relocated(r, rela);
    const void *p = flow__elf_addr(&r->elf, addr, sizeof raw);

    if (p)
        memcpy(&raw, p, sizeof raw);
    return raw;
}

/* The string that the pointer at addr points to; "" when there is none. */
static const char *
string_at(const struct reader *r, uint64_t addr)
{
    uint64_t at = pointer_at(r, addr);
    const char *s = at ? flow__elf_str(&r->elf, at) : NULL;

    return s ? s : "";
}

static const char *
type_name_at(const struct reader *r, uint64_t addr)
{
    uint64_t type = pointer_at(r, addr);

    return type ? string_at(r, type + offsetof(td_type, name)) : "";
}

static void
read_item(const struct reader *r, uint64_t addr, uint32_t number, struct module_item *ret)
{
    td_item i;
    const void *p = flow__elf_addr(&r->elf, addr, sizeof i);

    *ret = (struct module_item){ .number = number, .name = "", .file = "" };
    if (!p)
        return;
    memcpy(&i, p, sizeof i);
    ret->kind = i.kind;
    ret->flags = i.flags;
    ret->line = i.line;
    ret->name = string_at(r, addr + offsetof(td_item, name));
    ret->file = string_at(r, addr + offsetof(td_item, file));
    if (i.kind != TD_I_ACC && i.kind != TD_I_BROADCAST) {
        ret->in = type_name_at(r, addr + offsetof(td_fn, in));
        ret->out = type_name_at(r, addr + offsetof(td_fn, out));
    } else if (i.kind == TD_I_ACC && (p = flow__elf_addr(&r->elf, addr + offsetof(td_acc, op), sizeof ret->op))) {
        memcpy(&ret->op, p, sizeof ret->op);
    }
}

struct err *
module_list(const struct module_info *m, struct arena *a, struct module_list *ret)
{
    static const char magic[8] = TD_MAGIC_;
    struct reader r = { .a = a };
    struct module_list list = { 0 };
    td_plugin plugin;

    TRY(flow__elf_open(m->bytes, m->size, m->name, &r.elf));
    if (m->abi != (TD_ABI_MAJOR << 16 | TD_ABI_MINOR) || m->plugin_size != sizeof plugin)
        return err_new(ERR_ABI, "%s was built for ABI %u.%u, this taskd can list the items of %u.%u", m->name,
                       m->abi >> 16, m->abi & 0xffff, TD_ABI_MAJOR, TD_ABI_MINOR);
    const void *p = m->plugin_at ? flow__elf_addr(&r.elf, m->plugin_at, sizeof plugin) : NULL;

    if (!p || memcmp(p, magic, sizeof magic))
        return flow__elf_damaged(m->name, "there is no td_plugin_v1 in it");
    read_relocations(&r);
    list.name = string_at(&r, m->plugin_at + offsetof(td_plugin, name));
    list.version = string_at(&r, m->plugin_at + offsetof(td_plugin, version));
    list.compiler = string_at(&r, m->plugin_at + offsetof(td_plugin, compiler));
    uint64_t begin = pointer_at(&r, m->plugin_at + offsetof(td_plugin, begin));
    uint64_t end = pointer_at(&r, m->plugin_at + offsetof(td_plugin, end));

    if (end < begin || (end - begin) % 8 || (end - begin) / 8 > UINT16_MAX ||
        (end > begin && !flow__elf_addr(&r.elf, begin, end - begin)))
        return flow__elf_damaged(m->name, "its item table is not in the file");
    list.nitems = (uint32_t)((end - begin) / 8);
    struct module_item *items = ARENA_ARRAY(a, struct module_item, list.nitems);

    for (uint32_t i = 0; i < list.nitems; i++)
        read_item(&r, pointer_at(&r, begin + 8 * (uint64_t)i), i, &items[i]);
    list.items = items;
    *ret = list;
    return NULL;
}

const char *
module_kind_name(uint16_t kind, uint32_t op)
{
    static const char *const fns[] = { [TD_I_MAP] = "map", [TD_I_FILTER] = "filter", [TD_I_FOLD] = "reduce",
                                       [TD_I_GROUP] = "group" };
    static const char *const accs[] = { [TD_A_SUM] = "counter", [TD_A_MAX] = "maximum", [TD_A_MIN] = "minimum",
                                        [TD_A_FSUM] = "fsum" };

    if (kind == TD_I_ACC)
        return op >= TD_A_SUM && op <= TD_A_FSUM ? accs[op] : "accumulator";
    if (kind == TD_I_BROADCAST)
        return "broadcast";
    return kind >= TD_I_MAP && kind <= TD_I_GROUP ? fns[kind] : "unknown";
}
