/* names -- what files of attempts are called: executors make them, drivers and other executors look for them. */
#ifndef EXECUTOR_NAMES_H
#define EXECUTOR_NAMES_H
#include <stdint.h>

#include "base/buf.h"

/* Appends "s3-p7-a0": a map output or a result, in the executor's folder. */
void names_output(struct buf *b, uint32_t stage, uint32_t partition, uint32_t attempt);
/* Appends "TMP/s3-part-00007.0": a part file before its attempt is accepted. */
void names_part(struct buf *b, const char *tmp, const char *suffix, uint32_t stage, uint32_t partition,
                uint32_t attempt);
#endif
