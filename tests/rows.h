/* rows -- columns of made-up values for the tests of blocks, and what compares them. */
#ifndef TESTS_ROWS_H
#define TESTS_ROWS_H
#include "block/block.h"

/* One of each shape: SCHEMAS of them. */
extern const struct block_schema schemas[];
enum { SCHEMAS = 9 };

/* n rows, a function of seed.  shape 0..6: values that need different encodings, strings of different lengths. */
struct block_cols make_cols(struct arena *a, struct block_schema s, uint32_t n, unsigned shape, uint64_t seed);
/* Are the rows of got those of want from `at` on? */
bool same_rows(struct block_schema s, const struct block_cols *want, uint32_t at, const struct block_cols *got);
/* Reads every byte behind the strings that may be read. */
uint64_t touch_padding(struct block_schema s, const struct block_cols *c);
/* An empty file in memory. */
int temp_fd(void);
/* Writes cols in slices of odd sizes as a run. */
struct block_run_info write_run(int fd, const struct block_run_opts *o, const struct block_cols *cols);
/* Everything a damaged file can do is to give an error: reads all of it as "bad", returns the error. */
struct err *read_all(int fd);
#endif
