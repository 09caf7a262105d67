/*
 * module -- a job's shared object: read as bytes, checked, and only then loaded.
 *
 * Three steps, in this order, so that no code of a module runs before everything that can be known is known:
 *   submitter  module_read()   the file's bytes into a sealed memfd, their SHA-256, and what the ELF headers say
 *              module_check()  compared with what this taskd and this machine have
 *   runner     module_load()   dlopen() of those very bytes, and a look at td_plugin_v1 field by field
 * module_parse(), module_list() and module_check() are pure: they see bytes, load nothing and trust nothing.
 *
 * Errors: ERR_ABI with both sides of the mismatch in one sentence; ERR_IO and ERR_LIMIT for the file.
 * Threads: any; a struct belongs to one thread.  Memory: everything named by a pointer lives in the arena given,
 * or in the bytes, which must outlive it.
 * Linking: module_read.c needs libcrypto, nothing else does; only callers of module_read() pull it in.
 */
#ifndef FLOW_MODULE_H
#define FLOW_MODULE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "taskd.h"

enum { MODULE_SHA256 = 32, MODULE_SIZE_MAX = 1 << 30 };
enum { MODULE_ASAN = 1, MODULE_CXX = 2 }; /* flags of the note */

/* One library that a module asks for. */
struct module_need {
    const char *lib;   /* "libc.so.6" */
    const char *glibc; /* the highest "GLIBC_x.y" asked of it, NULL: none */
};

/* What the ELF headers say. */
struct module_info {
    const char *name;            /* the file's name without directories: for sentences */
    const char *soname;          /* DT_SONAME, NULL: none */
    const void *bytes;           /* the whole file, borrowed */
    size_t size;
    uint16_t machine;            /* EM_* */
    uint32_t abi;                /* major << 16 | minor */
    uint32_t isa, flags;         /* x86-64 level 1..4 (0 on other machines), MODULE_* */
    uint32_t plugin_size;        /* sizeof(td_plugin) in the header it was built with */
    const struct module_need *needs; /* DT_NEEDED in its order */
    size_t nneeds;
    const char *const *exports;  /* names of the defined dynamic symbols, td_plugin_v1 too */
    size_t nexports;
    uint64_t plugin_at;          /* address of td_plugin_v1, 0: it is not there */
    const uint8_t *build_id;     /* NULL: none */
    size_t build_id_n;
    const char *rpath;           /* DT_RPATH or DT_RUNPATH, NULL: none */
    bool exec_stack, text_rel;   /* asks for an executable stack, writes into its code when loaded */
};
/* The bytes of a file called name (a path; the last part is kept).  Refused here: not an ELF file, damaged,
 * not a 64-bit little-endian shared object, no taskd note. */
struct err *module_parse(const void *bytes, size_t n, const char *name, struct arena *a,
                         struct module_info *ret) MUST_USE;
/* The same of a library that goes along with a module: soname, machine, needs and rpath only, all of it in the arena. */
struct err *module_parse_library(const void *bytes, size_t n, const char *name, struct arena *a,
                                 struct module_info *ret) MUST_USE;

/* What modules will meet. */
struct module_profile {
    uint16_t machine;            /* EM_* */
    uint32_t abi, isa;           /* as in module_info */
    bool asan;                   /* the runner is built with AddressSanitizer */
    unsigned glibc_major, glibc_minor;
    bool (*has_library)(void *arg, const char *soname); /* NULL: not asked */
    void *arg;
};
/* This taskd on this machine. */
void module_profile_host(struct module_profile *ret);
/* NULL: will load.  Otherwise ERR_ABI: the first mismatch in a sentence with both sides, and what to do. */
struct err *module_check(const struct module_info *m, const struct module_profile *p) MUST_USE;
/* The same of m and of the n libraries that are loaded before it, in this order: each needs what is there or was loaded
 * before.  The loader knows a library by its SONAME alone. */
struct err *module_check_all(const struct module_info *m, const struct module_info *libs, size_t n,
                             const struct module_profile *p) MUST_USE;

/* A module in the submitter's hands. */
struct module {
    int fd;                      /* memfd, sealed against everything, close-on-exec; owned */
    uint8_t sha256[MODULE_SHA256];
    char sha256_hex[2 * MODULE_SHA256 + 1];
    struct module_info info;     /* info.bytes: a read-only mapping of fd, owned */
};
/* Reads and parses path; does not check. */
struct err *module_read(const char *path, struct arena *a, struct module *ret) MUST_USE;
/* module_parse_library() of the file at path, which the job finds as name. */
struct err *module_read_library(const char *path, const char *name, struct arena *a, struct module_info *ret) MUST_USE;
/* Closes fd and unmaps; {.fd = -1} is allowed. */
void module_fini(struct module *m);

/* What the module holds, found in its bytes without running any of it. */
struct module_item {
    uint32_t number;             /* in the item table */
    uint16_t kind, flags;        /* TD_I_*, TD_F_* */
    uint32_t op;                 /* TD_A_* of an accumulator */
    const char *name, *file;     /* "" when it can't be read */
    uint32_t line;
    const char *in, *out;        /* "str", "str_i64"; NULL for an accumulator or a broadcast */
};
struct module_list {
    const char *name, *version, *compiler; /* as given to TD_PLUGIN */
    const struct module_item *items;
    uint32_t nitems;
};
/* ERR_ABI: td_plugin_v1 can't be read (damaged, or built for another ABI). */
struct err *module_list(const struct module_info *m, struct arena *a, struct module_list *ret) MUST_USE;

/* A module in the runner's address space.  It stays there until the process ends. */
struct module_image {
    const td_plugin *plugin;
    const char *name;            /* as given to module_load(), borrowed */
    const void *base;            /* lowest address and bytes to the end of the last segment: crash_module() */
    size_t size;
    const td_item *const *items; /* the item table: checked, in range, sizes and kinds as in taskd.h */
    uint32_t nitems;
};
/* Loads the bytes behind fd, once per process.  Runs the module's constructors: in a runner only, after
 * its crash handlers are set.  fd may be closed afterwards. */
struct err *module_load(int fd, const char *name, struct module_image *ret) MUST_USE;
/* A library that the module needs, from a file; before module_load(), at which the loader finds it by its SONAME. */
struct err *module_load_library(const char *path) MUST_USE;
/* Item by number; NULL when there is none of that number and kind (TD_I_*). */
const td_item *module_item(const struct module_image *m, uint32_t number, uint16_t kind);
/* The number of an item of the module: its index in td_task.slot, too.  UINT32_MAX: it is none. */
uint32_t module_item_number(const struct module_image *m, const td_item *item);

/* "x86-64"; buf is for machines without a name here. */
const char *module_machine_name(uint16_t machine, char buf[static 24]);
/* "map", "filter", "reduce", "group", "counter"...: for people.  op is TD_A_* for TD_I_ACC. */
const char *module_kind_name(uint16_t kind, uint32_t op);
#endif
