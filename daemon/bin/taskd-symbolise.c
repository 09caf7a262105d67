/*
 * taskd-symbolise -- names for addresses of a module.
 *
 *   taskd-symbolise OFFSET... 3<module.so
 *
 * Prints for each offset (of an instruction, relative to where the module is loaded) its frames,
 * inlined ones too, innermost first, a line each:   INDEX <tab> FUNCTION <tab> FILE <tab> LINE
 * INDEX is the place of the offset among the arguments; "?" and 0 stand for what is not known.
 * Before them, if the module has one:   build-id <tab> HEX
 *
 * A process of its own because it reads debug information that a stranger wrote: it may crash, loop
 * or eat memory, and is limited in all of that.
 */
#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { MODULE_FD = 3, CPU_SECONDS = 2, NAME_MAX_BYTES = 200, FRAMES_MAX = 32, BUILD_ID_MAX = 32 };

/* One name as text without surprises: no tabs, no controls, bounded. */
static void
put_name(const char *s)
{
    if (!s || !*s)
        s = "?";
    for (int i = 0; s[i] && i < NAME_MAX_BYTES; i++)
        putchar((unsigned char)s[i] >= 0x20 && s[i] != 0x7f ? s[i] : '?');
}

static void
put_frame(int index, const char *function, const char *file, int line)
{
    const char *base = file ? strrchr(file, '/') : NULL;

    printf("%d\t", index);
    put_name(function);
    putchar('\t');
    put_name(base ? base + 1 : file);
    printf("\t%d\n", line);
}

/* Where an inlined function was called from. */
static void
call_site(Dwarf_Die *die, Dwarf_Die *cu, const char **ret_file, int *ret_line)
{
    Dwarf_Attribute at;
    Dwarf_Word file, line;
    Dwarf_Files *files;
    size_t n;

    *ret_file = NULL;
    *ret_line = 0;
    if (dwarf_formudata(dwarf_attr(die, DW_AT_call_file, &at), &file) == 0 &&
        dwarf_getsrcfiles(cu, &files, &n) == 0 && file < n)
        *ret_file = dwarf_filesrc(files, file, NULL, NULL);
    if (dwarf_formudata(dwarf_attr(die, DW_AT_call_line, &at), &line) == 0)
        *ret_line = (int)line;
}

/* The unit that pc belongs to.  libdw looks it up in .debug_aranges, which clang and rustc do not write: then by the
 * ranges of the units themselves. */
static Dwarf_Die *
unit_of(Dwfl_Module *mod, Dwarf_Addr pc, Dwarf_Addr *ret_bias)
{
    Dwarf_Die *cu = dwfl_module_addrdie(mod, pc, ret_bias);

    if (cu)
        return cu;
    while ((cu = dwfl_module_nextcu(mod, cu, ret_bias)))
        if (dwarf_haspc(cu, pc - *ret_bias) > 0)
            return cu;
    return NULL;
}

/* The frames at pc by debug information; false: there is none. */
static bool
put_frames(int index, Dwfl_Module *mod, Dwarf_Addr pc)
{
    Dwarf_Addr bias;
    Dwarf_Die *cu = unit_of(mod, pc, &bias), *scopes = NULL, *chain = NULL;
    const char *file = NULL;
    int line = 0, shown = 0;

    if (!cu || dwarf_getscopes(cu, pc - bias, &scopes) <= 0)
        return false;
    int n = dwarf_getscopes_die(&scopes[0], &chain);
    Dwarf_Line *src = dwarf_getsrc_die(cu, pc - bias);
    if (src && dwarf_lineno(src, &line) == 0 && line > 0) /* 0: made from several lines */
        file = dwarf_linesrc(src, NULL, NULL);
    for (int i = 0; i < n && shown < FRAMES_MAX; i++) {
        int tag = dwarf_tag(&chain[i]);

        if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram)
            continue;
        put_frame(index, dwarf_diename(&chain[i]), file, line);
        shown++;
        if (tag == DW_TAG_subprogram)
            break;
        call_site(&chain[i], cu, &file, &line);
    }
    free(chain);
    free(scopes);
    return shown > 0;
}

static void
put_build_id(Dwfl_Module *mod)
{
    const unsigned char *id;
    GElf_Addr at;
    int n = dwfl_module_build_id(mod, &id, &at);

    if (n <= 0)
        return;
    printf("build-id\t");
    for (int i = 0; i < n && i < BUILD_ID_MAX; i++)
        printf("%02x", id[i]);
    printf("\n");
}

static void
limit(int what, rlim_t n)
{
    struct rlimit r = { n, n };

    setrlimit(what, &r);
}

/* No files of others, no network. */
static int
no_debuginfo(Dwfl_Module *mod, void **data, const char *name, Dwarf_Addr base, const char *file_name,
             const char *link, GElf_Word crc, char **ret)
{
    return -1;
}

static int
no_elf(Dwfl_Module *mod, void **data, const char *name, Dwarf_Addr base, char **ret_name, Elf **ret)
{
    return -1;
}

int
main(int argc, char **argv)
{
    static const Dwfl_Callbacks callbacks = { .find_elf = no_elf, .find_debuginfo = no_debuginfo };

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_CPU, CPU_SECONDS);
    limit(RLIMIT_FSIZE, 1 << 20);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    limit(RLIMIT_AS, 2ull << 30);
#endif
    Dwfl *dwfl = dwfl_begin(&callbacks);
    Dwfl_Module *mod = dwfl ? dwfl_report_elf(dwfl, "module", "module", MODULE_FD, 0, true) : NULL;
    if (!mod || dwfl_report_end(dwfl, NULL, NULL) != 0) {
        fprintf(stderr, "taskd-symbolise: descriptor %d is not a module: %s\n", MODULE_FD, dwfl_errmsg(-1));
        return 1;
    }
    put_build_id(mod);
    fflush(stdout); /* what comes now may crash */
    for (int i = 1; i < argc; i++) {
        Dwarf_Addr pc = strtoull(argv[i], NULL, 0);

        if (!put_frames(i - 1, mod, pc))
            put_frame(i - 1, dwfl_module_addrname(mod, pc), NULL, 0);
        fflush(stdout);
    }
    dwfl_end(dwfl);
    return 0;
}
