/* Fuzz target: everything that reads a module before it is loaded. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "flow/module.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct arena a = { 0 };
    struct module_profile host;
    struct module_info m;
    struct module_list l;

    module_profile_host(&host);
    host.has_library = NULL;
    struct err *e = module_parse(p, n, "fuzz.so", &a, &m);

    if (!e) {
        volatile size_t sum = m.build_id_n + (m.rpath ? strlen(m.rpath) : 0);

        for (size_t i = 0; i < m.nexports; i++)
            sum += strlen(m.exports[i]);
        err_free(module_check(&m, &host));
        e = module_list(&m, &a, &l);
        for (uint32_t i = 0; !e && i < l.nitems; i++)
            sum += strlen(l.items[i].name) + strlen(l.items[i].file) + (l.items[i].in ? strlen(l.items[i].in) : 0);
        (void)sum;
    }
    err_free(e);
    arena_fini(&a);
    return 0;
}
