/* Tests of lib/flow/module*: real modules as they are, and with one field broken at a time. */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "flow/module.h"
#include "unit.h"

static struct arena A;

static const char *
built(const char *name)
{
    const char *top = getenv("top_builddir");

    return arena_printf(&A, "%s/tests/modules/%s", top ? top : ".", name);
}

/* The bytes of a built module, to be broken. */
static struct buf
bytes_of(const char *name)
{
    struct buf b = { 0 };

    NO_ERR(file_slurp(built(name), 1 << 26, &b));
    CU_ASSERT_FATAL(b.n > sizeof(Elf64_Ehdr));
    return b;
}

static struct err *
check(const struct buf *b, const struct module_profile *p)
{
    struct module_info m;

    TRY(module_parse(b->p, b->n, "some/where/x.so", &A, &m));
    return module_check(&m, p);
}

static struct module_profile
host(void)
{
    struct module_profile p;

    module_profile_host(&p);
    return p;
}

static void
a_module_is_what_it_was_built_as(void)
{
    struct module m;
    struct module_profile p = host();
    bool libc = false, plugin = false;

    NO_ERR(module_read(built("every.so"), &A, &m));
    EQ_STR(m.info.name, "every.so");
    EQ_U64(m.info.abi, TD_ABI_MAJOR << 16 | TD_ABI_MINOR);
    EQ_U64(m.info.isa, 3);
    EQ_U64(m.info.flags, TD_ASAN_ ? MODULE_ASAN : 0);
    EQ_U64(m.info.plugin_size, sizeof(td_plugin));
    EQ_U64(m.info.build_id_n, 20);
    CU_ASSERT(!m.info.exec_stack && !m.info.rpath && !m.info.text_rel);
    for (size_t i = 0; i < m.info.nneeds; i++)
        libc |= !strcmp(m.info.needs[i].lib, "libc.so.6") && !strncmp(m.info.needs[i].glibc, "GLIBC_2.", 8);
    for (size_t i = 0; i < m.info.nexports; i++)
        plugin |= !strcmp(m.info.exports[i], "td_plugin_v1");
    CU_ASSERT(libc && plugin);
    CU_ASSERT(TD_ASAN_ || m.info.nexports == 1);
    NO_ERR(module_check(&m.info, &p));
    module_fini(&m);
    arena_fini(&A);
}

static void
bytes_are_sealed_and_digested(void)
{
    struct buf b = { 0 };
    struct module m;
    char cmd[4200], hex[65] = "";
    const char *path = built("none.so");

    NO_ERR(module_read(path, &A, &m));
    NO_ERR(file_slurp(path, 1 << 26, &b));
    EQ_U64(m.info.size, b.n);
    CU_ASSERT(!memcmp(m.info.bytes, b.p, b.n));
    EQ_U64(fcntl(m.fd, F_GET_SEALS), F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    CU_ASSERT(pwrite(m.fd, "x", 1, 0) < 0 && ftruncate(m.fd, 0) < 0);
    snprintf(cmd, sizeof cmd, "sha256sum '%s'", path);
    FILE *f = popen(cmd, "r");

    CU_ASSERT(f && fread(hex, 1, 64, f) == 64);
    pclose(f);
    EQ_STR(m.sha256_hex, hex);
    module_fini(&m);
    buf_fini(&b);
    arena_fini(&A);
}

static struct err *
read_only(const char *path)
{
    struct module m;
    struct err *e = module_read(path, &A, &m);

    if (!e)
        module_fini(&m);
    return e;
}

static void
what_is_no_module_is_told_so(void)
{
    char path[] = "/tmp/taskd-test-XXXXXX";
    int fd = mkstemp(path);

    IS_ERR(read_only("/nowhere/x.so"), ERR_ABI, "opening \"/nowhere/x.so\": No such file or directory");
    IS_ERR(read_only("/tmp"), ERR_ABI, "tmp is not a module: it is a directory");
    IS_ERR(read_only("/dev/null"), ERR_ABI, "null is not a module: it is not a file");
    IS_ERR(read_only(path), ERR_ABI, "is not a module: it is empty");
    NO_ERR(file_write_full(fd, "\001Lorem \"ipsum\" dolor sit amet", 29, path));
    IS_ERR(read_only(path), ERR_ABI, "is not a module: it begins with \"\\x01Lorem \\x22ipsum\\x22 dolor sit\"");
    IS_ERR(read_only("/proc/self/exe"), ERR_ABI, "exe is a program, a module is a shared object");
    IS_ERR(read_only(built("plain.so")), ERR_ABI, "plain.so is a shared object, but not a module: it has no taskd note");
    close(fd);
    unlink(path);
    arena_fini(&A);
}

/* Where the bytes of needle are in b. */
static char *
find(const struct buf *b, const void *needle, size_t n)
{
    char *p = memmem(b->p, b->n, needle, n);

    CU_ASSERT_FATAL(p != NULL);
    return p;
}

static Elf64_Phdr *
segment(const struct buf *b, uint32_t type)
{
    Elf64_Ehdr *eh = (Elf64_Ehdr *)b->p;
    Elf64_Phdr *ph = (Elf64_Phdr *)(b->p + eh->e_phoff);

    for (int i = 0; i < eh->e_phnum; i++)
        if (ph[i].p_type == type)
            return &ph[i];
    CU_FAIL_FATAL("no such segment");
    return NULL;
}

static Elf64_Dyn *
dynamic(const struct buf *b, int64_t tag)
{
    Elf64_Dyn *d = (Elf64_Dyn *)(b->p + segment(b, PT_DYNAMIC)->p_offset);

    while (d->d_tag != tag && d->d_tag != DT_NULL)
        d++;
    CU_ASSERT_FATAL(d->d_tag == tag);
    return d;
}

static uint32_t *
note(const struct buf *b)
{
    return (uint32_t *)(find(b, "taskd\0\0\0", 8) + 8);
}

/* One change, and the sentence that it must give. */
static void
broken(void (*how)(struct buf *), const char *sentence)
{
    struct module_profile p = host();
    struct buf b = bytes_of("every.so");

    p.asan = true;
    how(&b);
    IS_ERR(check(&b, &p), ERR_ABI, sentence);
    buf_fini(&b);
    arena_fini(&A);
}

#define EH ((Elf64_Ehdr *)b->p)
static void no_magic(struct buf *b) { b->p[1] = 'e'; }
static void cut_header(struct buf *b) { b->n = 40; }
static void class32(struct buf *b) { EH->e_ident[EI_CLASS] = ELFCLASS32; }
static void class9(struct buf *b) { EH->e_ident[EI_CLASS] = 9; }
static void big_endian(struct buf *b) { EH->e_ident[EI_DATA] = ELFDATA2MSB; }
static void object(struct buf *b) { EH->e_type = ET_REL; }
static void program(struct buf *b) { EH->e_type = ET_EXEC; }
static void strange_type(struct buf *b) { EH->e_type = 77; }
static void other_machine(struct buf *b) { EH->e_machine = EM_RISCV; }
static void unknown_machine(struct buf *b) { EH->e_machine = 999; }
static void phdrs_away(struct buf *b) { EH->e_phoff = UINT64_MAX - 8; }
static void no_phdrs(struct buf *b) { EH->e_phnum = 0; }
static void many_phdrs(struct buf *b) { EH->e_phnum = 60000; }
static void odd_phdrs(struct buf *b) { EH->e_phentsize = 32; }
static void cut_data(struct buf *b) { b->n = segment(b, PT_DYNAMIC)->p_offset + 16; }
static void no_dynamic(struct buf *b) { segment(b, PT_DYNAMIC)->p_type = PT_NULL; }
static void strings_away(struct buf *b) { dynamic(b, DT_STRTAB)->d_un.d_val = 1ull << 40; }
static void strings_long(struct buf *b) { dynamic(b, DT_STRSZ)->d_un.d_val = UINT64_MAX; }
static void newer_abi(struct buf *b) { note(b)[0] = TD_ABI_MAJOR << 16 | (TD_ABI_MINOR + 1); }
static void major_abi(struct buf *b) { note(b)[0] = 7 << 16; }
static void isa9(struct buf *b) { note(b)[1] = 9; }
static void odd_flags(struct buf *b) { note(b)[2] = 64; }
static void other_plugin(struct buf *b) { note(b)[3] = 12; }
static void no_note(struct buf *b) { find(b, "taskd\0\0\0", 8)[0] = 'T'; }
static void stack(struct buf *b) { segment(b, PT_GNU_STACK)->p_flags |= PF_X; }
static void no_stack(struct buf *b) { segment(b, PT_GNU_STACK)->p_type = PT_NULL; }
static void runpath(struct buf *b) { dynamic(b, DT_RELACOUNT)->d_tag = DT_RUNPATH; }
static void textrel(struct buf *b) { dynamic(b, DT_RELACOUNT)->d_tag = DT_TEXTREL; }
static void renamed(struct buf *b) { find(b, "td_plugin_v1", 13)[11] = '2'; }

static void
each_broken_field_has_its_sentence(void)
{
    char mine[64], sentence[200];

    broken(no_magic, "x.so is not a module: it begins with \"\\x7feLF");
    broken(cut_header, "x.so is damaged: it ends within the ELF header");
    broken(class32, "x.so is a 32-bit module, this taskd runs 64-bit ones");
    broken(class9, "x.so is a strange module, this taskd runs 64-bit ones");
    broken(big_endian, "x.so has big-endian numbers, this taskd runs little-endian modules");
    broken(object, "x.so is an object file, a module is a shared object");
    broken(program, "x.so is a program, a module is a shared object");
    broken(strange_type, "x.so is an ELF file of an unknown type, a module is a shared object");
    broken(other_machine, "x.so was built for riscv, this machine is ");
    broken(unknown_machine, "x.so was built for machine 999, this machine is ");
    broken(phdrs_away, "x.so is damaged: its program headers are not in the file");
    broken(no_phdrs, "x.so is damaged: its program headers are not in the file");
    broken(many_phdrs, "x.so is damaged: its program headers are not in the file");
    broken(odd_phdrs, "x.so is damaged: its program headers are not in the file");
    broken(cut_data, "x.so is damaged: it ends before its last segment does");
    broken(no_dynamic, "x.so is damaged: it has no dynamic section");
    broken(strings_away, "x.so is damaged: its string table is not in the file");
    broken(strings_long, "x.so is damaged: its string table is not in the file");
    snprintf(mine, sizeof mine, "this taskd has %d.%d", TD_ABI_MAJOR, TD_ABI_MINOR);
    snprintf(sentence, sizeof sentence, "x.so was built for ABI %d.%d, %s\nhint: Build it again with this taskd's taskd-cc.",
             TD_ABI_MAJOR, TD_ABI_MINOR + 1, mine);
    broken(newer_abi, sentence);
    snprintf(sentence, sizeof sentence, "x.so was built for ABI 7.0, %s", mine);
    broken(major_abi, sentence);
    broken(isa9, "x.so was built for x86-64-v9, this CPU is x86-64-v");
    broken(odd_flags, "x.so has the flags 0x40, this taskd knows 0x3");
    broken(other_plugin, ": its td_plugin has 12 bytes, this taskd's has ");
    broken(no_note, "x.so is a shared object, but not a module: it has no taskd note");
    broken(stack, "x.so wants an executable stack, this taskd gives none");
    broken(no_stack, "x.so wants an executable stack, this taskd gives none");
    broken(runpath, "x.so has the library path \"");
    broken(textrel, "x.so writes into its own code when it is loaded");
    broken(renamed, "x.so does not export td_plugin_v1, the one symbol");
}

static bool
has_none(void *arg, const char *soname)
{
    return false;
}

static void
both_sides_of_a_mismatch_are_named(void)
{
    struct buf b = bytes_of("none.so"), every = bytes_of("every.so");
    struct module_profile p = host();

    p.isa = 2;
    IS_ERR(check(&b, &p), ERR_ABI, "x.so was built for x86-64-v3, this CPU is x86-64-v2\nhint: Build it again with "
                                   "taskd-cc --isa v2.");
    p = host();
    p.glibc_minor = 1;
    IS_ERR(check(&every, &p), ERR_ABI, "x.so needs GLIBC_2.");
    IS_ERR(check(&every, &p), ERR_ABI, "(for libc.so.6), this machine has 2.1");
    p = host();
    p.has_library = has_none;
    IS_ERR(check(&every, &p), ERR_ABI, ", this machine does not have it");
    p = host();
    CU_ASSERT(p.has_library(p.arg, "libc.so.6"));
    CU_ASSERT(!p.has_library(p.arg, "libc.so.66"));
    CU_ASSERT(!p.has_library(p.arg, "libwhatever.so.1"));
    note(&b)[2] = MODULE_ASAN;
    p.asan = false;
    IS_ERR(check(&b, &p), ERR_ABI, "x.so was built with AddressSanitizer, this taskd was not\nhint: Build taskd with "
                                   "./configure --enable-asan, or the module without --asan.");
    buf_fini(&b);
    buf_fini(&every);
    arena_fini(&A);
}

static const struct module_item *
item(const struct module_list *l, const char *name)
{
    for (uint32_t i = 0; i < l->nitems; i++)
        if (!strcmp(l->items[i].name, name))
            return &l->items[i];
    CU_FAIL_FATAL("no such item");
    return NULL;
}

static void
items_are_listed_without_loading(void)
{
    struct module m;
    struct module_list l;
    const struct {
        const char *name, *kind, *in, *out;
        unsigned flags;
    } want[] = {
        { "words", "map", "str", "str_i64", 0 },        { "length", "map", "str", "u64", 0 },
        { "solid", "filter", "str", "str", 0 },         { "larger", "reduce", "i64", "i64", 0 },
        { "first", "group", "str_i64", "str_i64", 0 },  { "columns", "map", "str", "u64", TD_F_BATCH },
        { "text", "map", "str", "u64", TD_F_TEXT },     { "seen", "counter", NULL, NULL, 0 },
        { "longest", "maximum", NULL, NULL, 0 },        { "shortest", "minimum", NULL, NULL, 0 },
        { "weight", "fsum", NULL, NULL, 0 },            { "table", "broadcast", NULL, NULL, 0 },
    };

    NO_ERR(module_read(built("every.so"), &A, &m));
    NO_ERR(module_list(&m.info, &A, &l));
    EQ_STR(l.name, "every");
    EQ_STR(l.version, "2.5");
    CU_ASSERT(l.compiler[0] != 0);
    EQ_U64(l.nitems, sizeof want / sizeof *want);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const struct module_item *it = item(&l, want[i].name);

        EQ_STR(module_kind_name(it->kind, it->op), want[i].kind);
        EQ_U64(it->flags, want[i].flags);
        CU_ASSERT(!it->in == !want[i].in);
        if (it->in && want[i].in) {
            EQ_STR(it->in, want[i].in);
            EQ_STR(it->out, want[i].out);
        }
        CU_ASSERT(strstr(it->file, "every.c") != NULL && it->line > 3);
    }
    module_fini(&m);
    NO_ERR(module_read(built("none.so"), &A, &m));
    NO_ERR(module_list(&m.info, &A, &l));
    EQ_U64(l.nitems, 0);
    module_fini(&m);
    arena_fini(&A);
}

static void
verified_bytes_are_loaded(void)
{
    struct module m, none;
    struct module_image im, im2;
    struct module_list l;

    NO_ERR(module_read(built("every.so"), &A, &m));
    NO_ERR(module_read(built("none.so"), &A, &none));
    NO_ERR(module_list(&m.info, &A, &l));
    NO_ERR(module_load(m.fd, "dir/every.so", &im));
    NO_ERR(module_load(none.fd, "none.so", &im2));
    EQ_STR(im.name, "every.so");
    EQ_STR(im.plugin->name, "every");
    EQ_U64(im.nitems, l.nitems);
    EQ_U64(im2.nitems, 0);
    CU_ASSERT((const char *)im.plugin > (const char *)im.base && (const char *)im.plugin < (const char *)im.base + im.size);
    EQ_U64((const char *)im.plugin - (const char *)im.base, m.info.plugin_at);
    for (uint32_t i = 0; i < im.nitems; i++) {
        EQ_STR(im.items[i]->name, l.items[i].name);
        EQ_U64(im.items[i]->line, l.items[i].line);
        EQ_U64(module_item_number(&im, im.items[i]), i);
        CU_ASSERT_PTR_EQUAL(module_item(&im, i, l.items[i].kind), im.items[i]);
        CU_ASSERT_PTR_NULL(module_item(&im, i, 77));
    }
    CU_ASSERT_PTR_NULL(module_item(&im, im.nitems, TD_I_MAP));
    EQ_U64(module_item_number(&im, (const td_item *)&im), UINT32_MAX);
    module_fini(&m);
    module_fini(&none);
    arena_fini(&A);
}

/* ld.so knows files by name, so a number that was used is not used again. */
static struct err *
load_broken(const struct buf *b)
{
    static int next = 100;
    struct module_image im;
    int memfd = memfd_create("broken", MFD_CLOEXEC), fd = fcntl(memfd, F_DUPFD_CLOEXEC, next);

    next = fd + 1;
    NO_ERR(file_write_full(memfd, b->p, b->n, "broken"));
    close(memfd);
    struct err *e = module_load(fd, "x.so", &im);

    close(fd);
    return e;
}

/* Where a td_plugin begins in the file. */
static td_plugin *
plugin_in(const struct buf *b)
{
    static const char magic[8] = TD_MAGIC_;

    return (td_plugin *)find(b, magic, sizeof magic);
}

static void
sizes_are_compared_field_by_field(void)
{
    char want[160];
    struct buf b = bytes_of("none.so");

    plugin_in(&b)->sz_task = 8;
    snprintf(want, sizeof want, "x.so was built with another taskd.h: its td_task has 8 bytes, this taskd's has %zu",
             sizeof(td_task));
    IS_ERR(load_broken(&b), ERR_ABI, want);
    plugin_in(&b)->size = 4;
    IS_ERR(load_broken(&b), ERR_ABI, "its td_plugin has 4 bytes, this taskd's has ");
    plugin_in(&b)->abi_minor = 9;
    IS_ERR(load_broken(&b), ERR_ABI, "x.so was built for ABI 0.9, this taskd has 0.2");
    plugin_in(&b)->magic[0] = 'X';
    IS_ERR(load_broken(&b), ERR_ABI, "x.so has a td_plugin_v1 that TD_PLUGIN did not make");
    memcpy(find(&b, "td_plugin_v1", 13), "td_plugin_v2", 13);
    /* AddressSanitizer has a symbol of its own that ends in this name. */
    IS_ERR(load_broken(&b), ERR_ABI, TD_ASAN_ ? "loading x.so: " : "x.so does not export td_plugin_v1");
    b.n = 40;
    IS_ERR(load_broken(&b), ERR_ABI, "loading x.so: file too short");
    buf_fini(&b);
    b = bytes_of("every.so");
    for (int k = 0; k < 2; k++) { /* the size of the item "length", then its kind */
        struct module_list l;
        struct module_info m;
        uint32_t head[2] = { sizeof(td_fn), TD_I_FILTER };

        NO_ERR(module_parse(b.p, b.n, "x.so", &A, &m));
        NO_ERR(module_list(&m, &A, &l));
        char *at = find(&b, head, sizeof head);

        memset(at + 4 * k, 99, 2);
        IS_ERR(load_broken(&b), ERR_ABI, k ? " of x.so is of no known kind" : " of x.so has another size than a td_fn");
        memcpy(at, head, sizeof head);
    }
    buf_fini(&b);
    arena_fini(&A);
}

/* Whatever is in the file: an answer, and no byte outside it is read (run with --enable-asan). */
static void
random_damage_is_survived(void)
{
    struct buf b = bytes_of("every.so");
    struct module_profile p = host();
    uint64_t seed = 42;
    char *copy = malloc(b.n);

    for (int round = 0; round < 3000; round++) {
        struct module_info m;
        struct module_list l;
        size_t n = b.n;

        memcpy(copy, b.p, n);
        for (int k = 0; k < 1 + round % 5; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            copy[(seed >> 20) % (round % 2 ? 1200 : n)] = (char)(seed >> 56);
        }
        if (round % 7 == 0)
            n = (seed >> 30) % n;
        char *exact = malloc(n ? n : 1); /* so that one byte too far is seen */

        memcpy(exact, copy, n);
        struct err *e = module_parse(exact, n, "x.so", &A, &m);

        if (!e) {
            err_free(module_check(&m, &p));
        err_free(module_parse_library(exact, n, "x.so", &A, &m));
            e = module_list(&m, &A, &l);
        }
        err_free(e);
        free(exact);
        arena_reset(&A);
    }
    free(copy);
    buf_fini(&b);
    arena_fini(&A);
}

/* Libraries of a host that has only libc. */
static bool
only_libc(void *arg, const char *soname)
{
    return !strcmp(soname, "libc.so.6");
}

/* A module that needs libgeo.so.1, which needs libdep.so.3, on such a host. */
static void
libraries_that_go_along_are_checked(void)
{
    static const struct module_need libc[] = { { "libc.so.6", "GLIBC_2.17" } }, new_libc[] = { { "libc.so.6", "GLIBC_9.1" } },
                                    dep[] = { { "libdep.so.3", NULL } }, geo[] = { { "libgeo.so.1", NULL } };
    struct module_profile p = host();
    struct module m;

    NO_ERR(module_read(built("every.so"), &A, &m));
    struct module_info job = m.info;
    job.name = "job.so";
    job.needs = geo;
    job.nneeds = 1;
    p.has_library = only_libc;
    struct module_info libs[] = {
        { .name = "libdep.so", .soname = "libdep.so.3", .machine = p.machine, .needs = libc, .nneeds = 1 },
        { .name = "libgeo.so", .soname = "libgeo.so.1", .machine = p.machine, .needs = dep, .nneeds = 1 },
    };
    NO_ERR(module_check_all(&job, libs, 2, &p));
    IS_ERR(module_check_all(&job, libs + 1, 1, &p), ERR_ABI, "libgeo.so needs libdep.so.3, this machine does not have it");
    IS_ERR(module_check_all(&job, libs, 1, &p), ERR_ABI, "job.so needs libgeo.so.1, this machine does not have it");
    struct module_info turned[] = { libs[1], libs[0] };
    IS_ERR(module_check_all(&job, turned, 2, &p), ERR_ABI,
           "libgeo.so needs libdep.so.3, which is loaded behind it\nhint: Name libdep.so before libgeo.so in --libs.");
    turned[0].rpath = "/opt/geo"; /* where it finds what it needs */
    NO_ERR(module_check_all(&job, turned, 2, &p));
    libs[1].soname = NULL;
    libs[1].name = "libgeo.so.1";
    IS_ERR(module_check_all(&job, libs, 2, &p), ERR_ABI,
           "job.so needs libgeo.so.1, and the library of that file name has no SONAME to find it by\n"
           "hint: Link it with -Wl,-soname,libgeo.so.1.");
    libs[0].needs = new_libc;
    IS_ERR(module_check_all(&job, libs, 2, &p), ERR_ABI, "libdep.so needs GLIBC_9.1 (for libc.so.6), this machine has ");
    libs[0].machine = EM_PPC64;
    IS_ERR(module_check_all(&job, libs, 2, &p), ERR_ABI, "libdep.so was built for ppc64, this machine is ");
    module_fini(&m);
    arena_fini(&A);
}

/* What a library says lives on when its bytes don't. */
static void
a_library_is_read(void)
{
    struct buf b = bytes_of("every.so");
    struct module_info m;
    bool libc = false;

    NO_ERR(module_parse_library(b.p, b.n, "some/where/libx.so", &A, &m));
    memset(b.p, 0, b.n);
    EQ_STR(m.name, "libx.so");
    CU_ASSERT(m.machine == host().machine && !m.soname && !m.rpath && !m.nexports);
    for (size_t i = 0; i < m.nneeds; i++)
        libc |= !strcmp(m.needs[i].lib, "libc.so.6") && !strncmp(m.needs[i].glibc, "GLIBC_2.", 8);
    CU_ASSERT(libc);
    IS_ERR(module_parse_library(b.p, b.n, "libx.so", &A, &m), ERR_ABI,
           "libx.so is not a 64-bit little-endian shared library\nhint: Libraries are made by cc -shared -fPIC.");
    buf_fini(&b);
    arena_fini(&A);
}

static const struct unit_test tests[] = {
    { "module.a_module_is_what_it_was_built_as", a_module_is_what_it_was_built_as },
    { "module.bytes_are_sealed_and_digested", bytes_are_sealed_and_digested },
    { "module.what_is_no_module_is_told_so", what_is_no_module_is_told_so },
    { "module.each_broken_field_has_its_sentence", each_broken_field_has_its_sentence },
    { "module.both_sides_of_a_mismatch_are_named", both_sides_of_a_mismatch_are_named },
    { "module.items_are_listed_without_loading", items_are_listed_without_loading },
    { "module.verified_bytes_are_loaded", verified_bytes_are_loaded },
    { "module.sizes_are_compared_field_by_field", sizes_are_compared_field_by_field },
    { "module.random_damage_is_survived", random_damage_is_survived },
    { "module.libraries_that_go_along_are_checked", libraries_that_go_along_are_checked },
    { "module.a_library_is_read", a_library_is_read },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "module", tests);
}
