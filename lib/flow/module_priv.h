/* module_priv -- an ELF file as bytes: every look at it is bounds-checked here. */
#ifndef FLOW_MODULE_PRIV_H
#define FLOW_MODULE_PRIV_H
#include <elf.h>

#include "flow/module.h"

struct module__elf {
    const uint8_t *p; /* the file; may be misaligned: copy what you read */
    size_t n;
    const char *name; /* for sentences */
    Elf64_Ehdr eh;
    const char *dyn; /* the dynamic section, up to its end in the file */
    size_t ndyn;
    const char *strtab; /* dynamic strings; the last byte is NUL */
    uint64_t strsz;
};
/* n bytes at a file offset; NULL: not all of them are there. */
const void *flow__elf_off(const struct module__elf *f, uint64_t off, uint64_t n);
/* n bytes that will be loaded at an address, as they are in the file; NULL: they are not in it. */
const void *flow__elf_addr(const struct module__elf *f, uint64_t addr, uint64_t n);
/* A terminated string at an address; NULL: there is none. */
const char *flow__elf_str(const struct module__elf *f, uint64_t addr);
/* Header i, which must be below eh.e_phnum. */
Elf64_Phdr flow__elf_phdr(const struct module__elf *f, unsigned i);
/* The value of a dynamic tag; 0: not there.  *ret_has may be NULL. */
uint64_t flow__elf_dyn(const struct module__elf *f, int64_t tag, bool *ret_has);
/* Checks identification, program headers and the dynamic string table. */
struct err *flow__elf_open(const void *bytes, size_t n, const char *name, struct module__elf *ret) MUST_USE;
/* "NAME is damaged: WHAT". */
struct err *flow__elf_damaged(const char *name, const char *what) MUST_USE;
/* The part of a path behind its last slash. */
const char *flow__base_name(const char *path);
#endif
