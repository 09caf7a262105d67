/* recorder -- see recorder.h */
#include "net/recorder.h"

void
recorder_copy(const volatile struct recorder *shared, struct recorder *ret)
{
    const volatile char *from = (const volatile char *)shared;
    char *to = (char *)ret;

    for (size_t i = 0; i < sizeof *ret; i++) /* each byte once: it may change under us */
        to[i] = from[i];
    if (ret->end.kind > RECORDER_GAVE_UP)
        ret->end.kind = RECORDER_RUNNING;
    if (ret->end.npcs > RECORDER_PCS)
        ret->end.npcs = RECORDER_PCS;
    if (ret->end.text_n > RECORDER_TEXT)
        ret->end.text_n = RECORDER_TEXT;
    if (ret->rec.first_n > RECORDER_FIRST)
        ret->rec.first_n = RECORDER_FIRST;
    if (ret->rec.known > RECORDER_KEY)
        ret->rec.known = RECORDER_UNKNOWN;
    if (ret->rec.kind > RECORDER_F64 || ret->rec.first_n < 8)
        ret->rec.kind = RECORDER_STR;
    ret->rec.cut = ret->rec.cut != 0;
}
