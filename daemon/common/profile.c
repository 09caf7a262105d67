/* profile -- see profile.h */
#include "common/profile.h"

#include <elf.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { CACHE_LIMIT = 16 << 20, NAMES_MAX = 50000, NAME_MAX_BYTES = 128 };

/* ---- this host */

struct names {
    struct arena *a;
    char **v;
    size_t n;
};

static void
add(struct names *s, const char *name, size_t n)
{
    if (s->n < NAMES_MAX && n > 0 && n < NAME_MAX_BYTES)
        s->v[s->n++] = arena_memdup(s->a, name, n);
}

/* ld.so's cache holds its names as plain strings; what looks like one is one. */
static void
add_cache(struct names *s)
{
    struct buf b = { 0 };
    struct err *e = file_slurp("/etc/ld.so.cache", CACHE_LIMIT, &b);

    for (size_t i = 0, n; !e && i < b.n; i += n + 1) {
        n = strnlen(b.p + i, b.n - i);
        if (n > 3 && !memchr(b.p + i, '/', n) && memmem(b.p + i, n, ".so", 3)) {
            size_t k = n;

            while (k && b.p[i + k - 1] > ' ' && b.p[i + k - 1] < 127)
                k--; /* the format's numbers may stand right before the first one */
            add(s, b.p + i + k, n - k);
        }
    }
    err_free(e);
    buf_fini(&b);
}

static void
add_dir(struct names *s, const char *path)
{
    DIR *d = opendir(path);

    for (struct dirent *e; d && (e = readdir(d));)
        if (strstr(e->d_name, ".so"))
            add(s, e->d_name, strlen(e->d_name));
    if (d)
        closedir(d);
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void
profile_host(struct arena *a, Taskd__Profile *ret)
{
    static const char *const dirs[] = { "/lib", "/usr/lib", "/lib64", "/usr/lib64", "/lib/x86_64-linux-gnu",
                                        "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu",
                                        "/usr/lib/aarch64-linux-gnu" };
    const char *path = secure_getenv("LD_LIBRARY_PATH");
    struct names s = { a, ARENA_ARRAY(a, char *, NAMES_MAX), 0 };
    struct module_profile host;
    char machine[24];
    size_t n = 0;

    module_profile_host(&host);
    *ret = (Taskd__Profile)TASKD__PROFILE__INIT;
    ret->isa = host.isa ? arena_printf(a, "x86-64-v%u", host.isa) : "";
    ret->machine = arena_strdup(a, module_machine_name(host.machine, machine));
    ret->glibc = arena_printf(a, "%u.%u", host.glibc_major, host.glibc_minor);
    add_cache(&s);
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        add_dir(&s, dirs[i]);
    for (; path && *path; path += strcspn(path, ":;"), path += *path != 0)
        add_dir(&s, arena_memdup(a, path, strcspn(path, ":;")));
    qsort(s.v, s.n, sizeof *s.v, by_name);
    for (size_t i = 0; i < s.n; i++)
        if (n == 0 || strcmp(s.v[n - 1], s.v[i]))
            s.v[n++] = s.v[i];
    ret->library = s.v;
    ret->n_library = n;
}

/* ---- others */

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

void
profile_need(struct arena *a, const struct module_info *m, const char *const *along, size_t n_along, char ***ret,
             size_t *ret_n)
{
    *ret = ARENA_ARRAY(a, char *, m->nneeds + 1);
    *ret_n = 0;
    for (size_t i = 0; i < m->nneeds; i++)
        if (!has((char *const *)along, n_along, m->needs[i].lib))
            (*ret)[(*ret_n)++] = (char *)m->needs[i].lib;
}

struct wanted {
    const Taskd__Profile *p;
    const char *const *along;
    size_t n_along;
};

static bool
host_has(void *arg, const char *soname)
{
    struct wanted *w = arg;

    return has((char *const *)w->along, w->n_along, soname) || has(w->p->library, w->p->n_library, soname);
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
profile_check(const struct module_info *m, const Taskd__Profile *p, const char *const *along, size_t n_along,
              const char *where)
{
    struct wanted w = { p, along, n_along };
    struct module_profile there;

    module_profile_host(&there); /* ABI and sanitizer: the same version on both sides, or Hello had refused */
    there.machine = machine_of(p->machine);
    there.isa = 0;
    there.glibc_major = there.glibc_minor = 0;
    there.has_library = p->n_library ? host_has : NULL; /* none at all: it didn't say */
    there.arg = &w;
    sscanf(p->isa, "x86-64-v%u", &there.isa);
    if (sscanf(p->glibc, "%u.%u", &there.glibc_major, &there.glibc_minor) != 2)
        return err_new(ERR_CORRUPT, "%s says that its glibc is \"%.40s\"", where, p->glibc);
    TRY_OR(module_check(m, &there), "%s", where);
    return NULL;
}
