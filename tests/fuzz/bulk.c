/* Fuzz target: the bytes of a bulk connection, as a hostile server or client may send them, in pieces.  First byte:
 * which side reads and how much arrives at once. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/bulk_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static struct buf again;

static void
same(const uint8_t *p, size_t used)
{
    if (again.n != used || memcmp(again.p, p, used) != 0) /* what was understood can be said again */
        abort();
    again.n = 0;
}

/* One message of a client; the bytes it took, 0: none whole, or bad. */
static size_t
from_client(const uint8_t *p, size_t n, bool first)
{
    size_t used = 0;

    if (first) {
        struct bulk_auth a;
        if (bulk__get_auth(p, n, &a, &used) != BULK_WHOLE)
            return 0;
        bulk__put_auth(&again, &a);
    } else {
        struct bulk_request r;
        if (bulk__get_request(p, n, &r, &used) != BULK_WHOLE)
            return 0;
        bulk__put_request(&again, r.id, r.name, r.offset, r.length);
        uint64_t size = r.id, offset = r.offset, length = r.length;
        bulk__clip(size, &offset, &length);
        if (offset > size || length > size - offset || length > r.length)
            abort();
    }
    if (used > n)
        abort();
    same(p, used);
    return used;
}

static size_t
from_server(const uint8_t *p, size_t n, unsigned nth)
{
    struct bulk_hello h;
    struct bulk_verdict v;
    struct bulk_answer a;
    size_t used = 0;

    if (nth == 0 && bulk__get_hello(p, n, &h, &used) == BULK_WHOLE)
        bulk__put_hello(&again, &h);
    else if (nth == 1 && bulk__get_verdict(p, n, &v, &used) == BULK_WHOLE)
        bulk__put_verdict(&again, &v);
    else if (nth > 1 && bulk__get_answer(p, n, &a, &used) == BULK_WHOLE)
        bulk__put_answer(&again, &a);
    else
        return 0;
    if (used > n)
        abort();
    same(p, used);
    if (nth > 1) { /* the body: as much of it as there is */
        if (a.offset > a.size || a.length > a.size - a.offset)
            abort();
        used += a.length < n - used ? (size_t)a.length : n - used;
    }
    return used;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    if (n == 0)
        return 0;
    bool server = p[0] & 1;
    size_t step = 1 + (p[0] >> 1), at = 1, have = 1;
    unsigned nth = 0;

    while (have < n) {
        have = have + step < n ? have + step : n;
        uint8_t *exact = malloc(have - at); /* reads behind the end are seen */
        if (!exact && have > at)
            abort();
        memcpy(exact, p + at, have - at);
        for (size_t used = 1, off = 0; used;) {
            used = server ? from_server(exact + off, have - at, nth) : from_client(exact + off, have - at, nth == 0);
            nth += used != 0;
            off += used;
            at += used;
        }
        free(exact);
    }
    again.n = 0;
    return 0;
}
