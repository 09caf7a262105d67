/* profile -- see profile.h */
#include "worker/profile.h"

#include <stdbool.h>
#include <string.h>

#include "base/file.h"
#include "flow/module.h"

static const char magic[] = "glibc-ld.so.cache1.1";
enum { MAGIC = sizeof magic - 1, HEADER = 48, ENTRY = 24, CACHE_MAX = 64 << 20 };

static bool
is_ours(uint32_t kind)
{
#ifdef __x86_64__
    return kind == 0x0303; /* ELF for libc6, x86-64 */
#else
    return true;
#endif
}

static uint32_t
u32_at(const char *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

size_t
profile_sonames(const void *bytes, size_t n, struct arena *a, char ***ret)
{
    /* an older cache may lie before it */
    const char *p = memmem(bytes, n, magic, MAGIC);
    size_t found = 0;

    if (!p)
        return 0;
    n -= (size_t)(p - (const char *)bytes);
    if (n < HEADER)
        return 0;
    uint32_t count = u32_at(p + MAGIC);
    if (count > (n - HEADER) / ENTRY)
        return 0;
    char **names = ARENA_ARRAY(a, char *, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        const char *x = p + HEADER + (size_t)i * ENTRY;
        uint32_t kind = u32_at(x), at = u32_at(x + 4);

        if (!is_ours(kind) || at >= n || !memchr(p + at, 0, n - at))
            continue;
        if (!found || strcmp(names[found - 1], p + at)) /* sorted: doubles are neighbours */
            names[found++] = arena_strdup(a, p + at);
    }
    *ret = names;
    return found;
}

void
profile_host(struct arena *a, Taskd__Profile *ret)
{
    struct module_profile host;
    struct buf cache = { 0 };
    char name[24];

    module_profile_host(&host);
    *ret = (Taskd__Profile)TASKD__PROFILE__INIT;
    ret->isa = host.isa ? arena_printf(a, "x86-64-v%u", host.isa) : "";
    ret->machine = arena_strdup(a, module_machine_name(host.machine, name));
    ret->glibc = arena_printf(a, "%u.%u", host.glibc_major, host.glibc_minor);
    struct err *e = file_slurp("/etc/ld.so.cache", CACHE_MAX, &cache);
    if (!e)
        ret->n_library = profile_sonames(cache.p, cache.n, a, &ret->library);
    err_free(e);
    buf_fini(&cache);
}
