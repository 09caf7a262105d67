/* Fuzz target: memory B as a hostile runner may leave it.  The input is a list of writes into it;
 * between them the executor sends, receives and looks.  It must never read or write outside. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/quote.h"
#include "net/recorder.h"
#include "net/ring.h"
#include "net/ring_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void
look(struct ring *r)
{
    struct ring_frame f;
    struct recorder rec;
    char text[300];

    for (int i = 0; i < 8 && ring_recv(r, &f) == RING_FRAME; i++) {
        char sum = 0;

        if (f.n > RING_FRAME_MAX)
            abort();
        for (uint32_t k = 0; k < f.n + 64; k++)
            sum += f.p[k];
        __asm__ volatile("" :: "r"(sum));
    }
    if (ring_unread(r) > RING_BYTES)
        abort();
    (void)!ring_send(r, 1, "0123456789", 10);
    recorder_copy(ring_recorder(r), &rec);
    if (rec.end.npcs > RECORDER_PCS || rec.rec.first_n > RECORDER_FIRST || rec.end.kind > RECORDER_GAVE_UP)
        abort();
    quote_text(rec.rec.first, rec.rec.first_n, (int)rec.rec.cut, text, sizeof text);
    if (strlen(text) >= sizeof text)
        abort();
}

/* Writes: place u16 (low bit: an index, with a value near what it should be), bytes u8, the bytes. */
int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct ring *ex, *ru;
    const uint8_t *end = p + n;

    if (ring_pair_new(&ex) || ring_attach(ring_fd_a(ex), ring_fd_b(ex), -1, -1, &ru))
        abort();
    _Atomic uint32_t *index[4] = { &ru->b->done_head, &ru->b->launch_tail, &ru->b->done_head,
                                   &ru->b->sleeping };
    while (end - p >= 4) {
        uint16_t at = (uint16_t)(p[0] | p[1] << 8);
        size_t len = p[2] < end - p - 3 ? p[2] : (size_t)(end - p - 3);

        if (at & 1) {
            uint32_t step = (uint32_t)(int8_t)p[2] * (at & 8 ? 8 : 1);

            *index[at >> 1 & 3] += at & 16 ? step << 8 : step;
            p += 3;
        } else if (at & 2) {
            (void)!ring_send(ru, at, p + 3, len);
            p += 3 + len;
        } else {
            size_t where = ((size_t)at >> 2) * 8 % (sizeof *ru->b - 255);

            memcpy((char *)ru->b + where, p + 3, len);
            p += 3 + len;
        }
        look(ex);
    }
    ring_free(ru);
    ring_free(ex);
    return 0;
}
