/* Tests of daemon/common/profile: what hosts publish, and which modules they take. */
#include <elf.h>
#include <string.h>

#include "common/profile.h"
#include "unit.h"

static const struct module_need needs[] = { { "libc.so.6", "GLIBC_2.34" }, { "libgeo.so.3", NULL } };

static struct module_info
module(void)
{
    static const char *const exports[] = { "td_plugin_v1" };
    struct module_profile host;

    module_profile_host(&host);
    return (struct module_info){ .name = "job.so", .machine = EM_X86_64, .abi = host.abi, .isa = 3,
                                 .plugin_size = sizeof(td_plugin), .needs = needs, .nneeds = 2, .exports = exports,
                                 .nexports = 1, .plugin_at = 8 };
}

static Taskd__Profile
worker(const char *isa, const char *machine, const char *glibc)
{
    static char *libraries[] = { "libc.so.6", "libgeo.so.3", "libm.so.6" };
    Taskd__Profile p = TASKD__PROFILE__INIT;

    p.isa = (char *)isa;
    p.machine = (char *)machine;
    p.glibc = (char *)glibc;
    p.library = libraries;
    p.n_library = 3;
    return p;
}

static void
what_is_asked_for_is_said(void)
{
    Taskd__Profile all = worker("x86-64-v3", "x86-64", "2.36"), some;
    char *ask[] = { "libm.so.6", "libz.so.1" };
    struct arena a = { 0 };

    profile_filter(&a, &all, ask, 2, &some);
    EQ_U64(some.n_library, 1);
    EQ_STR(some.library[0], "libm.so.6");
    EQ_STR(some.glibc, "2.36");
    arena_fini(&a);
}

static const struct module_need geo_needs[] = { { "libm.so.6", NULL }, { "libc.so.6", "GLIBC_2.4" } };

/* libgeo.so, by its file's name; the loader knows it by the other one. */
static struct module_info
library(void)
{
    return (struct module_info){ .name = "libgeo.so", .soname = "libgeo.so.3", .machine = EM_X86_64, .needs = geo_needs,
                                 .nneeds = 2 };
}

static void
what_comes_along_is_not_needed(void)
{
    struct module_info m = module(), geo = library();
    struct arena a = { 0 };
    char **need;
    size_t n;

    profile_need(&a, &m, &geo, 1, &need, &n);
    EQ_U64(n, 2);
    EQ_STR(need[0], "libc.so.6");
    EQ_STR(need[1], "libm.so.6");
    profile_need(&a, &m, NULL, 0, &need, &n);
    EQ_U64(n, 2);
    EQ_STR(need[1], "libgeo.so.3");
    arena_fini(&a);
}

/* A host that has nothing of what is asked for says so by naming its libc. */
static void
the_only_one_may_be_missing(void)
{
    struct module_info m = module();
    Taskd__Profile all = worker("x86-64-v3", "x86-64", "2.36"), some;
    struct arena a = { 0 };
    char **need;
    size_t n;

    all.library[1] = (char *)"libother.so.1";
    m.needs = needs + 1;
    m.nneeds = 1;
    profile_need(&a, &m, NULL, 0, &need, &n);
    profile_filter(&a, &all, need, n, &some);
    IS_ERR(profile_check(&m, &some, NULL, 0, "worker w1 on host b"), ERR_ABI,
           "worker w1 on host b: job.so needs libgeo.so.3, this machine does not have it");
    all.library[1] = (char *)"libgeo.so.3";
    arena_fini(&a);
}

static void
workers_are_compared(void)
{
    static const struct {
        const char *isa, *machine, *glibc, *text;
    } bad[] = {
        { "x86-64-v2", "x86-64", "2.36", "worker w1 on host b: job.so was built for x86-64-v3, this CPU is x86-64-v2" },
        { "", "aarch64", "2.36", "worker w1 on host b: job.so was built for x86-64, this machine is aarch64" },
        { "x86-64-v3", "vax", "2.36", "worker w1 on host b: job.so was built for x86-64, this machine is machine 0" },
        { "x86-64-v3", "x86-64", "2.31",
          "worker w1 on host b: job.so needs GLIBC_2.34 (for libc.so.6), this machine has 2.31" },
    };
    struct module_info m = module(), geo = library();
    Taskd__Profile p = worker("x86-64-v4", "x86-64", "2.34");

    NO_ERR(profile_check(&m, &p, NULL, 0, "w"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        p = worker(bad[i].isa, bad[i].machine, bad[i].glibc);
        IS_ERR(profile_check(&m, &p, NULL, 0, "worker w1 on host b"), ERR_ABI, bad[i].text);
    }
    p = worker("x86-64-v3", "x86-64", "new");
    IS_ERR(profile_check(&m, &p, NULL, 0, "w"), ERR_CORRUPT, "w says that its glibc is \"new\"");
    p = worker("x86-64-v3", "x86-64", "2.36");
    p.n_library = 1;
    IS_ERR(profile_check(&m, &p, NULL, 0, "worker w1 on host b"), ERR_ABI,
           "worker w1 on host b: job.so needs libgeo.so.3, this machine does not have it");
    IS_ERR(profile_check(&m, &p, &geo, 1, "worker w1 on host b"), ERR_ABI,
           "worker w1 on host b: libgeo.so needs libm.so.6, this machine does not have it");
    geo.nneeds = 0;
    NO_ERR(profile_check(&m, &p, &geo, 1, "w"));
    p.n_library = 0;
    NO_ERR(profile_check(&m, &p, NULL, 0, "w"));
}

static const struct unit_test tests[] = {
    { "profile.what_is_asked_for_is_said", what_is_asked_for_is_said },
    { "profile.what_comes_along_is_not_needed", what_comes_along_is_not_needed },
    { "profile.the_only_one_may_be_missing", the_only_one_may_be_missing },
    { "profile.workers_are_compared", workers_are_compared },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "profile", tests);
}
