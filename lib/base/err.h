/*
 * err -- what went wrong, as a chain.
 *
 * A function that can fail returns `struct err *`: NULL is success.  Results leave by ret_* parameters,
 * which are set on success only.  Each caller may put its own sentence on top (err_wrap, TRY_OR); the
 * code of the innermost error stays and is the only thing that decides policy.
 *
 * Owner: whoever holds the pointer; err_free() or hand it on.  Threads: a chain belongs to one thread.
 * Memory: small and heap allocated; running out of memory for it aborts.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum err_code {
    ERR_NONE,
#define ERR(name, retry, exit) ERR_##name,
#include "base/err.def"
#undef ERR
    ERR_CODES
};

struct err {
    enum err_code code;
    char *msg;         /* short, lower-case, no full stop, values quoted */
    char *hint;        /* a sentence that says what to do, or NULL */
    struct err *cause; /* the error below, or NULL */
};

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(a, b) __attribute__((format(printf, a, b)))

/* A new error.  [any] */
struct err *err_new(enum err_code code, const char *fmt, ...) MUST_USE PRINTF_LIKE(2, 3);
struct err *err_newv(enum err_code code, const char *fmt, va_list ap) MUST_USE;
/* ERR_IO (ERR_LIMIT for ENOSPC, EDQUOT and EMFILE) with ": strerror" behind the sentence. */
struct err *err_errno(int errnum, const char *fmt, ...) MUST_USE PRINTF_LIKE(2, 3);
/* A sentence on top of cause, which it takes; NULL stays NULL. */
struct err *err_wrap_take(struct err *cause, const char *fmt, ...) MUST_USE PRINTF_LIKE(2, 3);
/* Sets the hint of e (taken from nobody: fmt is copied) and gives e back. */
struct err *err_hint(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* NULL is allowed. */
void err_free(struct err *e);
/* The chain as text, outermost first: "top: below: innermost"; the hint on a line of its own
 * ("\nhint: ...").  Returns a string for free(). */
char *err_text(const struct err *e);
const char *err_code_name(enum err_code code);
/* The code with that name, ERR_NONE if there is none. */
enum err_code err_code_of(const char *name);
bool err_code_retry(enum err_code code);
int err_code_exit(enum err_code code);

#define TRY(expr)                        \
    do {                                 \
        struct err *try_e_ = (expr);     \
        if (__builtin_expect(!!try_e_, 0)) \
            return try_e_;               \
    } while (0)
#define TRY_OR(expr, ...)                               \
    do {                                                \
        struct err *try_e_ = (expr);                    \
        if (__builtin_expect(!!try_e_, 0))              \
            return err_wrap_take(try_e_, __VA_ARGS__);  \
    } while (0)

/* Our own bug: always on, says where, aborts. */
#define ASSERT(cond) \
    (__builtin_expect(!!(cond), 1) ? (void)0 : err_assert_failed(#cond, __FILE__, __LINE__))
_Noreturn void err_assert_failed(const char *cond, const char *file, int line);
#endif
