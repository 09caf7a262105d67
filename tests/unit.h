/* unit -- the main of every room's test binary.
 *   tests/base                 all tests          tests/base -l            their names
 *   tests/base arena.grows     one test, in this process: gdb --args tests/base arena.grows */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H
#include <CUnit/CUnit.h>

struct unit_test {
    const char *name; /* group.what_it_shows */
    void (*run)(void);
};
/* Exit status: 0 when at least one test ran and none failed. */
int unit_main(int argc, char **argv, const char *room, const struct unit_test *tests);
#define UNIT_END { 0, 0 }
/* CUnit with both values printed when they differ. */
#define EQ_U64(got, want) unit_eq_u64((unsigned long long)(got), (unsigned long long)(want), #got, __FILE__, __LINE__)
#define EQ_STR(got, want) unit_eq_str((got), (want), #got, __FILE__, __LINE__)
void unit_eq_u64(unsigned long long got, unsigned long long want, const char *what, const char *file, int line);
void unit_eq_str(const char *got, const char *want, const char *what, const char *file, int line);
/* Asserts that e is NULL; prints and frees it otherwise. */
struct err;
#define NO_ERR(e) unit_no_err((e), #e, __FILE__, __LINE__)
/* Asserts that e (freed) has the code and that its text holds the words. */
#define IS_ERR(e, code, words) unit_is_err((e), (code), (words), #e, __FILE__, __LINE__)
void unit_no_err(struct err *e, const char *what, const char *file, int line);
void unit_is_err(struct err *e, int code, const char *words, const char *what, const char *file, int line);
#endif
