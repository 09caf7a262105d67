/* module_check -- will this module load here?  See module.h */
#include <elf.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "flow/module_priv.h"

#define HINT_AGAIN "Build it again with this taskd's taskd-cc."

const char *
module_machine_name(uint16_t m, char buf[static 24])
{
    switch (m) {
    case EM_X86_64: return "x86-64";
    case EM_AARCH64: return "aarch64";
    case EM_386: return "i386";
    case EM_ARM: return "arm";
    case EM_RISCV: return "riscv";
    case EM_PPC64: return "ppc64";
    case EM_S390: return "s390x";
    }
    snprintf(buf, 24, "machine %u", m);
    return buf;
}

static uint16_t
host_machine(void)
{
#if defined(__x86_64__)
    return EM_X86_64;
#elif defined(__aarch64__)
    return EM_AARCH64;
#else
#error "taskd does not know this machine yet"
#endif
}

/* The x86-64 level of this CPU. */
static uint32_t
host_isa(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt") || !__builtin_cpu_supports("ssse3"))
        return 1;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2") ||
        !__builtin_cpu_supports("fma"))
        return 2;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512cd") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl"))
        return 3;
    return 4;
#else
    return 1;
#endif
}

/* Is soname one of the strings of ld.so's cache? */
static bool
in_cache(const char *soname)
{
    char want[256];
    struct stat st;
    bool found = false;
    int n = snprintf(want, sizeof want, "%c%s", 0, soname), fd = open("/etc/ld.so.cache", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    if (n > 0 && n < (int)sizeof want && !fstat(fd, &st) && st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

        if (p != MAP_FAILED) {
            found = memmem(p, (size_t)st.st_size, want, (size_t)n + 1);
            munmap(p, (size_t)st.st_size);
        }
    }
    close(fd);
    return found;
}

static bool
in_dirs(const char *dirs, const char *soname)
{
    char path[4096];

    while (dirs && *dirs) {
        size_t n = strcspn(dirs, ":;");

        if (n && snprintf(path, sizeof path, "%.*s/%s", (int)n, dirs, soname) < (int)sizeof path && !access(path, R_OK))
            return true;
        dirs += n + (dirs[n] != 0);
    }
    return false;
}

/* Where ld.so will look: LD_LIBRARY_PATH, its cache, its own folders. */
static bool
host_has_library(void *arg, const char *soname)
{
    if (strchr(soname, '/'))
        return !access(soname, R_OK);
    return in_cache(soname) || in_dirs(arg, soname) ||
           in_dirs("/lib:/usr/lib:/lib64:/usr/lib64:/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu:"
                   "/lib/aarch64-linux-gnu:/usr/lib/aarch64-linux-gnu", soname);
}

void
module_profile_host(struct module_profile *ret)
{
    *ret = (struct module_profile){
        .machine = host_machine(),
        .abi = TD_ABI_MAJOR << 16 | TD_ABI_MINOR,
        .isa = host_isa(),
        .asan = TD_ASAN_,
        .has_library = host_has_library,
        .arg = secure_getenv("LD_LIBRARY_PATH"),
    };
    sscanf(gnu_get_libc_version(), "%u.%u", &ret->glibc_major, &ret->glibc_minor);
}

static struct err *
check_abi(const struct module_info *m, const struct module_profile *p)
{
    if (m->abi != p->abi)
        return err_hint(err_new(ERR_ABI, "%s was built for ABI %u.%u, this taskd has %u.%u", m->name, m->abi >> 16,
                                m->abi & 0xffff, p->abi >> 16, p->abi & 0xffff),
                        HINT_AGAIN);
    if (m->plugin_size != sizeof(td_plugin))
        return err_hint(err_new(ERR_ABI, "%s was built with another taskd.h of ABI %u.%u: its td_plugin has %u bytes, "
                                         "this taskd's has %zu", m->name, p->abi >> 16, p->abi & 0xffff,
                                m->plugin_size, sizeof(td_plugin)),
                        HINT_AGAIN);
    return NULL;
}

static struct err *
check_isa(const struct module_info *m, const struct module_profile *p)
{
    if (m->machine != EM_X86_64 || m->isa <= p->isa)
        return NULL;
    return err_hint(err_new(ERR_ABI, "%s was built for x86-64-v%u, this CPU is x86-64-v%u", m->name, m->isa, p->isa),
                    "Build it again with taskd-cc --isa v%u.", p->isa);
}

static struct err *
check_flags(const struct module_info *m, const struct module_profile *p)
{
    if (m->flags & ~(uint32_t)(MODULE_ASAN | MODULE_CXX))
        return err_hint(err_new(ERR_ABI, "%s has the flags 0x%x, this taskd knows 0x%x", m->name, m->flags,
                                MODULE_ASAN | MODULE_CXX),
                        HINT_AGAIN);
    if ((m->flags & MODULE_ASAN) && !p->asan)
        return err_hint(err_new(ERR_ABI, "%s was built with AddressSanitizer, this taskd was not", m->name),
                        "Build taskd with ./configure --enable-asan, or the module without --asan.");
    if (m->exec_stack)
        return err_hint(err_new(ERR_ABI, "%s wants an executable stack, this taskd gives none", m->name),
                        "Link it with -Wl,-z,noexecstack, as taskd-cc does.");
    if (m->rpath)
        return err_hint(err_new(ERR_ABI, "%s has the library path \"%s\" built in, this taskd loads from the system's "
                                         "folders only", m->name, m->rpath),
                        "Link it without -rpath, as taskd-cc does.");
    if (m->text_rel)
        return err_hint(err_new(ERR_ABI, "%s writes into its own code when it is loaded, this taskd allows that "
                                         "to none", m->name),
                        "Compile it with -fPIC, as taskd-cc does.");
    return NULL;
}

/* Libraries that go along: `loaded` of n are there before m. */
struct along {
    const struct module_info *libs;
    size_t loaded, n;
};

static struct err *
missing(const struct module_info *m, const char *need, const struct along *along)
{
    for (size_t i = along->loaded; i < along->n; i++)
        if (along->libs[i].soname && !strcmp(along->libs[i].soname, need))
            return err_hint(err_new(ERR_ABI, "%s needs %s, which is loaded behind it", m->name, need),
                            "Name %s before %s in --libs.", along->libs[i].name, m->name);
    for (size_t i = 0; i < along->n; i++)
        if (!along->libs[i].soname && !strcmp(along->libs[i].name, need))
            return err_hint(err_new(ERR_ABI, "%s needs %s, and the library of that file name has no SONAME to find it by",
                                    m->name, need),
                            "Link it with -Wl,-soname,%s.", need);
    return err_hint(err_new(ERR_ABI, "%s needs %s, this machine does not have it", m->name, need),
                    "Send it along with --libs, install the package it comes from, or link it statically.");
}

static bool
is_loaded(const struct along *along, const char *need)
{
    for (size_t i = 0; i < along->loaded; i++)
        if (along->libs[i].soname && !strcmp(along->libs[i].soname, need))
            return true;
    return false;
}

static struct err *
check_needs(const struct module_info *m, const struct along *along, const struct module_profile *p)
{
    for (size_t i = 0; i < m->nneeds; i++) {
        const struct module_need *need = &m->needs[i];
        unsigned major = 0, minor = 0;

        if (is_loaded(along, need->lib))
            continue;
        if (p->has_library && !p->has_library(p->arg, need->lib) && !m->rpath) /* who knows what is there */
            return missing(m, need->lib, along);
        if (!need->glibc)
            continue;
        if (sscanf(need->glibc, "GLIBC_%4u.%4u", &major, &minor) == 2 ?
                major > p->glibc_major || (major == p->glibc_major && minor > p->glibc_minor) :
                !strcmp(need->glibc, "GLIBC_PRIVATE"))
            return err_hint(err_new(ERR_ABI, "%s needs %s (for %s), this machine has %u.%u", m->name, need->glibc,
                                    need->lib, p->glibc_major, p->glibc_minor),
                            "Build it on this system, or on an older one.");
    }
    return NULL;
}

static struct err *
check_machine(const struct module_info *m, const struct module_profile *p)
{
    char a[24], b[24];

    if (m->machine == p->machine)
        return NULL;
    return err_new(ERR_ABI, "%s was built for %s, this machine is %s", m->name, module_machine_name(m->machine, a),
                   module_machine_name(p->machine, b));
}

struct err *
module_check_all(const struct module_info *m, const struct module_info *libs, size_t n, const struct module_profile *p)
{
    struct along along = { .libs = libs, .n = n };
    struct err *e = check_machine(m, p);

    if (e)
        return err_hint(e, HINT_AGAIN);
    TRY(check_abi(m, p));
    TRY(check_isa(m, p));
    TRY(check_flags(m, p));
    if (!m->plugin_at)
        return err_hint(err_new(ERR_ABI, "%s does not export td_plugin_v1, the one symbol this taskd looks for",
                                m->name),
                        "Link it with taskd-cc, without a version script.");
    for (; along.loaded < n; along.loaded++) {
        TRY(check_machine(&libs[along.loaded], p));
        TRY(check_needs(&libs[along.loaded], &along, p));
    }
    return check_needs(m, &along, p);
}

struct err *
module_check(const struct module_info *m, const struct module_profile *p)
{
    return module_check_all(m, NULL, 0, p);
}
