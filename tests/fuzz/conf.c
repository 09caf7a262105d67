/* Fuzz target: the properties parser and everything behind it. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct conf *c = conf_new();
    struct err *e = conf_set_text(c, CONF_PROPERTIES, (const char *)p, n, "fuzz");

    for (size_t i = 0; i < conf_count(c); i++)
        if (!conf_item(c, i).value || !conf_item(c, i).origin)
            abort();
    if (e)
        free(err_text(e));
    err_free(e);
    conf_free(c);
    return 0;
}
