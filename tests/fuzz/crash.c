/* Fuzz target: the sentence on a death, made of a recorder page that a hostile runner wrote and of names
 * from hostile debug information. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "executor/crash_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct recorder raw = { 0 };
    struct crash_facts f = { .module = "m.so", .what = "partition 3", .input = n & 1 ? "input.txt" : NULL,
                             .timeout_ns = 1, .data_limit = 64 << 20 };
    size_t head = n < 4 ? n : 4, body = n - head < sizeof raw ? n - head : sizeof raw;

    f.death.why = head > 0 ? (enum runner_why)(p[0] % (RUNNER_NO_START + 1)) : RUNNER_DIED;
    f.death.status = head > 2 ? p[1] | p[2] << 8 : 0;
    memcpy(&raw, p + head, body);
    recorder_copy(&raw, &f.death.rec);
    char *names = strndup((const char *)p + head + body, n - head - body);
    if (crash__offsets(&f) > CRASH_FRAMES)
        abort();
    struct err *e = crash__text(&f, names);
    char *s = err_text(e);
    if (strlen(s) > 8192 + 4 * strlen(names))
        abort();
    free(s);
    err_free(e);
    free(names);
    return 0;
}
