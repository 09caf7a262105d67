/* What a runner may say to its executor: any bytes at all. */
#include <stddef.h>
#include <stdint.h>

#include "flow/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena a = { 0 };
    struct wire_done d;
    struct wire_open o;
    struct get g = GET_OF(data, n);
    struct buf b = { 0 };

    struct err *e = wire_get_done(data, n, &a, &d);
    if (!e) { /* what was understood must come out as it went in */
        wire_put_done(&b, &d);
        if (!d.err)
            ASSERT(b.n == n && !memcmp(b.p, data, n));
        err_free(d.err);
    }
    err_free(e);
    e = wire_get_open(&g, &o);
    if (!e)
        ASSERT(o.count <= WIRE_OPEN_MAX);
    err_free(e);
    g = GET_OF(data, n);
    struct wire_fetch f;
    e = wire_get_fetch(&g, &a, &f);
    if (!e) {
        b.n = 0;
        wire_put_fetch(&b, &f);
        ASSERT(b.n == n && !memcmp(b.p, data, n));
    }
    err_free(e);
    g = GET_OF(data, n);
    err_free(wire_get_err(&g));
    buf_fini(&b);
    arena_fini(&a);
    return 0;
}
