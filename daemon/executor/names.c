/* names -- see names.h */
#include "executor/names.h"

void
names_output(struct buf *b, uint32_t stage, uint32_t partition, uint32_t attempt)
{
    buf_printf(b, "s%u-p%u-a%u", stage, partition, attempt);
}

void
names_part(struct buf *b, const char *tmp, const char *suffix, uint32_t stage, uint32_t partition, uint32_t attempt)
{
    buf_printf(b, "%s/s%u-part-%05u%s.%u", tmp, stage, partition, suffix, attempt);
}
