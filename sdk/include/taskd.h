/*
 * taskd.h -- write distributed data processing in C11 (or C++20).
 *
 * This header is the manual.  A job is one shared object; it links against nothing and exports one symbol,
 * which TD_PLUGIN at the end of your file makes:
 *
 *     #include <taskd.h>
 *
 *     static void words(td_task *t, td_str line, td_out_str_i64 *out)
 *     {
 *         td_str w;
 *         TD_EACH_WORD(w, line)
 *             td_emit(out, w, 1);
 *     }
 *     TD_FLAT_MAP(words, str, str_i64);
 *
 *     static int job(td_job *j, int argc, char **argv)
 *     {
 *         if (argc != 3)
 *             return TD_USAGE(j, "wordcount INPUT OUTPUT");
 *         td_ds *lines = td_text_file(j, argv[1]);
 *         td_ds *counts = td_sum_by_key(td_flat_map(lines, words));
 *         return td_save_text(counts, argv[2]);
 *     }
 *     TD_PLUGIN("wordcount", "1.0", job);
 *
 *     taskd-cc wordcount.c -o wordcount.so
 *     taskd-submit --master 'local[*]' wordcount.so INPUT OUTPUT
 *
 * Contents: 1 values  2 chain functions  3 inside a task  4 accumulators  5 broadcasts, files  6 strings
 *           7 the driver: datasets and actions  8 the module  9 what crosses the border (the ABI; you need
 *           not read it)
 *
 * Threads: your functions run in a process of their own, one at a time; nothing is shared with another task.
 * Errors: nothing here longjmps.  td_bad and td_fail set a flag and return; return from your function then.
 * Names that end in an underscore are not for you.
 */
#ifndef TASKD_H
#define TASKD_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#pragma GCC system_header
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __cplusplus
#include <exception>
#include <type_traits>
#define TD_C_ extern "C"
#define TD_BEGIN_ extern "C" {
#define TD_END_ }
#define TD_ASSERT_ static_assert
#else
#define TD_C_
#define TD_BEGIN_
#define TD_END_
#define TD_ASSERT_ _Static_assert
#endif
#define TD_INLINE_ static inline __attribute__((unused))
#define TD_COLD_ static __attribute__((unused, cold, noinline))
#define TD_UNLIKELY_(x) __builtin_expect(!!(x), 0)
#define TD_PRINTF_(a, b) __attribute__((format(printf, a, b)))
TD_BEGIN_

/* The ABI.  While the major is 0, host and module must agree exactly. */
#define TD_ABI_MAJOR 0
#define TD_ABI_MINOR 2

/* ================================================================= 1. values
 *
 * A dataset holds values of one type: u64, i64, f64, str, or a pair of two of them, written KEY_VALUE
 * (str_i64, u64_f64, ...).  These tokens appear in every macro below; the C types are td_u64, td_str,
 * td_str_i64 and so on.  A pair is struct { td_KEY key; td_VALUE val; }.
 *
 * Keys compare by type: numbers by value (-0 equals 0, all NaNs are one key and sort last), strings by bytes. */
typedef struct td_str {
    const char *p; /* bytes; NOT NUL-terminated; 64 bytes behind p + n may be read (not in unit tests under ASan) */
    size_t n;
} td_str;
typedef uint64_t td_u64;
typedef int64_t td_i64;
typedef double td_f64;
#define td_lit(s) ((td_str){ "" s, sizeof(s) - 1 }) /* a string literal as td_str */
#define TD_S(s) (int)(s).n, (s).p                   /* printf("%.*s", TD_S(str)) */

enum { TD_K_NONE, TD_K_U64, TD_K_I64, TD_K_F64, TD_K_STR };
typedef struct td_type { /* what a token stands for */
    uint32_t size;       /* bytes of one value in memory */
    uint8_t key, val;    /* TD_K_*; val is TD_K_NONE for single values */
    const char *name;
} td_type;

/* Handles.  All of them live as long as the call or the job that gave them to you; you free nothing. */
typedef struct td_host td_host;
typedef struct td_job td_job;   /* the running job, in job() */
typedef struct td_ds td_ds;     /* a dataset: a node of the lazy graph */
typedef struct td_task td_task; /* the running attempt, in your functions */
typedef struct td_out td_out;   /* where emitted rows go; typed as td_out_TOKEN */
typedef struct td_item td_item;

/* Columns of a batch, read only.  Valid until the function returns. */
typedef struct td_batch {
    uint32_t n;         /* rows */
    uint32_t flags;     /* TD_B_TEXT */
    const void *col[2]; /* [0] values or keys (const td_T *), [1] values of pairs */
    td_str text;        /* TD_B_TEXT: the raw lines the rows were cut from, line ends included */
    uint64_t first;     /* number of the first row in its partition, from 0 */
} td_batch;
enum { TD_B_TEXT = 1 };

struct td_out {
    uint32_t n, cap;        /* rows held, room for; own() may lower cap to n + 1 */
    void *col[2];           /* the columns being filled: td_T * */
    uintptr_t lo;           /* strings in [lo, lo + span) stay where they are; others are copied */
    size_t span;
    void (*full)(td_out *); /* hands the rows before mark on; n becomes what is left */
    td_str (*own)(td_out *, const char *, size_t);
    td_task *task;
    uint32_t mark;          /* rows before mark are final */
    uint32_t over;          /* the current record outgrew a whole batch */
};

typedef union td_slot_ { int64_t i; double f; const void *p; } td_slot_;
typedef struct td_undo_ { uint32_t slot; td_slot_ old; } td_undo_;
struct td_task { /* the public part; the host's part follows */
    const td_host *h;
    uint32_t stop;      /* see td_stop */
    uint32_t bad;       /* 1: td_bad, 2: td_fail */
    uint32_t row;       /* row of the batch being worked on: a crash report reads it */
    uint32_t undo_n, undo_cap;
    td_undo_ *undo;     /* accumulators as they were before this record touched them */
    char *tmp, *tmp_end;
    const void *arg;
    size_t arg_size;
    void *state;
    td_slot_ *slot;     /* one per item of the module */
};

struct td_item {
    uint32_t size;       /* of the whole item */
    uint16_t kind, flags;
    const char *name, *file;
    uint32_t line, pad_;
};
enum { TD_I_MAP = 1, TD_I_FILTER, TD_I_FOLD, TD_I_GROUP, TD_I_ACC, TD_I_BROADCAST };
enum { TD_F_TEXT = 1, TD_F_BATCH = 2 }; /* td_item.flags of a TD_I_MAP */

typedef struct td_iter {
    bool (*next)(struct td_iter *, void *val);
} td_iter;

typedef struct td_fn {
    td_item i;
    const td_type *in, *out;
    int (*run)(td_task *, const td_batch *, td_out *);
    void (*fold)(td_task *, void *const *acc, const void *val, uint32_t n);
    void (*group)(td_task *, const void *key, td_iter *, td_out *);
    size_t state_size;             /* bytes, zeroed, one per attempt: see td_state */
    int (*setup)(td_task *);       /* before the first record; non-zero or td_fail fails the attempt */
    void (*teardown)(td_task *);   /* after the last record of an attempt that succeeded so far */
} td_fn;

typedef struct td_acc {
    td_item i;
    uint32_t op, pad_;
} td_acc;
enum { TD_A_SUM = 1, TD_A_MAX, TD_A_MIN, TD_A_FSUM };

typedef struct td_bc {
    td_item i;
    void *(*build)(td_task *, td_str bytes); /* NULL: tasks get the bytes */
    void (*drop)(void *);                    /* NULL: there is nothing to do */
} td_bc;

/* --------------------------------------------------------- typing machinery */
#define TD_TYPE_(T) (&td_type_##T)
TD_INLINE_ void td_own_str_(td_out *o, td_str *s)
{
    if (TD_UNLIKELY_((uintptr_t)s->p - o->lo >= o->span))
        *s = o->own(o, s->p, s->n);
}
TD_INLINE_ void td_own_nop_(td_out *o, void *v) { (void)o; (void)v; }
#ifdef __cplusplus
TD_END_
static inline void td_own_(td_out *o, td_str *s) { td_own_str_(o, s); }
template <class T> static inline void td_own_(td_out *, T *) {}
#define TD_OWN_(o, s) td_own_(o, s)
TD_BEGIN_
#else
#define TD_OWN_(o, s) _Generic((s), td_str *: td_own_str_, default: td_own_nop_)((o), (s))
#endif
#define TD_SCALAR_(T, KIND)                                                                          \
    static const td_type td_type_##T __attribute__((unused)) = { sizeof(td_##T), KIND, TD_K_NONE, #T }; \
    typedef union td_out_##T { td_out o; td_##T *t_; } td_out_##T;                                     \
    typedef union td_iter_##T { td_iter i; td_##T *t_; } td_iter_##T;                                  \
    TD_INLINE_ td_##T td_load_##T(const td_batch *b, uint32_t i) { return ((const td_##T *)b->col[0])[i]; } \
    TD_INLINE_ void td_store_##T(td_out *o, uint32_t i, td_##T v) { ((td_##T *)o->col[0])[i] = v; }    \
    TD_INLINE_ void td_keep_##T(td_out *o, uint32_t i) { TD_OWN_(o, (td_##T *)o->col[0] + i); }
#define TD_PAIR_(K, V, KK, VK)                                                                       \
    typedef struct td_##K##_##V { td_##K key; td_##V val; } td_##K##_##V;                              \
    static const td_type td_type_##K##_##V __attribute__((unused)) = { sizeof(td_##K##_##V), KK, VK, #K "_" #V }; \
    typedef union td_out_##K##_##V { td_out o; td_##K##_##V *t_; } td_out_##K##_##V;                   \
    TD_INLINE_ td_##K##_##V td_load_##K##_##V(const td_batch *b, uint32_t i)                           \
    {                                                                                                \
        td_##K##_##V r = { ((const td_##K *)b->col[0])[i], ((const td_##V *)b->col[1])[i] };           \
        return r;                                                                                    \
    }                                                                                                \
    TD_INLINE_ void td_store_##K##_##V(td_out *o, uint32_t i, td_##K##_##V v)                          \
    {                                                                                                \
        ((td_##K *)o->col[0])[i] = v.key;                                                            \
        ((td_##V *)o->col[1])[i] = v.val;                                                            \
    }                                                                                                \
    TD_INLINE_ void td_keep_##K##_##V(td_out *o, uint32_t i)                                           \
    {                                                                                                \
        TD_OWN_(o, (td_##K *)o->col[0] + i);                                                         \
        TD_OWN_(o, (td_##V *)o->col[1] + i);                                                         \
    }
TD_SCALAR_(u64, TD_K_U64) TD_SCALAR_(i64, TD_K_I64) TD_SCALAR_(f64, TD_K_F64) TD_SCALAR_(str, TD_K_STR)
#define TD_PAIRS_(K, KK) \
    TD_PAIR_(K, u64, KK, TD_K_U64) TD_PAIR_(K, i64, KK, TD_K_I64) TD_PAIR_(K, f64, KK, TD_K_F64) TD_PAIR_(K, str, KK, TD_K_STR)
TD_PAIRS_(u64, TD_K_U64) TD_PAIRS_(i64, TD_K_I64) TD_PAIRS_(f64, TD_K_F64) TD_PAIRS_(str, TD_K_STR)

#ifdef __cplusplus
#define TD_SIG_(fn, R, ...) \
    TD_ASSERT_(std::is_same<decltype(&fn), R (*)(__VA_ARGS__)>::value, #fn ": expected " #R " " #fn "(" #__VA_ARGS__ ")")
#define TD_TRY_ try {
#define TD_CATCH_(t, result)                                                                          \
    } catch (const std::exception &e_) { td_fail(t, "uncaught C++ exception: %s", e_.what()); return result; \
    } catch (...) { td_fail(t, "uncaught C++ exception"); return result; }
#else
#define TD_SIG_(fn, R, ...) \
    TD_ASSERT_(_Generic(&fn, R (*)(__VA_ARGS__): 1, default: 0), #fn ": expected " #R " " #fn "(" #__VA_ARGS__ ")")
#define TD_TRY_
#define TD_CATCH_(t, result)
#endif
/* x, which must be a T * (TD_IN_: or const T *); a mere ?: would let the C compiler turn both into void *. */
#ifdef __cplusplus
#define TD_RET_(T, x) (1 ? (x) : (T *)0)
#define TD_IN_(T, x) (1 ? (x) : (const T *)0)
#else
#define TD_RET_(T, x) _Generic((x), T *: (x), void *: (x))
#define TD_IN_(T, x) _Generic((x), T *: (x), const T *: (x), void *: (x))
#endif
#define TD_VOID_

/* ============================================================ 2. chain functions
 *
 * Write a static function, then register it on a line of its own.  A prototype that does not fit is a compile
 * error that shows the expected one.  IN, OUT, T, K, V are tokens of section 1.
 *
 *   TD_MAP(fn, IN, OUT)           td_OUT fn(td_task *, td_IN)                      one in, one out
 *   TD_FLAT_MAP(fn, IN, OUT)      void   fn(td_task *, td_IN, td_out_OUT *)        one in, any number out by td_emit
 *   TD_FILTER(fn, T)              bool   fn(td_task *, td_T)                       true keeps it
 *   TD_REDUCE(fn, T)              td_T   fn(td_task *, td_T, td_T)                 associative and commutative
 *   TD_GROUP(fn, K, V, OUT)       void   fn(td_task *, td_K, td_iter_V *, td_out_OUT *)   all values of a key
 *   TD_MAP_BATCH(fn, IN, OUT)     int    fn(td_task *, const td_batch *, td_out_OUT *)    columns; 0 is success
 *   TD_MAP_TEXT(fn, OUT)          int    fn(td_task *, td_str lines, td_out_OUT *) whole lines, neither cut nor
 *                                 counted (they are not in input_records); 0 is success
 *
 * Options follow as designated initialisers: TD_MAP(fn, str, str, .state_size = sizeof(struct s), .setup = f).
 * Your function is inlined into a loop over a batch that these macros generate here, in your file. */
#if defined(__clang__) || __GNUC__ >= 11
#define TD_KEEP_ __attribute__((used, retain, section("td_items")))
#else
#define TD_KEEP_ __attribute__((used, section("td_items")))
#endif
/* The linker makes these two around the section; weak, so that a module without items links as well. */
extern const td_item *const __start_td_items[] __attribute__((weak, visibility("hidden")));
extern const td_item *const __stop_td_items[] __attribute__((weak, visibility("hidden")));
#define TD_ITEM_(T, K, FL, name) { (uint32_t)sizeof(T), K, FL, #name, __FILE__, __LINE__, 0 }
#define TD_REF_(prefix, fn) static const td_item *const td_ref_##fn TD_KEEP_ = &prefix##fn.i

/* Takes the rows and the accumulator updates of a bad record back.  true: the attempt has failed. */
TD_COLD_ bool td_reject_(td_task *t, td_out *o);

#define TD_FLAT_MAP(fn, IN, ...) TD_FLAT_MAP_(fn, IN, __VA_ARGS__, )
#define TD_FLAT_MAP_(fn, IN, OUT, ...)                                                              \
    TD_SIG_(fn, void, td_task *, td_##IN, td_out_##OUT *);                                          \
    static int td_run_##fn(td_task *t_, const td_batch *b_, td_out *o_)                             \
    {                                                                                               \
        TD_TRY_                                                                                     \
        for (uint32_t i_ = 0, n_ = b_->n; i_ < n_; i_++) {                                          \
            t_->row = i_;                                                                           \
            t_->undo_n = 0;                                                                         \
            o_->mark = o_->n;                                                                       \
            o_->over = 0;                                                                           \
            fn(t_, td_load_##IN(b_, i_), (td_out_##OUT *)o_);                                       \
            if (TD_UNLIKELY_(t_->bad) && td_reject_(t_, o_))                                        \
                return -1;                                                                          \
        }                                                                                           \
        o_->mark = o_->n;                                                                           \
        return 0;                                                                                   \
        TD_CATCH_(t_, -1)                                                                           \
    }                                                                                               \
    static const td_fn td_map_fn_##fn = { .i = TD_ITEM_(td_fn, TD_I_MAP, 0, fn), .in = TD_TYPE_(IN), .out = TD_TYPE_(OUT), \
        .run = td_run_##fn, .fold = 0, .group = 0, __VA_ARGS__ };                                   \
    TD_REF_(td_map_fn_, fn)

#define TD_MAP(fn, IN, ...) TD_MAP_(fn, IN, __VA_ARGS__, )
#define TD_MAP_(fn, IN, OUT, ...)                                                                   \
    TD_SIG_(fn, td_##OUT, td_task *, td_##IN);                                                      \
    TD_ONE_BY_ONE_(fn, IN, td_store_##OUT(o_, j_, fn(t_, td_load_##IN(b_, i_))); td_keep_##OUT(o_, j_); j_++, j_--) \
    static const td_fn td_map_fn_##fn = { .i = TD_ITEM_(td_fn, TD_I_MAP, 0, fn), .in = TD_TYPE_(IN), .out = TD_TYPE_(OUT), \
        .run = td_run_##fn, .fold = 0, .group = 0, __VA_ARGS__ };                                   \
    TD_REF_(td_map_fn_, fn)

#define TD_FILTER(fn, ...) TD_FILTER_(fn, __VA_ARGS__, )
#define TD_FILTER_(fn, IN, ...)                                                                     \
    TD_SIG_(fn, bool, td_task *, td_##IN);                                                          \
    TD_ONE_BY_ONE_(fn, IN, td_##IN r_ = td_load_##IN(b_, i_); td_store_##IN(o_, j_, r_); td_keep_##IN(o_, j_); \
                   uint32_t k_ = fn(t_, r_); j_ += k_, j_ -= k_)                                    \
    static const td_fn td_filter_fn_##fn = { .i = TD_ITEM_(td_fn, TD_I_FILTER, 0, fn), .in = TD_TYPE_(IN), .out = TD_TYPE_(IN), \
        .run = td_run_##fn, .fold = 0, .group = 0, __VA_ARGS__ };                                   \
    TD_REF_(td_filter_fn_, fn)

/* At most one row out per row in: the room is checked once for a run of rows. */
#define TD_ONE_BY_ONE_(fn, IN, body, take_back)                                                     \
    static int td_run_##fn(td_task *t_, const td_batch *b_, td_out *o_)                             \
    {                                                                                               \
        TD_TRY_                                                                                     \
        for (uint32_t i_ = 0, n_ = b_->n; i_ < n_;) {                                               \
            uint32_t j_ = o_->n, room_ = o_->cap - j_, end_ = i_ + (room_ < n_ - i_ ? room_ : n_ - i_); \
            for (; i_ < end_ && j_ < o_->cap; i_++) {                                               \
                t_->row = i_;                                                                       \
                t_->undo_n = 0;                                                                     \
                body;                                                                               \
                if (TD_UNLIKELY_(t_->bad)) {                                                        \
                    take_back;                                                                      \
                    o_->n = o_->mark = j_;                                                          \
                    o_->over = 0;                                                                   \
                    if (td_reject_(t_, o_))                                                         \
                        return -1;                                                                  \
                }                                                                                   \
            }                                                                                       \
            o_->n = o_->mark = j_;                                                                  \
            if (j_ >= o_->cap)                                                                      \
                o_->full(o_);                                                                       \
        }                                                                                           \
        return 0;                                                                                   \
        TD_CATCH_(t_, -1)                                                                           \
    }

#define TD_MAP_BATCH(fn, IN, ...) TD_MAP_BATCH_(fn, IN, __VA_ARGS__, )
#define TD_MAP_BATCH_(fn, IN, OUT, ...)                                                             \
    TD_SIG_(fn, int, td_task *, const td_batch *, td_out_##OUT *);                                  \
    static int td_run_##fn(td_task *t_, const td_batch *b_, td_out *o_)                             \
    {                                                                                               \
        TD_TRY_                                                                                     \
        t_->row = 0;                                                                                \
        return fn(t_, b_, (td_out_##OUT *)o_);                                                      \
        TD_CATCH_(t_, -1)                                                                           \
    }                                                                                               \
    static const td_fn td_map_fn_##fn = { .i = TD_ITEM_(td_fn, TD_I_MAP, TD_F_BATCH, fn), .in = TD_TYPE_(IN), \
        .out = TD_TYPE_(OUT), .run = td_run_##fn, .fold = 0, .group = 0, __VA_ARGS__ };             \
    TD_REF_(td_map_fn_, fn)

#define TD_MAP_TEXT(fn, ...) TD_MAP_TEXT_(fn, __VA_ARGS__, )
#define TD_MAP_TEXT_(fn, OUT, ...)                                                                  \
    TD_SIG_(fn, int, td_task *, td_str, td_out_##OUT *);                                            \
    static int td_run_##fn(td_task *t_, const td_batch *b_, td_out *o_)                             \
    {                                                                                               \
        TD_TRY_                                                                                     \
        t_->row = 0;                                                                                \
        return fn(t_, b_->text, (td_out_##OUT *)o_);                                                \
        TD_CATCH_(t_, -1)                                                                           \
    }                                                                                               \
    static const td_fn td_map_fn_##fn = { .i = TD_ITEM_(td_fn, TD_I_MAP, TD_F_TEXT, fn), .in = TD_TYPE_(str), \
        .out = TD_TYPE_(OUT), .run = td_run_##fn, .fold = 0, .group = 0, __VA_ARGS__ };             \
    TD_REF_(td_map_fn_, fn)

#define TD_REDUCE(fn, ...) TD_REDUCE_(fn, __VA_ARGS__, )
#define TD_REDUCE_(fn, T, ...)                                                                      \
    TD_SIG_(fn, td_##T, td_task *, td_##T, td_##T);                                                 \
    typedef td_##T td_reduce_t_##fn;                                                                \
    static void td_fold_##fn(td_task *t_, void *const *acc_, const void *val_, uint32_t n_)         \
    {                                                                                               \
        TD_TRY_                                                                                     \
        for (uint32_t i_ = 0; i_ < n_ && !t_->bad; i_++) {                                          \
            t_->row = i_;                                                                           \
            *(td_##T *)acc_[i_] = fn(t_, *(const td_##T *)acc_[i_], ((const td_##T *)val_)[i_]);    \
        }                                                                                           \
        TD_CATCH_(t_, TD_VOID_)                                                                     \
    }                                                                                               \
    static const td_fn td_fold_fn_##fn = { .i = TD_ITEM_(td_fn, TD_I_FOLD, 0, fn), .in = TD_TYPE_(T), .out = TD_TYPE_(T), \
        .run = 0, .fold = td_fold_##fn, .group = 0, __VA_ARGS__ };                                  \
    TD_REF_(td_fold_fn_, fn)

#define TD_GROUP(fn, K, V, ...) TD_GROUP_(fn, K, V, __VA_ARGS__, )
#define TD_GROUP_(fn, K, V, OUT, ...)                                                               \
    TD_SIG_(fn, void, td_task *, td_##K, td_iter_##V *, td_out_##OUT *);                            \
    static void td_group_##fn(td_task *t_, const void *k_, td_iter *it_, td_out *o_)                \
    {                                                                                               \
        TD_TRY_                                                                                     \
        t_->undo_n = 0;                                                                             \
        o_->mark = o_->n;                                                                           \
        o_->over = 0;                                                                               \
        fn(t_, *(const td_##K *)k_, (td_iter_##V *)it_, (td_out_##OUT *)o_);                        \
        if (!(TD_UNLIKELY_(t_->bad) && td_reject_(t_, o_)))                                         \
            o_->mark = o_->n;                                                                       \
        TD_CATCH_(t_, TD_VOID_)                                                                     \
    }                                                                                               \
    static const td_fn td_group_fn_##fn = { .i = TD_ITEM_(td_fn, TD_I_GROUP, 0, fn), .in = TD_TYPE_(K##_##V), \
        .out = TD_TYPE_(OUT), .run = 0, .fold = 0, .group = td_group_##fn, __VA_ARGS__ };           \
    TD_REF_(td_group_fn_, fn)

/* td_emit(out, value) or td_emit(out, key, val): adds a row.  Acts as if it copied: strings may lie in the
 * input, in td_tmp memory or on your stack.  Costs a few stores. */
#define TD_PICK_EMIT_(a, b, c, ...) c
#define td_emit(out, ...) TD_PICK_EMIT_(__VA_ARGS__, td_emit_kv_, td_emit_v_, )(out, __VA_ARGS__)
#ifdef __cplusplus
#define TD_NO_POINTER_(v)
#else /* where the compiler would only warn */
#define TD_NO_POINTER_(v) \
    TD_ASSERT_(__builtin_classify_type(v) != 5, "td_emit of a pointer: strings are td_str, see td_lit and td_cstr")
#endif
#define td_emit_v_(out, v)                                                                           \
    do {                                                                                             \
        TD_NO_POINTER_(v);                                                                           \
        td_out *o_ = &(out)->o;                                                                      \
        uint32_t i_ = o_->n;                                                                         \
        __typeof__(*(out)->t_) *v_ = (__typeof__(*(out)->t_) *)o_->col[0] + i_;                        \
        *v_ = (v);                                                                                   \
        TD_OWN_(o_, v_);                                                                             \
        o_->n = i_ + 1;                                                                              \
        if (TD_UNLIKELY_(i_ + 1 == o_->cap))                                                          \
            o_->full(o_);                                                                            \
    } while (0)
#define td_emit_kv_(out, k, v)                                                                       \
    do {                                                                                             \
        TD_NO_POINTER_(k);                                                                           \
        TD_NO_POINTER_(v);                                                                           \
        td_out *o_ = &(out)->o;                                                                      \
        uint32_t i_ = o_->n;                                                                         \
        __typeof__((out)->t_->key) *k_ = (__typeof__((out)->t_->key) *)o_->col[0] + i_;                \
        __typeof__((out)->t_->val) *v_ = (__typeof__((out)->t_->val) *)o_->col[1] + i_;                \
        *k_ = (k);                                                                                   \
        *v_ = (v);                                                                                   \
        TD_OWN_(o_, k_);                                                                             \
        TD_OWN_(o_, v_);                                                                             \
        o_->n = i_ + 1;                                                                              \
        if (TD_UNLIKELY_(i_ + 1 == o_->cap))                                                          \
            o_->full(o_);                                                                            \
    } while (0)
/* In batch and text functions that write out->o.col[] themselves: td_keep_TOKEN(&out->o, row) behind each row that
 * holds strings; when out->o.n is out->o.cap, this hands the full columns on: go on at out->o.n. */
TD_INLINE_ void td_flush(td_out *o)
{
    o->mark = o->n;
    o->full(o);
}
/* The next value of a group, false behind the last.  A string is valid until the next call. */
#define td_next(it, v) ((it)->i.next(&(it)->i, TD_RET_(__typeof__(*(it)->t_), v)))

/* ============================================================== 3. inside a task */

/* This record is bad.  The dataset's .on_bad decides: TD_FAIL (default) fails the attempt, TD_SKIP drops the
 * record, counts it, and takes back what it emitted and added to accumulators.  Return right after it.
 * A record must be found bad before it has emitted more than a whole batch (1024 rows, or 1 MiB of new strings).  In a batch or text
 * function there is no "record": the call is counted, and you emit or add nothing for what you reject. */
#define td_bad(t, ...) td_bad_at_(t, 0, __FILE__, __LINE__, __VA_ARGS__)
/* This attempt fails, with your sentence.  It is tried again (taskd.task.maxFailures). */
#define td_fail(t, ...) td_bad_at_(t, 1, __FILE__, __LINE__, __VA_ARGS__)
/* A line for the job's log.  level: TD_DEBUG, TD_INFO, TD_WARN, TD_ERROR. */
#define td_log(t, level, ...) td_log_at_(t, level, __FILE__, __LINE__, __VA_ARGS__)
enum { TD_DEBUG = 1, TD_INFO, TD_WARN, TD_ERROR };
enum { TD_FAIL = 1, TD_SKIP };

/* ============================================================== 9a. the host's table (grows at the end) */
enum { TD_OP_TEXT = 1, TD_OP_BLOCKS, TD_OP_FROM, TD_OP_RANGE, TD_OP_MAP, TD_OP_FILTER, TD_OP_UNION, TD_OP_REDUCE_KEY,
       TD_OP_SUM_KEY, TD_OP_MIN_KEY, TD_OP_MAX_KEY, TD_OP_COUNT_KEY, TD_OP_DISTINCT, TD_OP_GROUP_KEY, TD_OP_SORT,
       TD_OP_SORT_KEY };
enum { TD_ACT_COUNT = 1, TD_ACT_COLLECT, TD_ACT_TAKE, TD_ACT_REDUCE, TD_ACT_SAVE_TEXT, TD_ACT_SAVE_BLOCKS };
enum { TD_BC_BYTES = 1, TD_BC_FILE, TD_BC_DESTROY };
typedef struct td_opts {
    uint32_t size;
    uint32_t partitions;   /* of the result; 0: taskd decides */
    uint32_t on_bad;       /* TD_FAIL or TD_SKIP */
    uint32_t descending;   /* td_sort, td_sort_by_key */
    const char *name;      /* shown to people */
    const void *arg;       /* TD_ARG */
    size_t arg_size;
} td_opts;
typedef struct td_rows {   /* what td_collect and td_take give; td_rows_free when done (or leave it to the job's end) */
    uint64_t n;
    const void *col[2];
    const td_type *type;
    void *own_;
} td_rows;
struct td_host {
    uint32_t size;
    uint16_t abi_major, abi_minor;
    td_ds *(*source)(td_job *, int op, const char *path, const void *data, uint64_t lo, uint64_t hi, const td_type *, const td_opts *, const char *file, int line);
    td_ds *(*op)(int op, td_ds *a, td_ds *b, const td_fn *, const td_opts *, const char *file, int line);
    int (*act)(int op, td_ds *, const char *path, uint64_t n, const td_fn *, void *ret, const char *file, int line);
    void (*rows_free)(td_rows *);
    const char *(*conf)(td_job *, const char *key, const char *dflt);
    int (*conf_set)(td_job *, const char *key, const char *value, const char *file, int line);
    int (*total)(td_job *, const td_acc *, td_slot_ *ret);
    const char *(*error)(td_job *);
    void *(*alloc)(td_task *, size_t, int until_task_ends);
    void (*undo_full)(td_task *);
    void (*bad)(td_task *, int fatal, const char *file, int line, const char *fmt, va_list);
    void (*log)(td_task *, td_job *, int level, const char *file, int line, const char *fmt, va_list);
    const void *(*get)(td_task *, uint32_t item);
    int (*broadcast)(td_job *, int op, const td_bc *, const void *p, size_t n, const char *file, int line);
    const char *(*path)(td_task *, td_job *, const char *name, const char *file, int line);
};
struct td_job { const td_host *h; };
struct td_ds { const td_host *h; td_job *job; };

TD_COLD_ TD_PRINTF_(5, 6) void td_bad_at_(td_task *t, int fatal, const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    t->h->bad(t, fatal, file, line, fmt, ap);
    va_end(ap);
}
TD_COLD_ TD_PRINTF_(5, 6) void td_log_at_(td_task *t, int level, const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    t->h->log(t, 0, level, file, line, fmt, ap);
    va_end(ap);
}
TD_COLD_ bool td_reject_(td_task *t, td_out *o)
{
    if (t->bad == 1 && o->over)
        td_fail(t, "a bad record had already emitted more than a batch of %u rows", o->cap);
    if (t->bad > 1)
        return true;
    o->n = o->mark;
    while (t->undo_n) {
        t->undo_n--;
        t->slot[t->undo[t->undo_n].slot] = t->undo[t->undo_n].old;
    }
    t->bad = 0;
    return false;
}

/* true once somebody wants this attempt to end: a long loop of yours should look now and then and return. */
TD_INLINE_ bool td_stop(const td_task *t) { return __atomic_load_n(&t->stop, __ATOMIC_RELAXED) != 0; }
/* n bytes, aligned to 16, valid until your function returns.  Never NULL: over the memory limit the attempt ends. */
TD_INLINE_ void *td_tmp(td_task *t, size_t n)
{
    if ((size_t)(t->tmp_end - t->tmp) <= n)
        return t->h->alloc(t, n, 0);
    char *p = t->tmp;
    t->tmp += (n + 15) & ~(size_t)15; /* all that is left is a multiple of 16, too */
    return p;
}
/* n bytes, zeroed, aligned to 16, valid until the attempt ends (in a broadcast's build: as long as what it builds). */
TD_INLINE_ void *td_alloc(td_task *t, size_t n) { return t->h->alloc(t, n, 1); }
/* What TD_ARG captured when the dataset was built: const T *. */
#define td_arg(t, T) ((const T *)(t)->arg)
/* The attempt's own state of this function, .state_size bytes, zeroed before .setup: T *. */
#define td_state(t, T) ((T *)(t)->state)

/* =============================================================== 4. accumulators
 *
 * At file scope: TD_COUNTER(name); TD_MAXIMUM(name); TD_MINIMUM(name) hold int64_t, TD_FSUM(name) a double.
 * In a task: td_add, td_max, td_min, td_fadd.  In job(), after an action: td_total(j, name).
 * Every partition of every dataset counts exactly once, whatever is retried or computed again; one that a td_take
 * read in part only does not count yet.
 * Empty: 0, INT64_MIN, INT64_MAX, 0.0. */
#define TD_COUNTER(name) TD_ACC_(name, counter, TD_A_SUM, int64_t, i)
#define TD_MAXIMUM(name) TD_ACC_(name, maximum, TD_A_MAX, int64_t, i)
#define TD_MINIMUM(name) TD_ACC_(name, minimum, TD_A_MIN, int64_t, i)
#define TD_FSUM(name) TD_ACC_(name, fsum, TD_A_FSUM, double, f)
#define TD_ACC_(name, KIND, OP, T, field)                                                            \
    enum { td_is_##KIND##_##name };                                                                    \
    static const td_acc td_acc_##name = { TD_ITEM_(td_acc, TD_I_ACC, 0, name), OP, 0 };                \
    static const td_item *const td_ref_##name TD_KEEP_ = &td_acc_##name.i;                             \
    TD_INLINE_ T td_total_##name(td_job *j)                                                            \
    {                                                                                                \
        td_slot_ v_;                                                                                 \
        v_.i = 0;                                                                                    \
        j->h->total(j, &td_acc_##name, &v_);                                                          \
        return v_.field;                                                                             \
    }                                                                                                \
    enum { td_acc_end_##name }
TD_INLINE_ td_slot_ *td_touch_(td_task *t, const td_item *const *ref)
{
    uint32_t s = (uint32_t)(ref - __start_td_items);
    if (TD_UNLIKELY_(t->undo_n == t->undo_cap))
        t->h->undo_full(t);
    t->undo[t->undo_n].slot = s;
    t->undo[t->undo_n++].old = t->slot[s];
    return &t->slot[s];
}
TD_INLINE_ void td_max_(td_slot_ *s, int64_t v) { if (v > s->i) s->i = v; }
TD_INLINE_ void td_min_(td_slot_ *s, int64_t v) { if (v < s->i) s->i = v; }
/* t: td_task *, name: the accumulator, d or v: int64_t (double for td_fadd); sums wrap at 64 bits. */
#define td_add(t, name, d) ((void)td_is_counter_##name, (void)(*(uint64_t *)td_touch_(t, &td_ref_##name) += (uint64_t)(int64_t)(d)))
#define td_max(t, name, v) ((void)td_is_maximum_##name, td_max_(td_touch_(t, &td_ref_##name), (v)))
#define td_min(t, name, v) ((void)td_is_minimum_##name, td_min_(td_touch_(t, &td_ref_##name), (v)))
#define td_fadd(t, name, d) ((void)td_is_fsum_##name, (void)(td_touch_(t, &td_ref_##name)->f += (d)))
/* The merged value, int64_t or double. */
#define td_total(job, name) td_total_##name(job)

/* ================================================================== 5. broadcasts, files
 *
 * Bytes that every task can read: a table to look things up in, a dictionary, a model.  There is one copy of them
 * on each machine, read-only, which all tasks there share.  At file scope:
 *
 *     TD_BROADCAST(name)                 tasks get the bytes:       const td_str *
 *     TD_BROADCAST(name, T, build)       tasks get what build made: const T *
 *     TD_BROADCAST(name, T, build, drop) and drop is called for it when the broadcast is destroyed
 *
 *         T *build(td_task *t, td_str bytes)     once in each process that runs tasks, when one asks first
 *         void drop(T *)                         or free
 *
 *     static struct names *names_build(td_task *t, td_str file) { ... }
 *     TD_BROADCAST(names, struct names, names_build);
 *
 * In a task td_get(t, name) gives that pointer, in a nanosecond when it is asked for again; it is never NULL.  What build
 * makes may point into the bytes, and use td_alloc: both stay until the broadcast is destroyed.  A build that calls
 * td_fail or returns NULL fails the attempt, with the broadcast's name in the sentence.  It may use other
 * broadcasts; it adds to no accumulators (that, too, is an error), because it runs once a process, not once a partition.
 *
 * In job(), before the datasets whose functions use it are made:
 *
 *     td_broadcast(j, name, p, n)        n bytes from p; they are copied
 *     td_broadcast_file(j, name, path)   what is in a file now; it may be larger than memory
 *     td_unbroadcast(j, name)            destroys it: all memory and files that it takes are given back
 *
 * 0 is success.  A dataset keeps the value that the broadcast had when the dataset was made, as it keeps its
 * TD_ARG.  So a broadcast may be set again: datasets made from then on have the new value, older ones the old one,
 * however often they are computed.  Each value takes its room until td_unbroadcast, which ends all of them: a dataset
 * that must still compute with one of them fails, with a sentence that says so. */
#define TD_BROADCAST(...) TD_PICK_BC_(__VA_ARGS__, TD_BC4_, TD_BC3_, TD_BC2_, TD_BC1_, )(__VA_ARGS__)
#define TD_PICK_BC_(a, b, c, d, e, ...) e
#define TD_BC1_(name) typedef td_str td_bc_t_##name; TD_BC_(name, 0, 0)
#define TD_BC2_(name, T) TD_ASSERT_(0, "TD_BROADCAST(" #name ", " #T "): a type needs a build function")
#define TD_BC3_(name, T, build) TD_BC_BUILD_(name, T, build); TD_BC_(name, td_build_##name, 0)
#define TD_BC4_(name, T, build, drop)                                                                \
    TD_BC_BUILD_(name, T, build);                                                                      \
    TD_DROP_SIG_(T, drop);                                                                             \
    static void td_drop_##name(void *p) { drop((T *)p); }                                              \
    TD_BC_(name, td_build_##name, td_drop_##name)
#define TD_BC_BUILD_(name, T, build)                                                                 \
    TD_SIG_(build, T *, td_task *, td_str);                                                            \
    typedef T td_bc_t_##name;                                                                          \
    static void *td_build_##name(td_task *t, td_str bytes)                                             \
    {                                                                                                \
        TD_TRY_                                                                                      \
        return (void *)build(t, bytes);                                                                \
        TD_CATCH_(t, 0)                                                                               \
    }                                                                                                \
    enum { td_bc_built_##name }
#define TD_BC_(name, BUILD, DROP)                                                                    \
    static const td_bc td_bc_##name = { TD_ITEM_(td_bc, TD_I_BROADCAST, 0, name), BUILD, DROP };         \
    static const td_item *const td_ref_##name TD_KEEP_ = &td_bc_##name.i
#ifdef __cplusplus
#define TD_DROP_SIG_(T, drop)                                                                        \
    TD_ASSERT_((std::is_convertible<decltype(&drop), void (*)(T *)>::value ||                           \
                std::is_convertible<decltype(&drop), void (*)(void *)>::value), #drop ": expected void " #drop "(" #T " *)")
#else
#define TD_DROP_SIG_(T, drop) \
    TD_ASSERT_(_Generic(&drop, void (*)(T *): 1, void (*)(void *): 1, default: 0), #drop ": expected void " #drop "(" #T " *)")
#endif
TD_INLINE_ const void *td_get_(td_task *t, const td_item *const *ref)
{
    uint32_t s = (uint32_t)(ref - __start_td_items);
    const void *p = t->slot[s].p;
    return TD_UNLIKELY_(!p) ? t->h->get(t, s) : p;
}
/* t: td_task *; name: the broadcast.  const T *, or const td_str * for one without a build. */
#define td_get(t, name) ((const td_bc_t_##name *)td_get_(t, &td_ref_##name))
#define td_broadcast(job, name, p, n) ((job)->h->broadcast(job, TD_BC_BYTES, &td_bc_##name, p, n, TD_AT_))
#define td_broadcast_file(job, name, path) td_broadcast_file_(job, &td_bc_##name, path, TD_AT_)
#define td_unbroadcast(job, name) ((job)->h->broadcast(job, TD_BC_DESTROY, &td_bc_##name, 0, 0, TD_AT_))
TD_INLINE_ int td_broadcast_file_(td_job *j, const td_bc *b, const char *path, const char *file, int line)
{ return j->h->broadcast(j, TD_BC_FILE, b, path, 0, file, line); }

/* td_file(t, name), td_file(j, name): the path on this machine of what went along by --files PATH (its name is the
 * path's last part, or NAME of PATH#NAME), or of a file in an archive of --archives: "model.tar.gz/weights".  The string
 * lives as long as the attempt or the job; the file is for reading.  Without such a file a task's attempt
 * ends, and a job has failed (its td_file gives a path where nothing is).  For what tasks look things up in, a
 * broadcast is better: it is mapped once a machine, not read by each task. */
#ifdef __cplusplus
#define td_file(x, name) td_file_(x, name, TD_AT_)
TD_END_
static inline const char *td_file_(td_task *t, const char *name, const char *file, int line)
{ return t->h->path(t, 0, name, file, line); }
static inline const char *td_file_(td_job *j, const char *name, const char *file, int line)
{ return j->h->path(0, j, name, file, line); }
TD_BEGIN_
#else
#define td_file(x, name) _Generic((x), td_task *: td_file_t_, td_job *: td_file_j_)(x, name, TD_AT_)
TD_INLINE_ const char *td_file_t_(td_task *t, const char *name, const char *file, int line)
{ return t->h->path(t, 0, name, file, line); }
TD_INLINE_ const char *td_file_j_(td_job *j, const char *name, const char *file, int line)
{ return j->h->path(0, j, name, file, line); }
#endif

/* ==================================================================== 6. strings */
TD_INLINE_ td_str td_cstr(const char *s) { td_str r = { s, strlen(s) }; return r; }
TD_INLINE_ bool td_eq(td_str a, td_str b) { return a.n == b.n && (a.n == 0 || !memcmp(a.p, b.p, a.n)); }
TD_INLINE_ bool td_starts(td_str s, td_str x) { return s.n >= x.n && (x.n == 0 || !memcmp(s.p, x.p, x.n)); }
TD_INLINE_ bool td_ends(td_str s, td_str x) { return s.n >= x.n && (x.n == 0 || !memcmp(s.p + s.n - x.n, x.p, x.n)); }
/* The next field of *rest up to sep; false when there is none left.  "a,,b" has 3 fields, "" has one. */
TD_INLINE_ bool td_cut(td_str *rest, char sep, td_str *field)
{
    if (!rest->p)
        return false;
    const char *q = rest->n ? (const char *)memchr(rest->p, sep, rest->n) : 0;
    field->p = rest->p;
    field->n = q ? (size_t)(q - rest->p) : rest->n;
    rest->n = q ? rest->n - field->n - 1 : 0;
    rest->p = q ? q + 1 : 0;
    return true;
}
/* Decimal digits only, all of them, no overflow; false leaves *v alone. */
TD_INLINE_ bool td_to_u64(td_str s, uint64_t *v)
{
    uint64_t x = 0;
    if (s.n == 0 || s.n > 20)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned d = (unsigned char)s.p[i] - (unsigned)'0';
        if (d > 9 || (i >= 19 && (__builtin_mul_overflow(x, (uint64_t)10, &x) || __builtin_add_overflow(x, (uint64_t)d, &x))))
            return false;
        if (i < 19)
            x = x * 10 + d;
    }
    *v = x;
    return true;
}
TD_INLINE_ bool td_to_i64(td_str s, int64_t *v)
{
    uint64_t x;
    bool neg = s.n && s.p[0] == '-';
    td_str d = { s.p + (neg || (s.n && s.p[0] == '+')), s.n - (neg || (s.n && s.p[0] == '+')) };
    if (!td_to_u64(d, &x) || x > (uint64_t)INT64_MAX + neg)
        return false;
    *v = (int64_t)(neg ? 0 - x : x);
    return true;
}
/* As strtod in the C locale, all of s, at most 63 bytes. */
TD_INLINE_ bool td_to_f64(td_str s, double *v)
{
    char b[64], *end;
    if (s.n == 0 || s.n > 63 || (unsigned char)s.p[0] <= ' ')
        return false;
    memcpy(b, s.p, s.n);
    b[s.n] = 0;
    double d = strtod(b, &end);
    if (end != b + s.n)
        return false;
    *v = d;
    return true;
}

/* 64 bytes as a bit map, by the compiler's vector extensions. */
typedef unsigned char td_v16_ __attribute__((vector_size(16), aligned(1), may_alias));
typedef unsigned char td_v32_ __attribute__((vector_size(32), aligned(1), may_alias));
typedef char td_c16_ __attribute__((vector_size(16)));
typedef char td_c32_ __attribute__((vector_size(32)));
#if defined(__AVX2__)
#define TD_WIDE_ 32
typedef td_v32_ td_vec_;
#define TD_BITS_(v) ((uint32_t)__builtin_ia32_pmovmskb256((td_c32_)(v)))
#elif defined(__SSE2__)
#define TD_WIDE_ 16
typedef td_v16_ td_vec_;
#define TD_BITS_(v) ((uint32_t)(uint16_t)__builtin_ia32_pmovmskb128((td_c16_)(v)))
#endif
#if defined(__SANITIZE_ADDRESS__)
#define TD_ASAN_ 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TD_ASAN_ 1
#endif
#endif
#ifndef TD_ASAN_
#define TD_ASAN_ 0
#endif
/* Bit i: p[i] is greater than 0x20. */
TD_INLINE_ uint64_t td_solid64_(const char *p)
{
    uint64_t m = 0;
#ifdef TD_WIDE_
    for (int i = 0; i < 64; i += TD_WIDE_) {
        td_vec_ v = *(const td_vec_ *)(p + i);
        m |= (uint64_t)TD_BITS_(v > (unsigned char)0x20) << i;
    }
#else
    for (int i = 0; i < 64; i++)
        m |= (uint64_t)((unsigned char)p[i] > 0x20) << i;
#endif
    return m;
}
/* p, but the compiler no longer knows what it points to: it would warn of reads behind a literal. */
TD_INLINE_ const char *td_hide_(const char *p)
{
    __asm__("" : "+r"(p));
    return p;
}
/* true: n bytes from p on lie in one page, so reading them is harmless */
TD_INLINE_ bool td_same_page_(const char *p, size_t n) { return !TD_ASAN_ && ((uintptr_t)p & 4095) + n <= 4096; }

#ifndef __cplusplus /* string.h has it only for those who defined _GNU_SOURCE before their first header */
extern void *memmem(const void *, size_t, const void *, size_t);
#endif
/* Where x begins in s, or -1; an empty x is at 0. */
TD_INLINE_ int64_t td_find(td_str s, td_str x)
{
    if (x.n == 0)
        return 0;
    if (s.n < x.n)
        return -1;
#ifdef TD_WIDE_
    if (!TD_ASAN_) { /* first and last byte of x at TD_WIDE_ places at a time */
        s.p = td_hide_(s.p);
        td_vec_ f, l;
        memset(&f, x.p[0], sizeof f);
        memset(&l, x.p[x.n - 1], sizeof l);
        size_t places = s.n - x.n + 1, i = 0;
        for (; i + 2 * TD_WIDE_ <= places; i += 2 * TD_WIDE_) { /* two at a time: most of a long text */
            const char *q = s.p + i, *r = q + TD_WIDE_;
            uint64_t m = TD_BITS_((*(const td_vec_ *)q == f) & (*(const td_vec_ *)(q + x.n - 1) == l));
            m |= (uint64_t)TD_BITS_((*(const td_vec_ *)r == f) & (*(const td_vec_ *)(r + x.n - 1) == l)) << TD_WIDE_;
            for (; m; m &= m - 1)
                if (!memcmp(q + __builtin_ctzll(m), x.p, x.n))
                    return (int64_t)i + __builtin_ctzll(m);
        }
        for (; i < places; i += TD_WIDE_) {
            const char *q = s.p + i;
            size_t left = places - i;
            if (TD_UNLIKELY_(left < TD_WIDE_ && !td_same_page_(q, TD_WIDE_ + x.n)))
                break;
            uint32_t m = TD_BITS_((*(const td_vec_ *)q == f) & (*(const td_vec_ *)(q + x.n - 1) == l));
            if (left < TD_WIDE_)
                m &= (1u << left) - 1;
            for (; m; m &= m - 1)
                if (!memcmp(q + __builtin_ctz(m), x.p, x.n))
                    return (int64_t)i + __builtin_ctz(m);
            if (left <= TD_WIDE_)
                return -1;
        }
        const char *r = (const char *)memmem(s.p + i, s.n - i, x.p, x.n); /* the last few, near a page's end */
        return r ? r - s.p : -1;
    }
#endif
    const char *r = (const char *)memmem(s.p, s.n, x.p, x.n);
    return r ? r - s.p : -1;
}
TD_INLINE_ bool td_has(td_str s, td_str x) { return td_find(s, x) >= 0; }

/* TD_EACH_WORD(w, s) body: w (a td_str of yours) becomes each word of s; a word is a maximal run of bytes
 * greater than 0x20.  64 bytes are looked at together: one bit each, and each word is two edges. */
typedef struct td_words { const char *w; size_t left; uint64_t edge, carry; } td_words;
TD_INLINE_ void td_words_fill_(td_words *k)
{
    uint64_t m;
    if (k->left >= 64) {
        m = td_solid64_(k->w);
    } else {
        if (k->left && td_same_page_(k->w, 64)) {
            m = td_solid64_(k->w);
        } else {
            char b[64];
            memset(b, 0, sizeof b);
            if (k->left)
                memcpy(b, k->w, k->left);
            m = td_solid64_(b);
        }
        m &= ((uint64_t)1 << k->left) - 1;
    }
    k->edge = m ^ (m << 1 | k->carry);
    k->carry = m >> 63;
}
TD_INLINE_ td_words td_words_of(td_str s)
{
    td_words k = { td_hide_(s.p), s.n, 0, 0 };
    td_words_fill_(&k);
    return k;
}
TD_INLINE_ bool td_word_next(td_words *k, td_str *w)
{
    while (!k->edge) {
        if (k->left < 64)
            return false;
        k->w += 64;
        k->left -= 64;
        td_words_fill_(k);
    }
    const char *s = k->w + __builtin_ctzll(k->edge);
    k->edge &= k->edge - 1;
    while (TD_UNLIKELY_(!k->edge)) {
        if (k->left < 64) {
            w->p = s;
            w->n = (size_t)(k->w + k->left - s);
            return true;
        }
        k->w += 64;
        k->left -= 64;
        td_words_fill_(k);
    }
    w->p = s;
    w->n = (size_t)(k->w + __builtin_ctzll(k->edge) - s);
    k->edge &= k->edge - 1;
    return true;
}
#define TD_EACH_WORD(w, s) for (td_words w##_it_ = td_words_of(s); td_word_next(&w##_it_, &(w));)

/* ========================================== 7. the driver: datasets and actions
 *
 * job() builds a lazy graph; nothing runs before an action.  A mistake in the graph is reported with the line
 * that made it; the node is poisoned, and the action on it returns non-zero.  Actions return 0 on success.
 *
 * Sources                                                          rows
 *   td_text_file(j, path)          lines of a file, a directory's    str
 *                                  files or a glob; .gz is unpacked
 *   td_from(j, T, array, n)        n values of yours, copied         T
 *   td_range(j, lo, hi)            lo .. hi-1                        u64
 *   td_block_files(j, T, path)     what td_save_blocks wrote         T
 * Narrow
 *   td_map(ds, fn)  td_flat_map(ds, fn)  td_map_batch(ds, fn)  td_map_text(ds, fn)  td_filter(ds, fn)
 *   td_union(a, b)                 rows of both
 * Wide (a shuffle; results obey the memory budget and spill)
 *   td_reduce_by_key(ds, fn)       values of a key folded by a TD_REDUCE
 *   td_sum_by_key(ds) td_min_by_key(ds) td_max_by_key(ds)            numeric values
 *   td_count_by_key(ds)            pairs -> key, how many (i64)
 *   td_group_by_key(ds, fn)        a TD_GROUP sees all values of a key, in input order
 *   td_distinct(ds)                single values, each once
 *   td_sort(ds) td_sort_by_key(ds) whole order over all partitions; equal keys keep their input order
 * Options (C++ wants them in this order):
 *   .partitions = N (sources and wide; narrow ones keep those of their input), .on_bad = TD_SKIP (where a function of
 *   yours runs), .descending = 1 (sorts), .name = "...", TD_ARG(x)
 *
 * Actions
 *   td_save_text(ds, path)         path/part-00000 ..., "key<TAB>value" for pairs, then path/_SUCCESS
 *   td_save_blocks(ds, path)       path/part-00000.blocks ..., read again by td_block_files
 *   td_count(ds, &n)               uint64_t n
 *   td_collect(ds, &rows)          td_rows rows: all rows; use td_take for a look
 *   td_take(ds, n, &rows)          the first n rows, reading no more than is needed for them
 *   td_reduce(ds, fn, &v)          all rows folded by a TD_REDUCE; of none: an error
 *   td_row(&rows, T, i) td_row_key(&rows, K, i) td_row_val(&rows, V, i)    a row of them */
#define TD_ARG_OK_(x) sizeof(char[__builtin_classify_type(x) == 5 && sizeof(x) == sizeof(void *) ? -1 : 1])
#ifdef __cplusplus
#define TD_ARG(x) .arg = &(x), .arg_size = td_arg_size_(x)
TD_END_
template <class T> static constexpr size_t td_arg_size_(const T &)
{
    static_assert(!std::is_pointer<T>::value && std::is_trivially_copyable<T>::value,
                  "TD_ARG takes bytes that mean the same in another process: no pointers, plain structs only");
    return sizeof(T);
}
static inline const td_opts *td_opts_ref_(const td_opts &o) { return &o; }
#define TD_OPTS_(...) td_opts_ref_(td_opts{ .size = sizeof(td_opts), __VA_ARGS__ })
TD_BEGIN_
#else
/* The bytes of x travel with the plan, to be read by td_arg.  A pointer does not compile. */
#define TD_ARG(x) .arg = &(x), .arg_size = sizeof(x) * TD_ARG_OK_(x)
#define TD_OPTS_(...) (&(td_opts){ .size = sizeof(td_opts), __VA_ARGS__ })
#endif
#define TD_AT_ __FILE__, __LINE__
TD_INLINE_ td_ds *td_src_(int op, td_job *j, const char *path, const void *p, uint64_t lo, uint64_t hi, const td_type *ty, const td_opts *o, const char *file, int line)
{ return j->h->source(j, op, path, p, lo, hi, ty, o, file, line); }
TD_INLINE_ td_ds *td_op_(int op, td_ds *a, td_ds *b, const td_fn *f, const td_opts *o, const char *file, int line)
{ return a->h->op(op, a, b, f, o, file, line); }
TD_INLINE_ int td_act_(int op, td_ds *a, const char *path, uint64_t n, const td_fn *f, void *ret, const char *file, int line)
{ return a->h->act(op, a, path, n, f, ret, file, line); }
#define td_text_file(job, ...) TD_TEXT_(job, __VA_ARGS__, )
#define TD_TEXT_(job, path, ...) td_src_(TD_OP_TEXT, job, path, 0, 0, 0, TD_TYPE_(str), TD_OPTS_(__VA_ARGS__), TD_AT_)
#define td_block_files(job, T, ...) TD_BLOCKS_(job, T, __VA_ARGS__, )
#define TD_BLOCKS_(job, T, path, ...) td_src_(TD_OP_BLOCKS, job, path, 0, 0, 0, TD_TYPE_(T), TD_OPTS_(__VA_ARGS__), TD_AT_)
#define td_from(job, T, array, ...) TD_FROM_(job, T, array, __VA_ARGS__, )
#define TD_FROM_(job, T, array, n, ...) \
    td_src_(TD_OP_FROM, job, 0, TD_IN_(td_##T, array), 0, n, TD_TYPE_(T), TD_OPTS_(__VA_ARGS__), TD_AT_)
#define td_range(job, lo, ...) TD_RANGE_(job, lo, __VA_ARGS__, )
#define TD_RANGE_(job, lo, hi, ...) td_src_(TD_OP_RANGE, job, 0, 0, lo, hi, TD_TYPE_(u64), TD_OPTS_(__VA_ARGS__), TD_AT_)
#define TD_OP1_(op, prefix, ds, fn, ...) td_op_(op, ds, 0, &prefix##fn, TD_OPTS_(__VA_ARGS__), TD_AT_)
#define TD_OP0_(op, ds, ...) td_op_(op, ds, 0, 0, TD_OPTS_(__VA_ARGS__), TD_AT_)
#define td_map(ds, ...) TD_OP1_(TD_OP_MAP, td_map_fn_, ds, __VA_ARGS__, )
#define td_flat_map(ds, ...) TD_OP1_(TD_OP_MAP, td_map_fn_, ds, __VA_ARGS__, )
#define td_map_batch(ds, ...) TD_OP1_(TD_OP_MAP, td_map_fn_, ds, __VA_ARGS__, )
#define td_map_text(ds, ...) TD_OP1_(TD_OP_MAP, td_map_fn_, ds, __VA_ARGS__, )
#define td_filter(ds, ...) TD_OP1_(TD_OP_FILTER, td_filter_fn_, ds, __VA_ARGS__, )
#define td_union(a, ...) TD_UNION_(a, __VA_ARGS__, )
#define TD_UNION_(a, b, ...) td_op_(TD_OP_UNION, a, b, 0, TD_OPTS_(__VA_ARGS__), TD_AT_)
#define td_reduce_by_key(ds, ...) TD_OP1_(TD_OP_REDUCE_KEY, td_fold_fn_, ds, __VA_ARGS__, )
#define td_group_by_key(ds, ...) TD_OP1_(TD_OP_GROUP_KEY, td_group_fn_, ds, __VA_ARGS__, )
#define td_sum_by_key(...) TD_OP0_(TD_OP_SUM_KEY, __VA_ARGS__, )
#define td_min_by_key(...) TD_OP0_(TD_OP_MIN_KEY, __VA_ARGS__, )
#define td_max_by_key(...) TD_OP0_(TD_OP_MAX_KEY, __VA_ARGS__, )
#define td_count_by_key(...) TD_OP0_(TD_OP_COUNT_KEY, __VA_ARGS__, )
#define td_distinct(...) TD_OP0_(TD_OP_DISTINCT, __VA_ARGS__, )
#define td_sort(...) TD_OP0_(TD_OP_SORT, __VA_ARGS__, )
#define td_sort_by_key(...) TD_OP0_(TD_OP_SORT_KEY, __VA_ARGS__, )
#define td_save_text(ds, path) td_act_(TD_ACT_SAVE_TEXT, ds, path, 0, 0, 0, TD_AT_)
#define td_save_blocks(ds, path) td_act_(TD_ACT_SAVE_BLOCKS, ds, path, 0, 0, 0, TD_AT_)
#define td_count(ds, ret_n) td_act_(TD_ACT_COUNT, ds, 0, 0, 0, TD_RET_(uint64_t, ret_n), TD_AT_)
#define td_collect(ds, ret_rows) td_act_(TD_ACT_COLLECT, ds, 0, 0, 0, TD_RET_(td_rows, ret_rows), TD_AT_)
#define td_take(ds, n, ret_rows) td_act_(TD_ACT_TAKE, ds, 0, n, 0, TD_RET_(td_rows, ret_rows), TD_AT_)
#define td_reduce(ds, fn, ret_v) td_act_(TD_ACT_REDUCE, ds, 0, 0, &td_fold_fn_##fn, TD_RET_(td_reduce_t_##fn, ret_v), TD_AT_)
#define td_row(rows, T, i) (((const td_##T *)(rows)->col[0])[i])
#define td_row_key(rows, K, i) (((const td_##K *)(rows)->col[0])[i])
#define td_row_val(rows, V, i) (((const td_##V *)(rows)->col[1])[i])
#define td_rows_free(job, rows) ((job)->h->rows_free(rows))

/* A configuration value as text, from --conf, files or td_conf_set; dflt when nobody set the key.  Keys of your
 * own may have any name that does not begin with "taskd." or "spark."; one that does and is no key fails the job. */
TD_INLINE_ const char *td_conf(td_job *j, const char *key, const char *dflt) { return j->h->conf(j, key, dflt); }
/* Sets a key for this job, before its first dataset.  Non-zero: refused, and td_error says why. */
#define td_conf_set(job, key, value) ((job)->h->conf_set(job, key, value, TD_AT_))
/* The sentence of the last failure, "" when there was none. */
TD_INLINE_ const char *td_error(td_job *j) { return j->h->error(j); }
TD_COLD_ TD_PRINTF_(5, 6) void td_say_at_(td_job *j, int level, const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    j->h->log(0, j, level, file, line, fmt, ap);
    va_end(ap);
}
/* A line on the submitting terminal. */
#define td_say(j, ...) td_say_at_(j, TD_INFO, TD_AT_, __VA_ARGS__)
/* Prints "usage: TEXT" and is 2, the exit code for it: return TD_USAGE(j, "..."); */
#define TD_USAGE(j, text) (td_say_at_(j, TD_ERROR, TD_AT_, "usage: %s", text), 2)

/* ==================================================================== 8. the module
 *
 * TD_PLUGIN("name", "version", job): once per shared object, at the end of one file.
 *   int job(td_job *, int argc, char **argv)    argv[0] is the module; the rest is what follows it on the
 *   command line.  0 is success, 2 a usage error, anything else a failed job; and a job in which an action failed
 *   has failed, whatever job() says of it. */
#if defined(__AVX512BW__) && defined(__AVX512VL__)
#define TD_ISA_ 4
#elif defined(__AVX2__) && defined(__BMI2__)
#define TD_ISA_ 3
#elif defined(__SSE4_2__)
#define TD_ISA_ 2
#else
#define TD_ISA_ 1
#endif
/* The same facts as an ELF note: read before the module is loaded, so before any of its code runs. */
typedef struct td_note_ {
    uint32_t namesz, descsz, type;
    char name[8];
    uint32_t abi, isa, flags, size;
} td_note_;
typedef struct td_plugin {
    char magic[8];
    uint32_t size;
    uint16_t abi_major, abi_minor;
    uint32_t isa, flags;     /* isa: x86-64 level 1..4; flags: 1 built with AddressSanitizer, 2 C++ */
    uint16_t sz_str, sz_batch, sz_out, sz_task, sz_fn, sz_opts;
    const char *name, *version, *compiler;
    const td_item *const *begin, *const *end;
    int (*main)(td_job *, int argc, char **argv);
} td_plugin;
#ifdef __cplusplus
#define TD_LANG_ 2
#else
#define TD_LANG_ 0
#endif
#define TD_MAGIC_ { 'T', 'A', 'S', 'K', 'D', '\r', '\n', 26 }
#define TD_PLUGIN(NAME, VERSION, MAIN)                                                               \
    TD_SIG_(MAIN, int, td_job *, int, char **);                                                        \
    static const td_note_ td_note_of_ __attribute__((used, aligned(4), section(".note.taskd"))) = {      \
        6, 16, 1, "taskd", TD_ABI_MAJOR << 16 | TD_ABI_MINOR, TD_ISA_, TD_ASAN_ | TD_LANG_, sizeof(td_plugin) }; \
    TD_C_ __attribute__((visibility("default"))) const td_plugin td_plugin_v1;                          \
    TD_C_ const td_plugin td_plugin_v1 = { TD_MAGIC_, sizeof(td_plugin), TD_ABI_MAJOR, TD_ABI_MINOR, TD_ISA_, \
        TD_ASAN_ | TD_LANG_, sizeof(td_str), sizeof(td_batch), sizeof(td_out), sizeof(td_task), sizeof(td_fn), \
        sizeof(td_opts), NAME, VERSION, __VERSION__, __start_td_items, __stop_td_items, MAIN }
TD_END_
#endif
