/*
 * work SHAPE ROUNDS INPUT OUTPUT -- jobs of several shapes that last as long as one likes: each line costs ROUNDS rounds
 * of arithmetic.  The result depends on the input alone, and three accumulators are printed, which must be exact
 * whatever was killed meanwhile.
 *
 *   words     one shuffle: words and their counts
 *   two       two shuffles: how many words have which count
 *   sort      lines in order
 *   distinct  words, each once
 *   table     words and numbers that a broadcast has for them
 *   both      two actions: words into OUTPUT-first, then two into OUTPUT
 */
#include <inttypes.h>
#include <stdio.h>
#include <taskd.h>

TD_COUNTER(lines_seen);
TD_COUNTER(words_seen);
TD_MAXIMUM(longest);

static uint64_t
spin(td_task *t, td_str line)
{
    uint64_t rounds = *td_arg(t, uint64_t), x = line.n | 1;

    for (uint64_t i = 0; i < rounds; i++)
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return x;
}

static void
words(td_task *t, td_str line, td_out_str_i64 *out)
{
    td_str w;

    if (spin(t, line) == 42) /* never, but the compiler can't know */
        return;
    td_add(t, lines_seen, 1);
    td_max(t, longest, (int64_t)line.n);
    TD_EACH_WORD(w, line) {
        td_add(t, words_seen, 1);
        td_emit(out, w, 1);
    }
}
TD_FLAT_MAP(words, str, str_i64);

TD_BROADCAST(table); /* bytes */

static void
looked_up(td_task *t, td_str line, td_out_str_i64 *out)
{
    const td_str *b = td_get(t, table);
    td_str w;

    if (spin(t, line) == 42)
        return;
    if (line.n % 1000 == 77)
        td_log(t, TD_WARN, "a line of %d bytes", (int)line.n);
    td_add(t, lines_seen, 1);
    td_max(t, longest, (int64_t)line.n);
    TD_EACH_WORD(w, line) {
        td_add(t, words_seen, 1);
        td_emit(out, w, b->p[w.n * 4001 % b->n]);
    }
}
TD_FLAT_MAP(looked_up, str, str_i64);

static td_str
keep(td_task *t, td_str line)
{
    td_add(t, lines_seen, spin(t, line) != 42);
    td_max(t, longest, (int64_t)line.n);
    return line;
}
TD_MAP(keep, str, str);

static td_i64_i64
by_count(td_task *t, td_str_i64 r)
{
    return (td_i64_i64){ r.val, 1 };
}
TD_MAP(by_count, str_i64, i64_i64);

static td_str
word(td_task *t, td_str_i64 r)
{
    return r.key;
}
TD_MAP(word, str_i64, str);

#define USAGE "work words|two|sort|distinct|table|both ROUNDS INPUT OUTPUT"

static int
job(td_job *j, int argc, char **argv)
{
    if (argc != 5)
        return TD_USAGE(j, USAGE);
    uint64_t rounds = strtoull(argv[2], NULL, 10);
    td_ds *in = td_text_file(j, argv[3]), *d;

    if (!strcmp(argv[1], "both")) {
        char first[4096];

        snprintf(first, sizeof first, "%s-first", argv[4]);
        if (td_save_text(td_sum_by_key(td_flat_map(in, words, TD_ARG(rounds))), first))
            return 1;
    }
    if (!strcmp(argv[1], "sort")) {
        d = td_sort(td_map(in, keep, TD_ARG(rounds)));
    } else if (!strcmp(argv[1], "table")) {
        static char bytes[5 << 20];

        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)(i % 101);
        if (td_broadcast(j, table, bytes, sizeof bytes))
            return 1;
        d = td_sum_by_key(td_flat_map(in, looked_up, TD_ARG(rounds)));
    } else {
        d = td_flat_map(in, words, TD_ARG(rounds));
        if (!strcmp(argv[1], "words"))
            d = td_sum_by_key(d);
        else if (!strcmp(argv[1], "two") || !strcmp(argv[1], "both"))
            d = td_sum_by_key(td_map(td_sum_by_key(d), by_count));
        else if (!strcmp(argv[1], "distinct"))
            d = td_distinct(td_map(d, word));
        else
            return TD_USAGE(j, USAGE);
    }
    int status = td_save_text(d, argv[4]);
    if (status == 0)
        td_say(j, "lines %" PRId64 " words %" PRId64 " longest %" PRId64, td_total(j, lines_seen), td_total(j, words_seen),
               td_total(j, longest));
    return status;
}
TD_PLUGIN("work", "1.0", job);
