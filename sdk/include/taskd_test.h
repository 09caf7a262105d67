/*
 * taskd_test.h -- unit tests of a job's functions, without a cluster and without taskd running.
 *
 * Include the file with your functions and this header, give a function some rows, look at what comes out:
 *
 *     #include "wordcount.c"
 *     #include <CUnit/CUnit.h>
 *     #include <taskd_test.h>
 *
 *     static void test_words(void)
 *     {
 *         CU_ASSERT_TD(TD_TRY_MAP(words, "the cat\nthe mat"), "the:1 cat:1 the:1 mat:1");
 *     }
 *
 *     cc $(pkg-config --cflags taskd cunit) test_wordcount.c -o test_wordcount $(pkg-config --libs cunit)
 *
 * A try is one attempt of a task: .setup runs, then the function over all rows, then .teardown.  It is made once
 * for each of the batch sizes 1, 2, 3, 4, 7 and 1024, and all must give the same: a function must not depend on
 * where a batch ends.  Reducers are folded in several orders and groupings, which must agree as well.
 *
 *   TD_TRY_MAP(fn, "lines of\ntext")         TD_MAP, TD_FLAT_MAP, TD_MAP_BATCH, TD_MAP_TEXT over lines
 *   TD_TRY_MAP_ROWS(fn, T, array, n)         the same over n values const td_T array[] (pairs: td_K_V array[])
 *   TD_TRY_FILTER(fn, "lines of\ntext")      TD_FILTER
 *   TD_TRY_FILTER_ROWS(fn, T, array, n)
 *   TD_TRY_REDUCE(fn, T, array, n)           TD_REDUCE over all of them: one row (none of none)
 *   TD_TRY_GROUP(fn, K, V, key, array, n)    TD_GROUP of one key and its values
 *
 * TD_TRY_BROADCAST(name, p, n) gives a broadcast its bytes for the tries behind it (they are not copied); each of
 * them builds it anew when its function asks, and drops it in td_try_free.
 *
 * td_file(t, name) is name: put what a function reads into the folder where the test runs.
 *
 * An array is one with a name, in C also ((td_i64[]){ 1, 2, 3 }).  TD_ARG(x) may follow, as where the dataset is
 * built.  Each gives a td_try:
 *
 *     td_try r = TD_TRY_MAP(errors, "a 200\nb 5x0");
 *     r.text             the rows: "b:1 c:2"; strings with blanks, quotes or odd bytes are quoted like in C
 *     r.n                how many; td_row(&r, T, i), td_row_key(&r, K, i), td_row_val(&r, V, i) is row i
 *     r.bad, r.bad_text  records that td_bad rejected (they are dropped), and the last one's sentence
 *     r.fail_text        the sentence of td_fail, "" when the attempt succeeded
 *     r.log              lines of td_log
 *     td_total(&r.job, name)    an accumulator
 *     td_try_free(&r);
 *
 * CU_ASSERT_TD(try, "rows") frees its try; it fails, and prints both sides, when the rows differ or the attempt failed.
 * CU_ASSERT_TD_FAILS(try, "words") wants a td_fail whose sentence holds the words.  For other frameworks there is
 * td_try_is(&r, "rows").  Works in C11 and C++20.  Build with -fsanitize=address and each string ends where its
 * memory ends, so that reading too far is found.
 */
#ifndef TASKD_TEST_H
#define TASKD_TEST_H
#include "taskd.h"

#include <inttypes.h>
#include <stdio.h>
#ifdef __cplusplus
TD_BEGIN_
#endif

typedef struct td_try {
    td_job job; /* first: for td_total(&r.job, name) */
    uint64_t n;
    void *col[2];
    const char *text, *bad_text, *fail_text, *log;
    uint32_t bad;
    const td_fn *fn_;
    td_slot_ *slot_;
    size_t text_cap_, log_cap_;
    void **mine_; /* everything allocated */
    size_t nmine_;
} td_try;

/* ------------------------------------------------------------ below: how it works; you need not read on */
typedef struct td_try_task_ {
    td_task t; /* first */
    td_try *r;
    void **tmp; /* td_tmp memory of this call */
    size_t ntmp;
} td_try_task_;
typedef struct td_try_out_ {
    td_out o; /* first */
    td_try *r;
} td_try_out_;
typedef struct td_try_iter_ {
    td_iter i; /* first */
    const char *p;
    size_t left, size;
} td_try_iter_;

TD_COLD_ void *td_try_keep_(td_try *r, size_t n)
{
    void *p = calloc(1, n ? n : 1);
    void **mine = (void **)realloc(r->mine_, (r->nmine_ + 1) * sizeof *mine);
    if (!p || !mine)
        abort();
    r->mine_ = mine;
    r->mine_[r->nmine_++] = p;
    return p;
}
TD_COLD_ void td_try_free(td_try *r)
{
    for (size_t i = 0; r->slot_ && i < (size_t)(__stop_td_items - __start_td_items); i++) {
        const td_bc *b = (const td_bc *)(const void *)__start_td_items[i];
        if (b->i.kind == TD_I_BROADCAST && b->drop && r->slot_[i].p)
            b->drop((void *)(uintptr_t)r->slot_[i].p);
    }
    for (size_t i = 0; i < r->nmine_; i++)
        free(r->mine_[i]);
    free(r->mine_);
    memset(r, 0, sizeof *r);
}
/* A copy without a byte of room behind it under AddressSanitizer, else with the 64 that taskd promises. */
TD_COLD_ td_str td_try_copy_(td_try *r, const char *p, size_t n)
{
    char *q = (char *)td_try_keep_(r, n + (TD_ASAN_ ? 0 : 64));
    if (n)
        memcpy(q, p, n);
    td_str s = { q, n };
    return s;
}
TD_COLD_ TD_PRINTF_(4, 0) void td_try_addv_(td_try *r, const char **text, size_t *cap, const char *fmt, va_list ap)
{
    size_t n = strlen(*text);
    va_list again;
    va_copy(again, ap);
    int more = vsnprintf(0, 0, fmt, again);
    va_end(again);
    if (n + (size_t)more + 1 > *cap) {
        *cap = 2 * (n + (size_t)more + 1);
        char *p = (char *)td_try_keep_(r, *cap);
        memcpy(p, *text, n + 1);
        *text = p;
    }
    vsnprintf((char *)*text + n, *cap - n, fmt, ap);
}
TD_COLD_ TD_PRINTF_(2, 3) void td_try_add_(td_try *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    td_try_addv_(r, &r->text, &r->text_cap_, fmt, ap);
    va_end(ap);
}
TD_COLD_ void td_try_add_str_(td_try *r, td_str s)
{
    bool plain = s.n > 0;
    for (size_t i = 0; i < s.n; i++)
        plain &= (unsigned char)s.p[i] > ' ' && s.p[i] != '"' && s.p[i] != '\\' && s.p[i] != 127;
    if (plain) {
        td_try_add_(r, "%.*s", TD_S(s));
        return;
    }
    td_try_add_(r, "\"");
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            td_try_add_(r, "\\%c", c);
        else if (c == '\n' || c == '\t')
            td_try_add_(r, c == '\n' ? "\\n" : "\\t");
        else
            td_try_add_(r, c < ' ' || c == 127 ? "\\x%02x" : "%c", c);
    }
    td_try_add_(r, "\"");
}
TD_COLD_ void td_try_add_value_(td_try *r, int kind, const void *p)
{
    char b[40];
    double d;
    switch (kind) {
    case TD_K_U64: td_try_add_(r, "%" PRIu64, *(const uint64_t *)p); break;
    case TD_K_I64: td_try_add_(r, "%" PRId64, *(const int64_t *)p); break;
    case TD_K_STR: td_try_add_str_(r, *(const td_str *)p); break;
    case TD_K_F64:
        d = *(const double *)p;
        snprintf(b, sizeof b, "%.15g", d);
        if (strtod(b, 0) != d)
            snprintf(b, sizeof b, "%.17g", d);
        td_try_add_(r, "%s", b);
    }
}
TD_INLINE_ size_t td_try_size_(int kind) { return kind == TD_K_STR ? sizeof(td_str) : kind ? 8 : 0; }

/* Moves n rows of o behind the rows of r. */
TD_COLD_ void td_try_take_(td_try *r, td_out *o, uint32_t n)
{
    const td_type *ty = r->fn_->out;
    const int kind[2] = { ty->key, ty->val };
    for (uint32_t i = 0; i < n; i++) {
        if (r->n + i)
            td_try_add_(r, " ");
        td_try_add_value_(r, kind[0], (const char *)o->col[0] + i * td_try_size_(kind[0]));
        if (kind[1]) {
            td_try_add_(r, ":");
            td_try_add_value_(r, kind[1], (const char *)o->col[1] + i * td_try_size_(kind[1]));
        }
    }
    for (int c = 0; c < 2 && kind[c]; c++) {
        size_t z = td_try_size_(kind[c]);
        char *more = (char *)td_try_keep_(r, (size_t)(r->n + n) * z);
        if (r->n)
            memcpy(more, r->col[c], (size_t)r->n * z);
        memcpy(more + r->n * z, o->col[c], n * z);
        r->col[c] = more;
        memmove(o->col[c], (char *)o->col[c] + n * z, (o->n - n) * z);
    }
    r->n += n;
    o->n -= n;
    o->mark -= o->mark < n ? o->mark : n;
}
TD_COLD_ void td_try_full_(td_out *o)
{
    if (o->mark == 0)
        o->over = 1;
    td_try_take_(((td_try_out_ *)o)->r, o, o->mark ? o->mark : o->n);
}
TD_COLD_ td_str td_try_own_(td_out *o, const char *p, size_t n) { return td_try_copy_(((td_try_out_ *)o)->r, p, n); }
TD_COLD_ bool td_try_next_(td_iter *i, void *val)
{
    td_try_iter_ *it = (td_try_iter_ *)i;
    if (!it->left)
        return false;
    it->left--;
    memcpy(val, it->p, it->size);
    it->p += it->size;
    return true;
}

/* The host. */
TD_COLD_ void *td_try_alloc_(td_task *t, size_t n, int until_task_ends)
{
    td_try_task_ *k = (td_try_task_ *)t;
    if (until_task_ends)
        return td_try_keep_(k->r, n);
    k->tmp = (void **)realloc(k->tmp, (k->ntmp + 1) * sizeof *k->tmp);
    if (!k->tmp || !(k->tmp[k->ntmp] = malloc(n ? n : 1)))
        abort();
    return k->tmp[k->ntmp++];
}
TD_COLD_ void td_try_undo_full_(td_task *t)
{
    t->undo_cap = t->undo_cap ? 2 * t->undo_cap : 16;
    t->undo = (td_undo_ *)realloc(t->undo, t->undo_cap * sizeof *t->undo);
    if (!t->undo)
        abort();
}
TD_COLD_ TD_PRINTF_(5, 0) void td_try_bad_(td_task *t, int fatal, const char *file, int line, const char *fmt,
                                           va_list ap)
{
    td_try *r = ((td_try_task_ *)t)->r;
    const char *s = "";
    size_t cap = 0;
    (void)file, (void)line;
    if (t->bad == 2)
        return; /* the first td_fail counts */
    td_try_addv_(r, &s, &cap, fmt, ap);
    t->bad = fatal ? 2 : 1;
    if (fatal)
        r->fail_text = s;
    else
        r->bad_text = s;
    r->bad += !fatal;
}
TD_COLD_ TD_PRINTF_(6, 0) void td_try_log_(td_task *t, td_job *j, int level, const char *file, int line,
                                           const char *fmt, va_list ap)
{
    td_try *r = t ? ((td_try_task_ *)t)->r : (td_try *)j;
    (void)level, (void)file, (void)line;
    td_try_addv_(r, &r->log, &r->log_cap_, fmt, ap);
    char *nl = (char *)td_try_keep_(r, strlen(r->log) + 2);
    r->log_cap_ = strlen(r->log) + 2;
    snprintf(nl, r->log_cap_, "%s\n", r->log);
    r->log = nl;
}
TD_COLD_ int td_try_total_(td_job *j, const td_acc *acc, td_slot_ *ret)
{
    for (const td_item *const *i = __start_td_items; i < __stop_td_items; i++)
        if (*i == &acc->i)
            *ret = ((td_try *)j)->slot_[i - __start_td_items];
    return 0;
}
/* Bytes of the broadcasts, by item. */
TD_COLD_ td_str *td_try_bytes_(const td_item *item)
{
    static td_str *all;
    size_t n = (size_t)(__stop_td_items - __start_td_items), i = 0;
    if (!all && !(all = (td_str *)calloc(n, sizeof *all)))
        abort();
    while (__start_td_items[i] != item)
        i++;
    return &all[i];
}
TD_COLD_ void td_try_broadcast_(const td_bc *b, const void *p, size_t n)
{
    td_str s = { n ? (const char *)p : "", n };
    *td_try_bytes_(&b->i) = s;
}
#define TD_TRY_BROADCAST(name, p, n) td_try_broadcast_(&td_bc_##name, p, n)
TD_COLD_ const void *td_try_get_(td_task *t, uint32_t item)
{
    const td_bc *b = (const td_bc *)(const void *)__start_td_items[item];
    td_str *s = td_try_bytes_(&b->i);
    if (!s->p) {
        fprintf(stderr, "td_get: TD_TRY_BROADCAST(%s, p, n) has to come first\n", b->i.name);
        abort();
    }
    td_str *copy = (td_str *)td_try_keep_(((td_try_task_ *)t)->r, sizeof *copy);
    *copy = td_try_copy_(((td_try_task_ *)t)->r, s->p, s->n);
    t->slot[item].p = b->build ? b->build(t, *copy) : (void *)copy;
    if (!t->slot[item].p) {
        fprintf(stderr, "td_get: the build of %s failed: %s\n", b->i.name, ((td_try_task_ *)t)->r->fail_text);
        abort();
    }
    return t->slot[item].p;
}
TD_COLD_ const char *td_try_path_(td_task *t, td_job *j, const char *name, const char *file, int line)
{
    (void)t, (void)j, (void)file, (void)line;
    return name;
}
TD_COLD_ const td_host *td_try_host_(void)
{
    static td_host h;
    h.size = sizeof h;
    h.abi_major = TD_ABI_MAJOR;
    h.abi_minor = TD_ABI_MINOR;
    h.total = td_try_total_;
    h.alloc = td_try_alloc_;
    h.undo_full = td_try_undo_full_;
    h.bad = td_try_bad_;
    h.log = td_try_log_;
    h.get = td_try_get_;
    h.path = td_try_path_;
    return &h;
}

/* An empty try of f, with its accumulators at their identities. */
TD_COLD_ td_try td_try_start_(const td_fn *f)
{
    td_try r;
    size_t n = (size_t)(__stop_td_items - __start_td_items);
    memset(&r, 0, sizeof r);
    r.job.h = td_try_host_();
    r.text = r.bad_text = r.fail_text = r.log = "";
    r.fn_ = f;
    r.slot_ = (td_slot_ *)td_try_keep_(&r, n * sizeof *r.slot_);
    for (size_t i = 0; i < n; i++) {
        const td_item *item = __start_td_items[i];
        uint32_t op = item->kind == TD_I_ACC ? ((const td_acc *)(const void *)item)->op : 0;
        r.slot_[i].i = op == TD_A_MAX ? INT64_MIN : op == TD_A_MIN ? INT64_MAX : 0;
    }
    return r;
}
TD_COLD_ void td_try_call_done_(td_try_task_ *k)
{
    while (k->ntmp)
        free(k->tmp[--k->ntmp]);
}
/* One batch through the function; false: the attempt is over. */
TD_COLD_ bool td_try_batch_(td_try_task_ *k, td_try_out_ *out, const td_batch *b)
{
    const td_fn *f = k->r->fn_;
    int rc = f->run(&k->t, b, &out->o);
    td_try_call_done_(k);
    if ((f->i.flags & (TD_F_TEXT | TD_F_BATCH)) && k->t.bad == 1)
        k->t.bad = 0; /* a batch function rejects by itself; the call was counted */
    if (rc != 0 || k->t.bad) {
        if (!*k->r->fail_text)
            k->r->fail_text = "the function returned a value that is not 0";
        return false;
    }
    out->o.mark = out->o.n;
    if (out->o.n)
        td_try_take_(k->r, &out->o, out->o.n);
    return true;
}
/* What goes in: lines (text), or n rows of td_T as the author wrote them (pairs side by side). */
typedef struct td_try_in_ {
    const char *text;
    const td_type *type;
    const char *rows;
    uint64_t n;
} td_try_in_;
TD_COLD_ void td_try_text_(td_try_task_ *k, td_try_out_ *out, const char *text, uint32_t cap)
{
    td_str all = td_try_copy_(k->r, text, strlen(text));
    const char *p = all.p, *end = all.p + all.n;
    td_str *line = (td_str *)td_try_keep_(k->r, cap * sizeof *line);
    td_batch b;
    memset(&b, 0, sizeof b);
    b.col[0] = line;
    b.flags = TD_B_TEXT;
    out->o.lo = (uintptr_t)all.p;
    out->o.span = all.n + 1;
    while (p < end) {
        b.first += b.n;
        b.n = 0;
        b.text.p = p;
        while (p < end && b.n < cap) {
            const char *nl = (const char *)memchr(p, '\n', (size_t)(end - p));
            line[b.n].p = p;
            line[b.n++].n = (size_t)((nl ? nl : end) - p);
            p = nl ? nl + 1 : end;
        }
        b.text.n = (size_t)(p - b.text.p);
        if (!td_try_batch_(k, out, &b))
            return;
    }
}
TD_COLD_ void td_try_rows_(td_try_task_ *k, td_try_out_ *out, const td_try_in_ *in, uint32_t cap)
{
    size_t z[2] = { td_try_size_(in->type->key), td_try_size_(in->type->val) };
    td_batch b;
    memset(&b, 0, sizeof b);
    for (uint64_t at = 0; at < in->n; at += b.n) {
        b.first = at;
        b.n = (uint32_t)(in->n - at < cap ? in->n - at : cap);
        for (int c = 0; c < 2 && z[c]; c++) {
            char *col = (char *)td_try_keep_(k->r, b.n * z[c]);
            for (uint32_t i = 0; i < b.n; i++)
                memcpy(col + i * z[c], in->rows + (at + i) * in->type->size + (c ? z[0] : 0), z[c]);
            b.col[c] = col;
        }
        if (!td_try_batch_(k, out, &b))
            return;
    }
}
/* An attempt begins: everything in place for batches of cap rows, .setup done.  false: .setup failed. */
TD_COLD_ bool td_try_begin_(td_try *r, const td_opts *opts, uint32_t cap, td_try_task_ *k, td_try_out_ *out)
{
    const td_fn *f = r->fn_;
    memset(k, 0, sizeof *k);
    memset(out, 0, sizeof *out);
    k->r = out->r = r;
    k->t.h = r->job.h;
    k->t.slot = r->slot_;
    k->t.arg = opts->arg;
    k->t.arg_size = opts->arg_size;
    k->t.state = td_try_keep_(r, f->state_size);
    out->o.cap = cap;
    out->o.col[0] = td_try_keep_(r, cap * sizeof(td_str));
    out->o.col[1] = td_try_keep_(r, cap * sizeof(td_str));
    out->o.full = td_try_full_;
    out->o.own = td_try_own_;
    out->o.task = &k->t;
    if (f->setup && f->setup(&k->t) != 0 && !*r->fail_text)
        r->fail_text = "setup returned a value that is not 0";
    td_try_call_done_(k);
    return !*r->fail_text;
}
/* It ends.  true: it failed only because a batch is that small. */
TD_COLD_ bool td_try_end_(td_try_task_ *k, td_try_out_ *out)
{
    td_try *r = k->r;
    if (!*r->fail_text && r->fn_->teardown)
        r->fn_->teardown(&k->t);
    td_try_call_done_(k);
    free(k->tmp);
    free(k->t.undo);
    return out->o.over && !strncmp(r->fail_text, "a bad record had already", 24);
}
/* r is the try with the largest batches, s (which is freed) one with cap rows: they must agree. */
TD_COLD_ void td_try_agree_(td_try *r, td_try *s, uint32_t cap, bool over)
{
    size_t items = (size_t)(__stop_td_items - __start_td_items);
    bool rows = !strcmp(r->text, s->text) && !strcmp(r->fail_text, s->fail_text) && r->bad == s->bad;
    bool accs = true;
    for (size_t i = 0; i < items; i++) /* of a broadcast it is where it was built */
        accs &= r->slot_[i].i == s->slot_[i].i || __start_td_items[i]->kind != TD_I_ACC;
    if (!over && !*r->fail_text && !(rows && accs)) {
        size_t n = 160 + strlen(r->text) + strlen(s->text) + strlen(s->fail_text);
        char *why = (char *)td_try_keep_(r, n);
        snprintf(why, n, "%s depend on the batch size: with 1024 records \"%s\", with %u \"%s\"%s%s",
                 rows ? "accumulators" : "rows", r->text, (unsigned)cap, s->text, *s->fail_text ? " and " : "",
                 s->fail_text);
        r->fail_text = why;
    }
    td_try_free(s);
}
TD_COLD_ td_try td_try_all_(const td_fn *f, const td_try_in_ *in, const td_opts *opts)
{
    static const uint32_t caps[] = { 1024, 7, 4, 3, 2, 1 };
    td_try r, s;
    td_try_task_ k;
    td_try_out_ out;
    memset(&r, 0, sizeof r);
    for (size_t c = 0; c < sizeof caps / sizeof *caps; c++) {
        s = td_try_start_(f);
        if (td_try_begin_(&s, opts, caps[c], &k, &out)) {
            if (in->text)
                td_try_text_(&k, &out, in->text, caps[c]);
            else
                td_try_rows_(&k, &out, in, caps[c]);
        }
        bool over = td_try_end_(&k, &out);
        if (c == 0)
            r = s;
        else
            td_try_agree_(&r, &s, caps[c], over);
    }
    return r;
}
TD_COLD_ td_try td_try_map_(const td_fn *f, const char *text, const td_type *type, const void *rows, uint64_t n,
                            const td_opts *opts)
{
    td_try_in_ in = { text, type, (const char *)rows, n };
    if (!strcmp(f->in->name, type->name) && !((f->i.flags & TD_F_TEXT) && !text))
        return td_try_all_(f, &in, opts);
    td_try r = td_try_start_(f);
    char *why = (char *)td_try_keep_(&r, 200);
    snprintf(why, 200, "%s() takes %s, the test gives %s", f->i.name, f->i.flags & TD_F_TEXT ? "lines" : f->in->name,
             type->name);
    r.fail_text = why;
    return r;
}

/* Folds rows [lo, hi) into *acc: from the left, from the right, or by halves. */
TD_COLD_ void td_try_fold_(td_try_task_ *k, const char *rows, uint64_t lo, uint64_t hi, int how, void *acc)
{
    const td_fn *f = k->r->fn_;
    size_t z = f->in->size;
    td_str other[2];
    void *one = acc;
    if (how == 2 && hi - lo > 1) {
        uint64_t mid = lo + (hi - lo + 1) / 2;
        td_try_fold_(k, rows, lo, mid, how, acc);
        td_try_fold_(k, rows, mid, hi, how, other);
        f->fold(&k->t, &one, other, 1);
        return;
    }
    memcpy(acc, rows + (how == 1 ? hi - 1 : lo) * z, z);
    for (uint64_t i = 1; i < hi - lo; i++)
        f->fold(&k->t, &one, rows + (how == 1 ? hi - 1 - i : lo + i) * z, 1);
}
/* The same, but for rounding? */
TD_COLD_ bool td_try_same_(const td_try *r, const td_try *s)
{
    if (r->fn_->in->key != TD_K_F64 || r->fn_->in->val || r->n != 1 || s->n != 1)
        return !strcmp(r->text, s->text);
    double a = *(const double *)r->col[0], d = a - *(const double *)s->col[0], most = a < 0 ? -1e-9 * a : 1e-9 * a;
    return (d <= most && -d <= most) || !strcmp(r->text, s->text);
}
TD_COLD_ td_try td_try_reduce_(const td_fn *f, const void *rows, uint64_t n, const td_opts *opts)
{
    static const char *const ways[] = { "from the left", "from the right", "by halves" };
    td_try r, s;
    td_try_task_ k;
    td_try_out_ out;
    memset(&r, 0, sizeof r);
    for (int how = 0; how < 3; how++) {
        td_str acc[2];
        size_t z = td_try_size_(f->in->key);
        s = td_try_start_(f);
        if (td_try_begin_(&s, opts, 1, &k, &out) && n) {
            td_try_fold_(&k, (const char *)rows, 0, n, how, acc);
            memcpy(out.o.col[0], acc, z);
            memcpy(out.o.col[1], (const char *)acc + z, td_try_size_(f->in->val));
            out.o.n = 1;
            if (k.t.bad == 1)
                s.fail_text = "td_bad was called in a reducer, where there is no record to drop";
            else if (!k.t.bad)
                td_try_take_(&s, &out.o, 1);
        }
        td_try_end_(&k, &out);
        if (how == 0) {
            r = s;
            continue;
        }
        if (!*r.fail_text && !td_try_same_(&r, &s)) {
            size_t len = 200 + strlen(r.text) + strlen(s.text);
            char *why = (char *)td_try_keep_(&r, len);
            snprintf(why, len, "the order matters: folded %s \"%s\", %s \"%s\"", ways[0], r.text, ways[how], s.text);
            r.fail_text = why;
        }
        td_try_free(&s);
    }
    return r;
}
TD_COLD_ td_try td_try_group_(const td_fn *f, const void *key, const void *vals, uint64_t n, const td_opts *opts)
{
    static const uint32_t caps[] = { 1024, 7, 4, 3, 2, 1 };
    td_try r, s;
    td_try_task_ k;
    td_try_out_ out;
    memset(&r, 0, sizeof r);
    for (size_t c = 0; c < sizeof caps / sizeof *caps; c++) {
        td_try_iter_ it = { { td_try_next_ }, (const char *)vals, (size_t)n, td_try_size_(f->in->val) };
        s = td_try_start_(f);
        if (td_try_begin_(&s, opts, caps[c], &k, &out)) {
            f->group(&k.t, key, &it.i, &out.o);
            if (!*s.fail_text && out.o.n)
                td_try_take_(&s, &out.o, out.o.n);
        }
        bool over = td_try_end_(&k, &out);
        if (c == 0)
            r = s;
        else
            td_try_agree_(&r, &s, caps[c], over);
    }
    return r;
}
/* Did the attempt succeed with these rows?  Says on stderr why not. */
TD_COLD_ bool td_try_is(const td_try *r, const char *want)
{
    if (*r->fail_text)
        fprintf(stderr, "\n  %s() failed: %s\n", r->fn_->i.name, r->fail_text);
    else if (strcmp(r->text, want))
        fprintf(stderr, "\n  %s() gave %s\n    instead of %s\n", r->fn_->i.name, r->text, want);
    return !*r->fail_text && !strcmp(r->text, want);
}
TD_COLD_ bool td_try_fails(const td_try *r, const char *words)
{
    bool ok = *r->fail_text && strstr(r->fail_text, words);
    if (!ok)
        fprintf(stderr, "\n  %s() %s%s\n    instead of failing with \"%s\"\n", r->fn_->i.name,
                *r->fail_text ? "failed: " : "gave ", *r->fail_text ? r->fail_text : r->text, words);
    return ok;
}
#ifdef __cplusplus
TD_END_
#endif

#define TD_TRY_MAP(fn, ...) TD_TRY_LINES_(td_map_fn_##fn, __VA_ARGS__, )
#define TD_TRY_FILTER(fn, ...) TD_TRY_LINES_(td_filter_fn_##fn, __VA_ARGS__, )
#define TD_TRY_MAP_ROWS(fn, T, array, ...) TD_TRY_ROWS_(td_map_fn_##fn, T, array, __VA_ARGS__, )
#define TD_TRY_FILTER_ROWS(fn, T, array, ...) TD_TRY_ROWS_(td_filter_fn_##fn, T, array, __VA_ARGS__, )
#define TD_TRY_REDUCE(fn, T, array, ...) TD_TRY_REDUCE_(fn, T, array, __VA_ARGS__, )
#define TD_TRY_GROUP(fn, K, V, key, array, ...) TD_TRY_GROUP_(fn, K, V, key, array, __VA_ARGS__, )
#define TD_TRY_LINES_(f, text, ...) td_try_map_(&f, text, TD_TYPE_(str), 0, 0, TD_OPTS_(__VA_ARGS__))
#define TD_TRY_ROWS_(f, T, array, n, ...) \
    td_try_map_(&f, 0, TD_TYPE_(T), TD_IN_(td_##T, array), n, TD_OPTS_(__VA_ARGS__))
#define TD_TRY_REDUCE_(fn, T, array, n, ...) \
    td_try_reduce_(&td_fold_fn_##fn, TD_IN_(td_##T, array), n, TD_OPTS_(__VA_ARGS__))
#define TD_TRY_GROUP_(fn, K, V, key, array, n, ...) TD_TRY_GROUP_KV_(fn, K, V, key, array, n, __VA_ARGS__)
#define TD_TRY_GROUP_KV_(fn, K, V, k, array, n, ...) \
    td_try_group_(&td_group_fn_##fn, td_try_key_##K(k), TD_IN_(td_##V, array), n, TD_OPTS_(__VA_ARGS__))
#define TD_TRY_KEY_(K)                                  \
    TD_INLINE_ const void *td_try_key_##K(td_##K k)     \
    {                                                   \
        static td_##K kept;                             \
        kept = k;                                       \
        return &kept;                                   \
    }
TD_TRY_KEY_(u64) TD_TRY_KEY_(i64) TD_TRY_KEY_(f64) TD_TRY_KEY_(str)
#define CU_ASSERT_TD(attempt, want) TD_TRY_ASSERT_(td_try_is, attempt, want)
#define CU_ASSERT_TD_FAILS(attempt, words) TD_TRY_ASSERT_(td_try_fails, attempt, words)
#define TD_TRY_ASSERT_(test, attempt, want)                                                           \
    do {                                                                                             \
        td_try r_ = (attempt);                                                                       \
        CU_assertImplementation(test(&r_, want), __LINE__, #attempt, __FILE__, "", CU_FALSE);        \
        td_try_free(&r_);                                                                            \
    } while (0)
#endif
