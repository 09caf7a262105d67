/* profile -- see profile.h */
#include "common/profile.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

static bool
has(char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

void
profile_filter(struct arena *a, const Taskd__Profile *p, char *const *need, size_t n_need, Taskd__Profile *ret)
{
    *ret = *p;
    ret->library = ARENA_ARRAY(a, char *, n_need + 1);
    ret->n_library = 0;
    for (size_t i = 0; i < n_need; i++)
        if (has(p->library, p->n_library, need[i]))
            ret->library[ret->n_library++] = need[i];
}

static void
need(char **names, size_t *n, const char *name, const struct module_info *libs, size_t n_libs)
{
    for (size_t i = 0; i < n_libs; i++)
        if (libs[i].soname && !strcmp(libs[i].soname, name))
            return;
    if (!has(names, *n, name))
        names[(*n)++] = (char *)name;
}

void
profile_need(struct arena *a, const struct module_info *m, const struct module_info *libs, size_t n_libs, char ***ret,
             size_t *ret_n)
{
    size_t most = m->nneeds + 1;

    for (size_t i = 0; i < n_libs; i++)
        most += libs[i].nneeds;
    *ret = ARENA_ARRAY(a, char *, most);
    *ret_n = 0;
    need(*ret, ret_n, "libc.so.6", NULL, 0);
    for (size_t i = 0; i <= n_libs; i++) {
        const struct module_info *who = i < n_libs ? &libs[i] : m;

        for (size_t k = 0; k < who->nneeds; k++)
            need(*ret, ret_n, who->needs[k].lib, libs, n_libs);
    }
}

static bool
host_has(void *arg, const char *soname)
{
    const Taskd__Profile *p = arg;

    return has(p->library, p->n_library, soname);
}

static uint16_t
machine_of(const char *name)
{
    static const uint16_t known[] = { EM_X86_64, EM_AARCH64 };
    char buf[24];

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(module_machine_name(known[i], buf), name))
            return known[i];
    return EM_NONE;
}

struct err *
profile_check(const struct module_info *m, const Taskd__Profile *p, const struct module_info *libs, size_t n_libs,
              const char *where)
{
    struct module_profile there;

    module_profile_host(&there); /* ABI and sanitizer: the same version on both sides, or Hello had refused */
    there.machine = machine_of(p->machine);
    there.isa = 0;
    there.glibc_major = there.glibc_minor = 0;
    there.has_library = p->n_library ? host_has : NULL; /* none at all: it didn't say */
    there.arg = (void *)p;
    sscanf(p->isa, "x86-64-v%u", &there.isa);
    if (sscanf(p->glibc, "%u.%u", &there.glibc_major, &there.glibc_minor) != 2)
        return err_new(ERR_CORRUPT, "%s says that its glibc is \"%.40s\"", where, p->glibc);
    TRY_OR(module_check_all(m, libs, n_libs, &there), "%s", where);
    return NULL;
}

struct err *
profile_check_workers(const struct module_info *m, const Taskd__Status *s, const struct module_info *libs, size_t n_libs)
{
    char where[512];

    for (size_t i = 0; i < s->n_worker; i++) {
        const Taskd__WorkerStatus *w = s->worker[i];

        if (!w->alive || !w->profile || !*w->profile->machine)
            continue;
        snprintf(where, sizeof where, "worker %.200s on host %.200s", w->worker, w->host);
        TRY(profile_check(m, w->profile, libs, n_libs, where));
    }
    return NULL;
}
