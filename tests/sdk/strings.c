/*
 * Tests of taskd.h's string helpers against simple ones, with each string at the end of a page behind which nothing
 * may be read.  Built for several x86-64 levels.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit.h"

#include <taskd.h>

enum { LENGTHS = 201 };

static uint64_t seed = 7;
static uint64_t
rnd(uint64_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % below;
}

/* Two pages that may be read, then one that may not; returns its first byte. */
static char *
guard(void)
{
    static char *end;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if (!end) {
        char *p = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        CU_ASSERT_FATAL(p != MAP_FAILED);
        CU_ASSERT_FATAL(mprotect(p + 2 * page, page, PROT_NONE) == 0);
        end = p + 2 * page;
    }
    return end;
}

/* n bytes out of an alphabet, behind them `gap` bytes and the guard; what is before and behind is like them. */
static td_str
text(size_t n, size_t gap, const char *alphabet, size_t letters)
{
    char *end = guard(), *p = end - n - gap;

    for (char *q = p - 70; q < end; q++)
        *q = alphabet[rnd(letters)];
    return (td_str){ p, n };
}

static int64_t
simple_find(td_str s, td_str x)
{
    for (size_t i = 0; i + x.n <= s.n; i++)
        if (!memcmp(s.p + i, x.p, x.n))
            return (int64_t)i;
    return -1;
}

static void
find_finds_what_a_loop_finds(void)
{
    char needle[80];

    for (size_t n = 0; n < LENGTHS; n++)
        for (int round = 0; round < 60; round++) {
            td_str s = text(n, round % 3 ? 0 : rnd(70), "ab\0", round % 2 ? 2 : 3);
            td_str x = { needle, rnd(round % 5 ? 12 : sizeof needle) };

            if (round % 4 && x.n <= s.n) /* one that is there, often at the very end */
                memcpy(needle, s.p + (round % 8 < 4 ? s.n - x.n : rnd(s.n - x.n + 1)), x.n);
            else
                for (size_t i = 0; i < x.n; i++)
                    needle[i] = "ab"[rnd(2)];
            int64_t want = simple_find(s, x), got = td_find(s, x);

            if (got != want)
                EQ_U64(got, want);
            if (td_has(s, x) != (want >= 0))
                CU_FAIL("td_has");
        }
    CU_PASS("all lengths");
}

static void
find_takes_a_needle_at_a_page_end(void)
{
    for (size_t n = 0; n < LENGTHS; n++) {
        td_str x = text(n, 0, "ab", 2);
        char hay[2 * LENGTHS];

        memset(hay, 'a', sizeof hay);
        memcpy(hay + 100, x.p, n);
        td_str s = { hay, sizeof hay };
        if (td_find(s, x) != simple_find(s, x))
            EQ_U64(td_find(s, x), simple_find(s, x));
    }
    CU_PASS("all lengths");
}

static void
words_are_runs_above_blank(void)
{
    static const char alphabets[][8] = { "ab \t\n", "a \0\x7f\x80\xff", "abcdefg", " \t\n\r\f\v\0", "aaaaaa " };

    for (size_t n = 0; n < LENGTHS; n++)
        for (int round = 0; round < 100; round++) {
            td_str s = text(n, round % 3 ? 0 : rnd(70), alphabets[round % 5], 6 + (round % 2)), w;
            size_t at = 0;

            TD_EACH_WORD(w, s) {
                while (at < n && (unsigned char)s.p[at] <= 0x20)
                    at++;
                size_t end = at;

                while (end < n && (unsigned char)s.p[end] > 0x20)
                    end++;
                if (w.p != s.p + at || w.n != end - at || w.n == 0) {
                    EQ_U64(w.p - s.p, at);
                    EQ_U64(w.n, end - at);
                    return;
                }
                at = end;
            }
            while (at < n && (unsigned char)s.p[at] <= 0x20)
                at++;
            if (at != n)
                EQ_U64(at, n);
        }
    CU_PASS("all lengths");
}

static void
words_can_be_left_early_and_nested(void)
{
    td_str a = td_lit("one two"), b = td_lit("x y z"), v, w;
    int n = 0;

    TD_EACH_WORD(v, a)
        TD_EACH_WORD(w, b) {
            if (td_eq(w, td_lit("z")))
                break;
            n++;
        }
    EQ_U64(n, 4);
    TD_EACH_WORD(w, ((td_str){ NULL, 0 }))
        CU_FAIL("an empty string has no words");
}

static void
cut_gives_every_field(void)
{
    for (size_t n = 0; n < LENGTHS; n++)
        for (int round = 0; round < 20; round++) {
            td_str s = text(n, 0, "ab,", 3), rest = s, f;
            const char *p = s.p;
            size_t fields = 0, commas = 0;

            for (size_t i = 0; i < n; i++)
                commas += s.p[i] == ',';
            while (td_cut(&rest, ',', &f)) {
                if (f.p != p || (f.n && memchr(f.p, ',', f.n)))
                    CU_FAIL("a field");
                p = f.p + f.n + 1;
                fields++;
            }
            if (fields != commas + 1 || p != s.p + n + 1)
                EQ_U64(fields, commas + 1);
        }
    td_str none = { NULL, 0 }, f;

    CU_ASSERT(!td_cut(&none, ',', &f));
}

static void
whole_numbers_are_read_exactly(void)
{
    static const char letters[] = "0123456789+- x9";

    for (size_t n = 0; n < 26; n++)
        for (int round = 0; round < 20000; round++) {
            td_str s = text(n, 0, letters, round % 3 ? 10 : sizeof letters);
            char z[32], *end;
            uint64_t u = 77;
            int64_t i = 77;

            if (round % 7 == 0 && n == 20)
                memcpy((char *)s.p, "18446744073709551615", 19); /* and a digit at random */
            if (round % 7 == 1 && n == 20)
                memcpy((char *)s.p, "-9223372036854775808", 19);
            if (round % 7 == 2 && n == 19)
                memcpy((char *)s.p, "9223372036854775807", 18);
            memcpy(z, s.p, n);
            z[n] = 0;
            bool digits = n > 0 && strspn(z, "0123456789") == n, sign = n > 1 && (z[0] == '-' || z[0] == '+') &&
                                                                        strspn(z + 1, "0123456789") == n - 1;
            errno = 0;
            uint64_t wu = strtoull(z, &end, 10);
            bool oku = digits && n <= 20 && errno == 0;
            errno = 0;
            int64_t wi = strtoll(z, &end, 10);
            bool oki = (digits || sign) && n <= (sign ? 21u : 20u) && errno == 0;

            if (td_to_u64(s, &u) != oku || u != (oku ? wu : 77) || td_to_i64(s, &i) != oki || i != (oki ? wi : 77)) {
                fprintf(stderr, "\n  \"%s\": u64 %d %llu (want %d %llu), i64 %d %lld (want %d %lld)\n", z, td_to_u64(s, &u),
                        (unsigned long long)u, oku, (unsigned long long)wu, td_to_i64(s, &i), (long long)i, oki,
                        (long long)wi);
                CU_FAIL("a number");
                return;
            }
        }
    CU_PASS("all lengths");
}

static void
fractions_are_read_as_by_strtod(void)
{
    static const char *const some[] = { "0", "-0", "1.5", "1e3", "-1e-3", ".5", "5.", "inf", "nan", "0x1p3", "1e400", "", " 1", "1 ",
                                        "1x", "+1", "1e", "-", "123456789012345678901234567890", "\t1", "1\n" };
    char z[80], *end;
    double d;

    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        td_str s = text(strlen(some[i]), 0, "0", 1);

        memcpy((char *)s.p, some[i], s.n);
        double want = strtod(some[i], &end);
        bool ok = s.n && !*end && (unsigned char)some[i][0] > ' ';

        d = 77;
        CU_ASSERT(td_to_f64(s, &d) == ok);
        CU_ASSERT(!ok || d == want || (d != d && want != want));
        CU_ASSERT(ok || d == 77);
    }
    for (size_t n = 0; n < LENGTHS; n++)
        for (int round = 0; round < 200; round++) {
            td_str s = text(n, 0, "0123456789.e-", 13);

            memcpy(z, s.p, n < 79 ? n : 79);
            z[n < 79 ? n : 79] = 0;
            bool ok = n > 0 && n <= 63 && (strtod(z, &end), end == z + n);

            if (td_to_f64(s, &d) != ok || (ok && memcmp(&d, &(double){ strtod(z, NULL) }, 8)))
                CU_FAIL(z);
        }
    CU_PASS("all lengths");
}

static void
small_things(void)
{
    td_str abc = td_lit("abc"), none = { NULL, 0 };

    CU_ASSERT(td_eq(abc, td_cstr("abc")) && !td_eq(abc, td_lit("abd")) && !td_eq(abc, td_lit("ab")) && td_eq(none, td_lit("")));
    CU_ASSERT(td_starts(abc, td_lit("ab")) && td_starts(abc, none) && !td_starts(abc, td_lit("b")) && !td_starts(none, abc));
    CU_ASSERT(td_ends(abc, td_lit("bc")) && td_ends(abc, none) && !td_ends(abc, td_lit("b")) && !td_ends(none, abc));
    CU_ASSERT(td_find(none, none) == 0 && td_find(abc, none) == 0 && td_find(none, abc) == -1);
}

static const struct unit_test tests[] = {
    { "strings.find_finds_what_a_loop_finds", find_finds_what_a_loop_finds },
    { "strings.find_takes_a_needle_at_a_page_end", find_takes_a_needle_at_a_page_end },
    { "strings.words_are_runs_above_blank", words_are_runs_above_blank },
    { "strings.words_can_be_left_early_and_nested", words_can_be_left_early_and_nested },
    { "strings.cut_gives_every_field", cut_gives_every_field },
    { "strings.whole_numbers_are_read_exactly", whole_numbers_are_read_exactly },
    { "strings.fractions_are_read_as_by_strtod", fractions_are_read_as_by_strtod },
    { "strings.small_things", small_things },
    UNIT_END,
};

int
main(int argc, char **argv)
{
#if defined(__x86_64__)
    if ((TD_ISA_ >= 3 && !__builtin_cpu_supports("avx2")) || (TD_ISA_ >= 4 && !__builtin_cpu_supports("avx512bw"))) {
        puts("this CPU can't run it");
        return 77;
    }
#endif
    return unit_main(argc, argv, "strings", tests);
}
