/* unit -- see unit.h */
#include "unit.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

int
unit_main(int argc, char **argv, const char *room, const struct unit_test *tests)
{
    const char *only = argc > 1 ? argv[1] : NULL;

    if (only && !strcmp(only, "-l")) {
        for (const struct unit_test *t = tests; t->name; t++)
            puts(t->name);
        return 0;
    }
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 2;
    CU_pSuite suite = CU_add_suite(room, NULL, NULL);
    for (const struct unit_test *t = tests; t->name; t++)
        if (!only || !strcmp(only, t->name))
            CU_add_test(suite, t->name, t->run);
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    unsigned ran = CU_get_number_of_tests_run();
    int bad = CU_get_number_of_failures() > 0 || ran == 0;
    if (ran == 0)
        fprintf(stderr, "%s: no test is named \"%s\"; -l lists them\n", argv[0], only ? only : "");
    CU_cleanup_registry();
    return bad;
}

void
unit_eq_u64(unsigned long long got, unsigned long long want, const char *what, const char *file, int line)
{
    if (got != want)
        fprintf(stderr, "\n  %s:%d: %s is %llu, not %llu\n", file, line, what, got, want);
    CU_assertImplementation(got == want, (unsigned)line, what, file, "", CU_FALSE);
}

void
unit_eq_str(const char *got, const char *want, const char *what, const char *file, int line)
{
    int same = got && want && !strcmp(got, want);

    if (!same)
        fprintf(stderr, "\n  %s:%d: %s is\n    \"%s\", not\n    \"%s\"\n", file, line, what, got ? got : "(null)", want);
    CU_assertImplementation(same, (unsigned)line, what, file, "", CU_FALSE);
}

void
unit_no_err(struct err *e, const char *what, const char *file, int line)
{
    if (e) {
        char *s = err_text(e);

        fprintf(stderr, "\n  %s:%d: %s failed: %s\n", file, line, what, s);
        free(s);
    }
    CU_assertImplementation(e == NULL, (unsigned)line, what, file, "", CU_FALSE);
    err_free(e);
}

void
unit_is_err(struct err *e, int code, const char *words, const char *what, const char *file, int line)
{
    char *s = e ? err_text(e) : strdup("(no error)");
    int ok = e && (int)e->code == code && strstr(s, words);

    if (!ok)
        fprintf(stderr, "\n  %s:%d: %s gave %s \"%s\",\n    not %s with \"%s\"\n", file, line, what,
                e ? err_code_name(e->code) : "-", s, err_code_name((enum err_code)code), words);
    CU_assertImplementation(ok, (unsigned)line, what, file, "", CU_FALSE);
    free(s);
    err_free(e);
}
