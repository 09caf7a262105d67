/* Tests of plan: graphs as bytes, types, splits, stages. */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"
#include "unit.h"

enum { NODES = 4096 };
#define MIB (1024ull * 1024)
#define U64 { PLAN_U64, 0 }
#define STR { PLAN_STR, 0 }

/* A graph under construction. */
struct made {
    struct arena a;
    struct plan_graph g;
    struct plan_ids ids;
    struct plan_opts opts;
    struct plan_file files[4];
    struct plan_input in;
};

static void
setup(struct made *m)
{
    *m = (struct made){ .opts = { .slots = 2 } };
    m->g.nodes = ARENA_ARRAY(&m->a, struct plan_node, NODES);
    m->files[0] = (struct plan_file){ "in.txt", 100 * MIB, false };
    m->in = (struct plan_input){ 0, 1, m->files };
}

static void
teardown(struct made *m)
{
    plan_ids_fini(&m->ids);
    arena_fini(&m->a);
}

static struct plan_node *
node(struct made *m, enum plan_op op, struct plan_schema out, const char *name)
{
    struct plan_node *n = &m->g.nodes[m->g.n];

    *n = (struct plan_node){ .id = m->g.n++, .op = op, .out = out, .fn = PLAN_NO_FN, .name = name };
    n->file = "job.c";
    n->line = 10 + n->id;
    if (op == PLAN_TEXT)
        n->path = "in.txt";
    return n;
}

static struct plan_node *
on(struct made *m, enum plan_op op, const struct plan_node *in, struct plan_schema out, const char *name)
{
    struct plan_node *n = node(m, op, out, name);

    n->in = in->out;
    n->n_in = 1;
    n->in_ids = ARENA_ARRAY(&m->a, uint32_t, 1);
    n->in_ids[0] = in->id;
    if (op == PLAN_MAP || op == PLAN_GROUP)
        n->fn = n->id;
    return n;
}

static struct plan_node *
fold(struct made *m, enum plan_fold how, const struct plan_node *in)
{
    struct plan_schema out = in->out;

    if (how == PLAN_FOLD_COUNT)
        out.val = PLAN_I64;
    struct plan_node *n = on(m, PLAN_FOLD, in, out, NULL);
    n->fold = (uint8_t)how;
    if (how == PLAN_FOLD_FN)
        n->fn = 7;
    return n;
}

static struct plan_node *
both(struct made *m, const struct plan_node *a, const struct plan_node *b)
{
    struct plan_node *n = node(m, PLAN_UNION, a->out, NULL);

    n->in = a->out;
    n->n_in = 2;
    n->in_ids = ARENA_ARRAY(&m->a, uint32_t, 2);
    n->in_ids[0] = a->id;
    n->in_ids[1] = b->id;
    return n;
}

static struct plan_action
action(enum plan_act act, const struct plan_node *n)
{
    return (struct plan_action){ .act = act, .node = n->id, .fn = PLAN_NO_FN, .file = "job.c", .line = 99,
                                 .path = "out" };
}

static struct err *
cut(struct made *m, const struct plan_action *act, struct plan *ret)
{
    return plan_cut(&m->g, act, &m->in, 1, &m->opts, &m->ids, &m->a, ret);
}

/* text -> words -> count -> top */
static struct plan_node *
wordcount(struct made *m)
{
    struct plan_node *text = node(m, PLAN_TEXT, (struct plan_schema)STR, "lines");
    struct plan_node *words = on(m, PLAN_MAP, text, (struct plan_schema){ PLAN_STR, PLAN_U64 }, "words");
    struct plan_node *sum = fold(m, PLAN_FOLD_SUM, words);

    return on(m, PLAN_MAP, sum, (struct plan_schema)STR, "show");
}

static void
test_wordcount(void)
{
    struct made m;
    struct plan p;

    setup(&m);
    struct plan_action act = action(PLAN_SAVE_TEXT, wordcount(&m));
    NO_ERR(cut(&m, &act, &p));
    EQ_U64(p.n, 2);
    const struct plan_stage *st = &p.stages[0];
    EQ_U64(st->id, 0);
    EQ_U64(st->sink, PLAN_SINK_SHUFFLE);
    EQ_U64(st->node, 2);
    EQ_U64(st->tasks, 3); /* 100 MiB at 32 MiB */
    EQ_U64(st->partitions, 4);
    EQ_U64(st->n_parents, 0);
    EQ_U64(st->n_branches, 1);
    EQ_U64(st->branches[0].source, PLAN_SRC_TEXT);
    EQ_U64(st->branches[0].n_ops, 1);
    EQ_U64(st->branches[0].ops[0], 1);
    EQ_U64(st->row.key, PLAN_STR);
    EQ_U64(st->row.val, PLAN_U64);
    EQ_STR(st->label, "words (job.c:11)");
    st = &p.stages[1];
    EQ_U64(st->sink, PLAN_SINK_SAVE_TEXT);
    EQ_U64(st->node, 3);
    EQ_U64(st->tasks, 4);
    EQ_U64(st->n_parents, 1);
    EQ_U64(st->parents[0], 0);
    EQ_U64(st->branches[0].source, PLAN_SRC_SHUFFLE);
    EQ_U64(st->branches[0].node, 2);
    EQ_U64(st->branches[0].parent, 0);
    EQ_U64(st->branches[0].parent_maps, 3);
    EQ_U64(st->branches[0].ops[0], 3);
    EQ_STR(st->label, "show (job.c:13)");
    EQ_U64(p.first, 0);
    EQ_U64(p.n_result, 4);
    teardown(&m);
}

static void
test_reuse(void)
{
    struct made m;
    struct plan p;

    setup(&m);
    struct plan_node *show = wordcount(&m);
    struct plan_action act = action(PLAN_COUNT, &m.g.nodes[2]);
    act.n = 1;
    act.first = 2;
    NO_ERR(cut(&m, &act, &p));
    EQ_U64(p.n, 2);
    EQ_U64(p.first, 2);
    EQ_U64(p.n_result, 1);
    EQ_U64(p.stages[1].id, 1);
    EQ_U64(p.stages[1].branches[0].n_ops, 0);
    struct plan_node *uniq = fold(&m, PLAN_FOLD_DISTINCT, show);
    act = action(PLAN_COLLECT, uniq);
    act.first = 9;
    NO_ERR(cut(&m, &act, &p));
    EQ_U64(p.n, 3);
    EQ_U64(p.stages[0].id, 0); /* the shuffle of the first job */
    EQ_U64(p.stages[1].id, 2);
    EQ_U64(p.stages[1].parents[0], 0);
    EQ_U64(p.stages[2].id, 3);
    EQ_U64(p.stages[2].parents[0], 2);
    EQ_U64(p.first, 4);
    EQ_U64(p.n_result, 0);
    EQ_U64(m.ids.n, 2);
    m.files[0].size *= 2;
    IS_ERR(cut(&m, &act, &p), ERR_INPUT, "job.c:12: the input of \"sum_by_key\" had 3 splits and now has 4");
    EQ_U64(m.ids.next, 4);
    teardown(&m);
}

static void
test_union(void)
{
    struct made m;
    struct plan p;

    setup(&m);
    struct plan_node *text = node(&m, PLAN_TEXT, (struct plan_schema)STR, "lines"); /* 0: 3 */
    struct plan_node *from = node(&m, PLAN_FROM, (struct plan_schema)STR, "from");  /* 1: 2 */
    from->hi = 2;
    struct plan_node *up = on(&m, PLAN_MAP, from, from->out, "up");     /* 2 */
    struct plan_node *u = both(&m, text, up);                           /* 3: 5 */
    struct plan_node *trim = on(&m, PLAN_MAP, u, u->out, "trim");       /* 4: 5 */
    struct plan_node *uniq = fold(&m, PLAN_FOLD_DISTINCT, text);        /* 5: 4 */
    struct plan_node *uu = both(&m, uniq, trim);                        /* 6: 9 */
    struct plan_node *all = both(&m, uu, uniq);                         /* 7: 13 */
    struct plan_node *last = on(&m, PLAN_MAP, all, all->out, "last");   /* 8 */
    struct plan_action act = action(PLAN_COUNT, last);
    NO_ERR(cut(&m, &act, &p));
    EQ_U64(p.n, 2);
    const struct plan_stage *st = &p.stages[1];
    EQ_U64(st->tasks, 13);
    EQ_U64(st->n_branches, 4);
    EQ_U64(st->n_parents, 1);
    static const uint32_t nodes[] = { 5, 0, 1, 5 }, first[] = { 0, 4, 7, 9 };
    static const uint32_t n[] = { 4, 3, 2, 4 }, n_ops[] = { 1, 2, 3, 1 };
    for (uint32_t i = 0; i < 4; i++) {
        EQ_U64(st->branches[i].node, nodes[i]);
        EQ_U64(st->branches[i].first, first[i]);
        EQ_U64(st->branches[i].n, n[i]);
        EQ_U64(st->branches[i].n_ops, n_ops[i]);
        EQ_U64(st->branches[i].ops[n_ops[i] - 1], 8);
    }
    const struct plan_branch *b = &st->branches[2];
    EQ_U64(b->ops[0], 2);
    EQ_U64(b->op_first[0], 7); /* "up" has partitions 0, 1 */
    EQ_U64(b->ops[1], 4);
    EQ_U64(b->op_first[1], 4); /* "trim" has 0..4, the union of text and up */
    EQ_U64(b->op_first[2], 0);
    for (uint32_t q = 0; q < st->tasks; q++) {
        b = plan_branch_of(st, q);
        CU_ASSERT(q >= b->first && q < b->first + b->n);
    }
    teardown(&m);
}

/* Nested unions of the same dataset: 2^depth branches. */
static void
test_too_wide(void)
{
    struct made m;
    struct plan p;

    setup(&m);
    struct plan_node *n = node(&m, PLAN_RANGE, (struct plan_schema)U64, "r");
    n->hi = 1;
    for (int i = 0; i < 10; i++)
        n = both(&m, n, n);
    struct plan_action act = action(PLAN_COUNT, n);
    NO_ERR(cut(&m, &act, &p));
    EQ_U64(p.stages[0].tasks, 1024);
    EQ_U64(p.stages[0].n_branches, 1024);
    for (int i = 0; i < 60; i++)
        n = both(&m, n, n);
    act = action(PLAN_COUNT, n);
    IS_ERR(cut(&m, &act, &p), ERR_LIMIT, "job.c:35: union makes 33554432 partitions");
    teardown(&m);
}

static void
test_deep(void)
{
    struct made m;
    struct plan p;

    setup(&m);
    struct plan_node *n = node(&m, PLAN_RANGE, (struct plan_schema)U64, "r");
    n->hi = 100;
    while (m.g.n < NODES)
        n = m.g.n % 2 ? on(&m, PLAN_SORT, n, n->out, NULL) : on(&m, PLAN_MAP, n, n->out, "m");
    struct plan_action act = action(PLAN_COUNT, n);
    NO_ERR(cut(&m, &act, &p));
    EQ_U64(p.n, NODES / 2 + 1);
    EQ_U64(m.ids.n, NODES / 2);
    for (uint32_t i = 1; i < p.n; i++)
        EQ_U64(p.stages[i].parents[0], p.stages[i - 1].id);
    teardown(&m);
}

static void
test_types(void)
{
    struct made m;
    struct plan p;

    setup(&m);
    struct plan_node *text = node(&m, PLAN_TEXT, (struct plan_schema)STR, "lines");
    struct plan_node *sum = fold(&m, PLAN_FOLD_SUM, text);
    struct plan_action act = action(PLAN_COUNT, sum);
    IS_ERR(cut(&m, &act, &p), ERR_INPUT, "job.c:11: sum_by_key needs pairs with numeric values, \"lines\" has str");
    sum->fold = PLAN_FOLD_COUNT;
    IS_ERR(cut(&m, &act, &p), ERR_INPUT, "job.c:11: count_by_key needs pairs, \"lines\" has str");
    sum->fold = PLAN_FOLD_DISTINCT;
    sum->out.val = PLAN_I64;
    IS_ERR(cut(&m, &act, &p), ERR_INPUT, "job.c:11: distinct makes str, not str_i64");
    sum->out = sum->in = (struct plan_schema){ PLAN_F64, 0 };
    IS_ERR(cut(&m, &act, &p), ERR_INPUT, "job.c:11: distinct \"distinct\" takes f64, \"lines\" has str");
    sum->out = sum->in = text->out;
    NO_ERR(cut(&m, &act, &p));
    m.in.node = 1;
    IS_ERR(cut(&m, &act, &p), ERR_INPUT, "job.c:10: nobody has looked at the files of \"in.txt\"");
    act.act = PLAN_REDUCE;
    IS_ERR(cut(&m, &act, &p), ERR_INPUT, "job.c:99: reduce has no function");
    act.act = PLAN_SAVE_TEXT;
    act.path = "";
    IS_ERR(cut(&m, &act, &p), ERR_INPUT, "job.c:99: save has no path");
    act.node = 2;
    IS_ERR(cut(&m, &act, &p), ERR_INPUT, "job.c:99: the action is on dataset 2, which the graph hasn't");
    act = action(PLAN_COUNT, sum);
    sum->in_ids[0] = 1;
    IS_ERR(cut(&m, &act, &p), ERR_INPUT, "job.c:11: \"distinct\" reads a node that comes later");
    EQ_U64(m.ids.next, 2);
    teardown(&m);
}

/* ---- splits */
static void
split_files(struct made *m, struct plan_file *files, uint32_t n, struct plan *p)
{
    struct plan_node *text = node(m, PLAN_TEXT, (struct plan_schema)STR, "lines");
    struct plan_action act = action(PLAN_COUNT, text);

    m->in = (struct plan_input){ text->id, n, files };
    NO_ERR(cut(m, &act, p));
}

/* All bytes of all files, once and in order. */
static void
check_cover(const struct plan_stage *st, const struct plan_file *files, uint32_t n)
{
    uint32_t f = 0, bad = 0;
    uint64_t at = 0;

    EQ_U64(st->branches[0].n, st->tasks);
    for (uint32_t s = 0; s < st->tasks; s++)
        for (uint32_t i = 0; i < st->branches[0].splits[s].n; i++) {
            const struct plan_piece *pc = &st->branches[0].splits[s].pieces[i];

            bad += f >= n || strcmp(pc->path, files[f].path) || pc->offset != at;
            bad += pc->file_size != files[f].size;
            at += pc->length;
            if (at == files[f].size) {
                at = 0;
                f++;
            }
        }
    EQ_U64(bad, 0);
    EQ_U64(f, n);
}

static void
test_split_big(void)
{
    struct made m;
    struct plan p;
    struct plan_file file = { "big", 1000000007, false };

    setup(&m);
    m.opts.slots = 1;
    split_files(&m, &file, 1, &p);
    EQ_U64(p.stages[0].tasks, 2);
    EQ_U64(p.stages[0].branches[0].splits[0].pieces[0].length, 500000003);
    check_cover(&p.stages[0], &file, 1);
    m.opts.split_bytes = 1000;
    split_files(&m, &file, 1, &p);
    EQ_U64(p.stages[0].tasks, 909091);
    check_cover(&p.stages[0], &file, 1);
    file.size = 1099;
    split_files(&m, &file, 1, &p);
    EQ_U64(p.stages[0].tasks, 1);
    file.size = 1ull << 62;
    file.whole = true;
    split_files(&m, &file, 1, &p);
    EQ_U64(p.stages[0].tasks, 1);
    file.whole = false;
    struct plan_action act = action(PLAN_COUNT, &m.g.nodes[m.g.n - 1]);
    IS_ERR(cut(&m, &act, &p), ERR_LIMIT, "\"in.txt\" in splits of 1000 bytes makes more than 16777216 tasks");
    teardown(&m);
}

static void
test_split_tiny(void)
{
    struct made m;
    struct plan p;
    struct plan_file *files;

    setup(&m);
    files = ARENA_ARRAY(&m.a, struct plan_file, 10000);
    for (uint32_t i = 0; i < 10000; i++)
        files[i] = (struct plan_file){ arena_printf(&m.a, "f%u", i), i % 7 * 100, i % 3 == 0 };
    m.opts.split_bytes = 100000;
    split_files(&m, files, 10000, &p);
    EQ_U64(p.stages[0].tasks, 30); /* 3 MB; a split may be a tenth too large */
    check_cover(&p.stages[0], files, 10000);
    split_files(&m, files, 0, &p);
    EQ_U64(p.stages[0].tasks, 1);
    EQ_U64(p.stages[0].branches[0].splits[0].n, 0);
    for (uint32_t i = 0; i < 10000; i++)
        files[i].size = 0;
    split_files(&m, files, 10000, &p);
    EQ_U64(p.stages[0].tasks, 1);
    EQ_U64(p.stages[0].branches[0].splits[0].n, 10000);
    teardown(&m);
}

static void
test_split_mixed(void)
{
    struct made m;
    struct plan p;
    struct plan_file files[] = { { "a", 10, false }, { "z", 5000, true }, { "b", 2500, false },
                                 { "c", 0, false },  { "d", 600, false }, { "e", 600, false } };
    static const uint32_t want[] = { 1, 1, 1, 1, 1, 2, 1 };

    setup(&m);
    m.opts.split_bytes = 1000;
    split_files(&m, files, 6, &p);
    EQ_U64(p.stages[0].tasks, 7);
    for (uint32_t i = 0; i < 7 && i < p.stages[0].tasks; i++)
        EQ_U64(p.stages[0].branches[0].splits[i].n, want[i]);
    check_cover(&p.stages[0], files, 6);
    m.g.nodes[0].partitions = 3;
    struct plan_action act = action(PLAN_COUNT, &m.g.nodes[0]);
    NO_ERR(cut(&m, &act, &p));
    check_cover(&p.stages[0], files, 6);
    teardown(&m);
}

static void
test_slice(void)
{
    uint64_t from, to, last = 0;

    for (uint32_t p = 0; p < 7; p++) {
        plan_slice(UINT64_MAX, 7, p, &from, &to);
        EQ_U64(from, last);
        last = to;
    }
    EQ_U64(last, UINT64_MAX);
    plan_slice(2, 4, 0, &from, &to);
    EQ_U64(to - from, 0);
    plan_slice(2, 4, 1, &from, &to);
    EQ_U64(to - from, 1);
}

/* ---- bytes */
static void
test_graph_bytes(void)
{
    struct made m;
    struct buf one = { 0 }, two = { 0 };
    struct plan_graph g;

    setup(&m);
    struct plan_node *show = wordcount(&m);
    show->arg = "a\0b";
    show->arg_n = 3;
    struct plan_bcast values[2] = { { 4, 1 }, { 9, 0 } };
    show->bcast = values;
    show->n_bcast = 2;
    both(&m, show, show);
    plan_graph_encode(&m.g, &one);
    struct get in = GET_OF(one.p, one.n);
    NO_ERR(plan_graph_decode(&in, &m.a, &g));
    CU_ASSERT(in.p == in.end);
    plan_graph_encode(&g, &two);
    EQ_U64(two.n, one.n);
    CU_ASSERT(!memcmp(one.p, two.p, one.n));
    EQ_STR(g.nodes[1].name, "words");
    CU_ASSERT(!memcmp(g.nodes[3].arg, "a\0b", 3));
    EQ_U64(g.nodes[3].n_bcast, 2);
    EQ_U64(g.nodes[3].bcast[0].item, 4);
    EQ_U64(g.nodes[3].bcast[0].id, 1);
    EQ_U64(g.nodes[3].bcast[1].item, 9);
    EQ_U64(g.nodes[3].bcast[1].id, 0);
    EQ_U64(g.nodes[2].n_bcast, 0);
    for (size_t n = 0; n < one.n; n++) { /* cut anywhere: refused, nothing read behind the end */
        char *part = malloc(n + 1);

        memcpy(part, one.p, n);
        in = GET_OF(part, n);
        struct err *e = plan_graph_decode(&in, &m.a, &g);
        CU_ASSERT(e != NULL && e->code == ERR_CORRUPT);
        err_free(e);
        free(part);
    }
    one.p[4] = 1; /* the id of node 0 */
    in = GET_OF(one.p, one.n);
    IS_ERR(plan_graph_decode(&in, &m.a, &g), ERR_CORRUPT, "node 1 of the graph lies behind node 1");
    buf_fini(&one);
    buf_fini(&two);
    teardown(&m);
}

/* What a node is made from, each node once, and a plan of the same bytes as from the whole graph; nothing else travels. */
static void
test_lineage(void)
{
    struct made m;
    struct plan_graph g;
    struct plan_ids ids = { 0 };
    struct plan whole, part;
    struct buf bytes = { 0 }, one = { 0 }, two = { 0 };

    setup(&m);
    struct plan_node *text = node(&m, PLAN_TEXT, (struct plan_schema)STR, "lines"), *others = text;
    for (int i = 0; i < 100; i++) /* of other jobs */
        others = on(&m, PLAN_MAP, others, (struct plan_schema)STR, "other");
    struct plan_node *words = on(&m, PLAN_MAP, text, (struct plan_schema){ PLAN_STR, PLAN_U64 }, "words");
    struct plan_node *twice = both(&m, words, words);
    for (int i = 0; i < 20; i++) /* a diamond on a diamond ...: 64 ways down */
        twice = i < 5 ? both(&m, twice, twice) : on(&m, PLAN_MAP, twice, twice->out, "same");
    struct plan_node *sum = fold(&m, PLAN_FOLD_SUM, twice);
    for (int i = 0; i < 100; i++)
        others = on(&m, PLAN_MAP, others, (struct plan_schema)STR, "other");
    plan_lineage_encode(&m.g, sum->id, &bytes);
    struct get in = GET_OF(bytes.p, bytes.n);
    NO_ERR(plan_graph_decode(&in, &m.a, &g));
    CU_ASSERT(in.p == in.end);
    EQ_U64(g.n, 24);
    EQ_U64(g.nodes[0].id, 0);
    for (uint32_t i = 1; i < g.n; i++)
        EQ_U64(g.nodes[i].id, 100 + i);
    struct plan_action act = action(PLAN_COUNT, sum);
    NO_ERR(cut(&m, &act, &whole));
    NO_ERR(plan_cut(&g, &act, &m.in, 1, &m.opts, &ids, &m.a, &part));
    EQ_U64(part.n, whole.n);
    for (uint32_t i = 0; i < part.n; i++) {
        one.n = two.n = 0;
        plan_stage_encode(&whole.stages[i], &m.g, &one);
        plan_stage_encode(&part.stages[i], &g, &two);
        CU_ASSERT(one.n == two.n && !memcmp(one.p, two.p, one.n));
    }
    act.node = others->id;
    IS_ERR(plan_cut(&g, &act, &m.in, 1, &m.opts, &ids, &m.a, &part), ERR_INPUT, "which the graph hasn't");
    act.node = sum->id;
    g.nodes[5].in_ids[0] = 50; /* a node of another job */
    IS_ERR(plan_cut(&g, &act, &m.in, 1, &m.opts, &ids, &m.a, &part), ERR_INPUT, "reads dataset 50, which the graph hasn't");
    plan_ids_fini(&ids);
    buf_fini(&bytes);
    buf_fini(&one);
    buf_fini(&two);
    teardown(&m);
}

static void
test_action_bytes(void)
{
    struct arena a = { 0 };
    struct buf b = { 0 };
    struct plan_action act = { PLAN_SAVE_TEXT, 3, PLAN_NO_FN, 17, "x.c", "out", 4, 5, 6 }, got;

    plan_action_encode(&act, &b);
    struct get in = GET_OF(b.p, b.n);
    NO_ERR(plan_action_decode(&in, &a, &got));
    EQ_U64(got.act, PLAN_SAVE_TEXT);
    EQ_U64(got.node, 3);
    EQ_U64(got.fn, PLAN_NO_FN);
    EQ_U64(got.line, 17);
    EQ_STR(got.path, "out");
    EQ_U64(got.first, 4);
    EQ_U64(got.n, 5);
    EQ_U64(got.enough, 6);
    b.p[0] = 77;
    in = GET_OF(b.p, b.n);
    IS_ERR(plan_action_decode(&in, &a, &got), ERR_CORRUPT, "there is no action 77");
    buf_fini(&b);
    arena_fini(&a);
}

static void
test_stage_bytes(void)
{
    struct made m;
    struct plan p;
    struct plan_stage st;
    struct plan_graph g;
    struct buf one = { 0 }, two = { 0 };

    setup(&m);
    struct plan_node *show = wordcount(&m), *u = both(&m, show, &m.g.nodes[0]);
    struct plan_action act = action(PLAN_COLLECT, u);
    act.enough = UINT64_C(1) << 40;
    NO_ERR(cut(&m, &act, &p));
    EQ_U64(p.stages[0].enough, 0);
    plan_stage_encode(&p.stages[1], &m.g, &one);
    NO_ERR(plan_stage_decode(one.p, one.n, &m.a, &st, &g));
    EQ_U64(st.enough, act.enough);
    EQ_U64(g.n, 4); /* text, the fold, "show", the union */
    EQ_U64(st.tasks, 7);
    EQ_U64(st.branches[1].first, 4);
    EQ_STR(plan_node(&g, 3)->name, "show");
    CU_ASSERT(plan_node(&g, 1) == NULL && plan_node(&g, 9) == NULL);
    plan_stage_encode(&st, &g, &two);
    EQ_U64(two.n, one.n);
    CU_ASSERT(!memcmp(one.p, two.p, one.n));
    for (size_t n = 0; n < one.n; n++) {
        char *part = malloc(n + 1);

        memcpy(part, one.p, n);
        struct err *e = plan_stage_decode(part, n, &m.a, &st, &g);
        CU_ASSERT(e != NULL && e->code == ERR_CORRUPT);
        err_free(e);
        free(part);
    }
    buf_fini(&one);
    buf_fini(&two);
    teardown(&m);
}

static const struct unit_test tests[] = {
    { "cut.wordcount", test_wordcount },
    { "cut.reuses_shuffles", test_reuse },
    { "cut.nested_unions", test_union },
    { "cut.refuses_too_wide", test_too_wide },
    { "cut.deep", test_deep },
    { "cut.types", test_types },
    { "split.big_file", test_split_big },
    { "split.tiny_files", test_split_tiny },
    { "split.mixed_files", test_split_mixed },
    { "split.slices", test_slice },
    { "bytes.graph", test_graph_bytes },
    { "bytes.lineage", test_lineage },
    { "bytes.action", test_action_bytes },
    { "bytes.stage", test_stage_bytes },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "plan", tests);
}
