/* module_elf -- what the ELF headers of a module say; see module.h */
#include <stdio.h>
#include <string.h>

#include "flow/module_priv.h"

enum { FIRST_BYTES = 24, ENTRIES_MAX = 1 << 16, PHDRS_MAX = 128, NOTE_BUILD_ID = 3, NOTE_TASKD = 1 };

const char *
flow__base_name(const char *path)
{
    const char *s = strrchr(path, '/');

    return s && s[1] ? s + 1 : path;
}

struct err *
flow__elf_damaged(const char *name, const char *what)
{
    return err_hint(err_new(ERR_ABI, "%s is damaged: %s", name, what), "Build it again with taskd-cc.");
}

const void *
flow__elf_off(const struct module__elf *f, uint64_t off, uint64_t n)
{
    return off <= f->n && n <= f->n - off ? f->p + off : NULL;
}

Elf64_Phdr
flow__elf_phdr(const struct module__elf *f, unsigned i)
{
    Elf64_Phdr ph;

    memcpy(&ph, f->p + f->eh.e_phoff + (uint64_t)i * sizeof ph, sizeof ph);
    return ph;
}

const void *
flow__elf_addr(const struct module__elf *f, uint64_t addr, uint64_t n)
{
    for (unsigned i = 0; i < f->eh.e_phnum; i++) {
        Elf64_Phdr ph = flow__elf_phdr(f, i);
        uint64_t in = addr - ph.p_vaddr;

        if (ph.p_type == PT_LOAD && addr >= ph.p_vaddr && in <= ph.p_filesz && n <= ph.p_filesz - in)
            return in + ph.p_offset < in ? NULL : flow__elf_off(f, ph.p_offset + in, n);
    }
    return NULL;
}

const char *
flow__elf_str(const struct module__elf *f, uint64_t addr)
{
    const char *s = flow__elf_addr(f, addr, 1);

    return s && memchr(s, 0, f->n - (size_t)((const uint8_t *)s - f->p)) ? s : NULL;
}

/* The next dynamic entry from *i on; false behind the last. */
static bool
next_dyn(const struct module__elf *f, size_t *i, Elf64_Dyn *ret)
{
    if (*i >= f->ndyn)
        return false;
    memcpy(ret, f->dyn + *i * sizeof *ret, sizeof *ret);
    ++*i;
    return ret->d_tag != DT_NULL;
}

uint64_t
flow__elf_dyn(const struct module__elf *f, int64_t tag, bool *ret_has)
{
    Elf64_Dyn d;

    if (ret_has)
        *ret_has = false;
    for (size_t i = 0; next_dyn(f, &i, &d);)
        if (d.d_tag == tag) {
            if (ret_has)
                *ret_has = true;
            return d.d_un.d_val;
        }
    return 0;
}

/* "it begins with ..." of something that is no ELF file */
static struct err *
not_elf(const char *name, const uint8_t *p, size_t n)
{
    char s[4 * FIRST_BYTES + 1];
    size_t k = 0;

    for (size_t i = 0; i < n && i < FIRST_BYTES; i++)
        if (p[i] >= ' ' && p[i] < 127 && p[i] != '"' && p[i] != '\\')
            k += (size_t)snprintf(s + k, sizeof s - k, "%c", p[i]);
        else
            k += (size_t)snprintf(s + k, sizeof s - k, "\\x%02x", p[i]);
    struct err *e = n ? err_new(ERR_ABI, "%s is not a module: it begins with \"%s\"", name, s) :
                        err_new(ERR_ABI, "%s is not a module: it is empty", name);

    return err_hint(e, "A module is made by taskd-cc: taskd-cc job.c -o job.so");
}

static struct err *
check_ident(const struct module__elf *f)
{
    const unsigned char *id = f->eh.e_ident;

    if (id[EI_CLASS] != ELFCLASS64)
        return err_hint(err_new(ERR_ABI, "%s is a %s module, this taskd runs 64-bit ones", f->name,
                                id[EI_CLASS] == ELFCLASS32 ? "32-bit" : "strange"),
                        "Build it again with this taskd's taskd-cc.");
    if (id[EI_DATA] != ELFDATA2LSB)
        return err_hint(err_new(ERR_ABI, "%s has big-endian numbers, this taskd runs little-endian modules", f->name),
                        "Build it again with this taskd's taskd-cc.");
    if (f->eh.e_type != ET_DYN)
        return err_hint(err_new(ERR_ABI, "%s is %s, a module is a shared object", f->name,
                                f->eh.e_type == ET_REL    ? "an object file" :
                                f->eh.e_type == ET_EXEC   ? "a program" :
                                f->eh.e_type == ET_CORE   ? "a core dump" :
                                                            "an ELF file of an unknown type"),
                        "Link it with taskd-cc: taskd-cc job.c -o job.so");
    return NULL;
}

struct err *
flow__elf_open(const void *bytes, size_t n, const char *name, struct module__elf *ret)
{
    struct module__elf f = { .p = bytes, .n = n, .name = name };

    if (n < SELFMAG || memcmp(bytes, ELFMAG, SELFMAG))
        return not_elf(name, bytes, n);
    if (n < sizeof f.eh)
        return flow__elf_damaged(name, "it ends within the ELF header");
    memcpy(&f.eh, bytes, sizeof f.eh);
    TRY(check_ident(&f));
    if (f.eh.e_phentsize != sizeof(Elf64_Phdr) || f.eh.e_phnum == 0 || f.eh.e_phnum > PHDRS_MAX ||
        !flow__elf_off(&f, f.eh.e_phoff, (uint64_t)f.eh.e_phnum * sizeof(Elf64_Phdr)))
        return flow__elf_damaged(name, "its program headers are not in the file");
    for (unsigned i = 0; i < f.eh.e_phnum; i++) {
        Elf64_Phdr ph = flow__elf_phdr(&f, i);

        if (ph.p_type == PT_INTERP)
            return err_hint(err_new(ERR_ABI, "%s is a program, a module is a shared object", name),
                            "Link it with taskd-cc: taskd-cc job.c -o job.so");
        if (ph.p_type == PT_LOAD && !flow__elf_off(&f, ph.p_offset, ph.p_filesz))
            return flow__elf_damaged(name, "it ends before its last segment does");
        if (ph.p_type == PT_DYNAMIC) {
            f.dyn = flow__elf_addr(&f, ph.p_vaddr, ph.p_filesz);
            f.ndyn = f.dyn ? ph.p_filesz / sizeof(Elf64_Dyn) : 0;
        }
    }
    if (!f.dyn)
        return flow__elf_damaged(name, "it has no dynamic section");
    f.strsz = flow__elf_dyn(&f, DT_STRSZ, NULL);
    f.strtab = flow__elf_addr(&f, flow__elf_dyn(&f, DT_STRTAB, NULL), f.strsz);
    if (!f.strtab || f.strsz == 0 || f.strtab[f.strsz - 1])
        return flow__elf_damaged(name, "its string table is not in the file");
    *ret = f;
    return NULL;
}

static const char *
dyn_str(const struct module__elf *f, uint64_t at)
{
    return at < f->strsz ? f->strtab + at : NULL;
}

/* One PT_NOTE segment: the taskd note and the build-id. */
static void
read_notes(const char *p, uint64_t n, uint64_t align, struct module_info *m, bool *has_note)
{
    uint64_t mask = align == 8 ? 7 : 3;

    for (uint64_t i = 0; i <= n && n - i >= sizeof(Elf64_Nhdr);) {
        Elf64_Nhdr h;

        memcpy(&h, p + i, sizeof h);
        uint64_t name = i + sizeof h, desc = (name + h.n_namesz + mask) & ~mask;

        if (desc > n || h.n_descsz > n - desc)
            return;
        if (h.n_namesz == 6 && !memcmp(p + name, "taskd", 6) && h.n_type == NOTE_TASKD && h.n_descsz >= 4) {
            uint32_t d[4] = { 0 };

            memcpy(d, p + desc, h.n_descsz < sizeof d ? h.n_descsz & ~3u : sizeof d);
            m->abi = d[0], m->isa = d[1], m->flags = d[2], m->plugin_size = d[3];
            *has_note = true;
        } else if (h.n_namesz == 4 && !memcmp(p + name, "GNU", 4) && h.n_type == NOTE_BUILD_ID) {
            m->build_id = (const uint8_t *)p + desc;
            m->build_id_n = h.n_descsz;
        }
        i = (desc + h.n_descsz + mask) & ~mask;
    }
}

static struct err *
read_segments(const struct module__elf *f, struct module_info *m)
{
    bool has_note = false, has_stack = false;

    for (unsigned i = 0; i < f->eh.e_phnum; i++) {
        Elf64_Phdr ph = flow__elf_phdr(f, i);
        const char *p = ph.p_type == PT_NOTE ? flow__elf_off(f, ph.p_offset, ph.p_filesz) : NULL;

        if (p)
            read_notes(p, ph.p_filesz, ph.p_align, m, &has_note);
        if (ph.p_type == PT_GNU_STACK) {
            has_stack = true;
            m->exec_stack = ph.p_flags & PF_X;
        }
    }
    m->exec_stack |= !has_stack; /* what ld.so makes of a file that does not say */
    if (!has_note)
        return err_hint(err_new(ERR_ABI, "%s is a shared object, but not a module: it has no taskd note", f->name),
                        "A module includes <taskd.h> and ends with TD_PLUGIN(\"name\", \"version\", job);");
    return NULL;
}

/* Is a a higher "GLIBC_x.y" than b?  Names without numbers (GLIBC_PRIVATE) are lowest. */
static bool
glibc_above(const char *a, const char *b)
{
    unsigned a1 = 0, a2 = 0, b1 = 0, b2 = 0;

    if (!b)
        return true;
    sscanf(a, "GLIBC_%4u.%4u", &a1, &a2);
    sscanf(b, "GLIBC_%4u.%4u", &b1, &b2);
    return a1 != b1 ? a1 > b1 : a2 > b2;
}

/* The versions asked of one library: a chain of Vernaux at addr. */
static void
read_vernaux(const struct module__elf *f, uint64_t addr, unsigned count, struct module_need *need, size_t *left)
{
    Elf64_Vernaux v;

    for (; count && *left; count--, --*left) {
        const void *p = flow__elf_addr(f, addr, sizeof v);

        if (!p)
            return;
        memcpy(&v, p, sizeof v);
        const char *name = dyn_str(f, v.vna_name);

        if (name && !strncmp(name, "GLIBC_", 6) && glibc_above(name, need->glibc))
            need->glibc = name;
        if (!v.vna_next)
            return;
        addr += v.vna_next;
    }
}

static void
read_needs(const struct module__elf *f, struct arena *a, struct module_info *m)
{
    struct module_need *needs;
    size_t n = 0, left = ENTRIES_MAX;
    Elf64_Dyn d;

    for (size_t i = 0; next_dyn(f, &i, &d);)
        n += d.d_tag == DT_NEEDED && dyn_str(f, d.d_un.d_val) && n < ENTRIES_MAX;
    needs = ARENA_ARRAY(a, struct module_need, n);
    for (size_t i = 0; next_dyn(f, &i, &d) && m->nneeds < n;)
        if (d.d_tag == DT_NEEDED && dyn_str(f, d.d_un.d_val))
            needs[m->nneeds++].lib = dyn_str(f, d.d_un.d_val);
    m->needs = needs;
    uint64_t addr = flow__elf_dyn(f, DT_VERNEED, NULL), count = flow__elf_dyn(f, DT_VERNEEDNUM, NULL);

    for (; addr && count && left; count--, left--) {
        Elf64_Verneed v;
        const void *p = flow__elf_addr(f, addr, sizeof v);

        if (!p)
            return;
        memcpy(&v, p, sizeof v);
        const char *lib = dyn_str(f, v.vn_file);

        for (size_t i = 0; lib && i < n && left; i++, left--)
            if (!strcmp(needs[i].lib, lib)) {
                read_vernaux(f, addr + v.vn_aux, v.vn_cnt, &needs[i], &left);
                break;
            }
        if (!v.vn_next)
            return;
        addr += v.vn_next;
    }
}

/* How many dynamic symbols there are, by the hash table that ld.so uses. */
static uint64_t
count_symbols(const struct module__elf *f)
{
    uint32_t h[4], top = 0, x;
    uint64_t addr = flow__elf_dyn(f, DT_GNU_HASH, NULL);
    const void *p = addr ? flow__elf_addr(f, addr, sizeof h) : NULL;

    if (!p) {
        addr = flow__elf_dyn(f, DT_HASH, NULL);
        p = addr ? flow__elf_addr(f, addr, 8) : NULL;
        if (p)
            memcpy(h, p, 8);
        return p ? h[1] : 0;
    }
    memcpy(h, p, sizeof h); /* buckets, first symbol, words of the filter, shift */
    uint64_t buckets = addr + sizeof h + 8 * (uint64_t)h[2], chain = buckets + 4 * (uint64_t)h[0];
    const char *b = flow__elf_addr(f, buckets, 4 * (uint64_t)h[0]);

    for (uint32_t i = 0; b && i < h[0]; i++) {
        memcpy(&x, b + 4 * (uint64_t)i, 4);
        top = x > top ? x : top;
    }
    if (top < h[1])
        return h[1];
    for (;; top++) {
        p = flow__elf_addr(f, chain + 4 * ((uint64_t)top - h[1]), 4);
        if (!p)
            return top;
        memcpy(&x, p, 4);
        if (x & 1)
            return (uint64_t)top + 1;
    }
}

static void
read_exports(const struct module__elf *f, struct arena *a, struct module_info *m)
{
    uint64_t n = count_symbols(f), most = f->n / sizeof(Elf64_Sym);
    const char *p = NULL;
    size_t cap = 0;

    n = n < most ? n : most;
    if (n)
        p = flow__elf_addr(f, flow__elf_dyn(f, DT_SYMTAB, NULL), n * sizeof(Elf64_Sym));
    if (!p)
        return;
    for (int pass = 0; pass < 2; pass++) {
        const char **names = pass ? ARENA_ARRAY(a, const char *, cap) : NULL;

        for (uint64_t i = 1; i < n; i++) {
            Elf64_Sym s;

            memcpy(&s, p + i * sizeof s, sizeof s);
            const char *name = dyn_str(f, s.st_name);
            unsigned vis = s.st_other & 3;

            if (s.st_shndx == SHN_UNDEF || ELF64_ST_BIND(s.st_info) == STB_LOCAL || vis == STV_HIDDEN ||
                vis == STV_INTERNAL || !name)
                continue;
            if (!pass) {
                cap++;
                continue;
            }
            names[m->nexports++] = name;
            if (!strcmp(name, "td_plugin_v1"))
                m->plugin_at = s.st_value;
        }
        m->exports = names;
    }
}

static void
read_names(const struct module__elf *f, struct module_info *m)
{
    bool has;
    uint64_t at = flow__elf_dyn(f, DT_SONAME, &has);

    m->soname = has ? dyn_str(f, at) : NULL;
    at = flow__elf_dyn(f, DT_RUNPATH, &has);
    if (!has)
        at = flow__elf_dyn(f, DT_RPATH, &has);
    m->rpath = has ? dyn_str(f, at) : NULL;
}

struct err *
module_parse(const void *bytes, size_t n, const char *name, struct arena *a, struct module_info *ret)
{
    struct module_info m = { .bytes = bytes, .size = n };
    struct module__elf f;
    bool has;

    m.name = arena_strdup(a, flow__base_name(name));
    TRY(flow__elf_open(bytes, n, m.name, &f));
    m.machine = f.eh.e_machine;
    TRY(read_segments(&f, &m));
    read_needs(&f, a, &m);
    read_exports(&f, a, &m);
    read_names(&f, &m);
    flow__elf_dyn(&f, DT_TEXTREL, &has);
    m.text_rel = has || (flow__elf_dyn(&f, DT_FLAGS, NULL) & DF_TEXTREL);
    *ret = m;
    return NULL;
}

static const char *
keep(struct arena *a, const char *s)
{
    return s ? arena_strdup(a, s) : NULL;
}

struct err *
module_parse_library(const void *bytes, size_t n, const char *name, struct arena *a, struct module_info *ret)
{
    struct module_info m = { .name = arena_strdup(a, flow__base_name(name)) };
    struct module__elf f;
    struct err *e = flow__elf_open(bytes, n, m.name, &f);

    if (e) {
        err_free(e); /* it speaks of modules */
        return err_hint(err_new(ERR_ABI, "%s is not a 64-bit little-endian shared library", m.name),
                        "Libraries are made by cc -shared -fPIC.");
    }
    m.machine = f.eh.e_machine;
    read_needs(&f, a, &m);
    read_names(&f, &m);
    struct module_need *needs = ARENA_ARRAY(a, struct module_need, m.nneeds);
    for (size_t i = 0; i < m.nneeds; i++)
        needs[i] = (struct module_need){ keep(a, m.needs[i].lib), keep(a, m.needs[i].glibc) };
    m.needs = needs;
    m.soname = keep(a, m.soname);
    m.rpath = keep(a, m.rpath);
    *ret = m;
    return NULL;
}
