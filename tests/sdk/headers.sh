#!/bin/sh
# The SDK's headers as compilers see them: silent on good modules, errors with the right words on bad ones.
# usage: headers.sh; environment: top_srcdir, CC, CXX (those of the build; clang is tried too when it is there)
set -u
top=${top_srcdir:-.}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0 ran=0
fail() {
    failed=$((failed + 1))
    printf 'FAIL: %s\n' "$1"
    sed 's/^/    /' "$tmp/err" | head -20
}

words='static void words(td_task *t, td_str line, td_out_str_i64 *out) { td_emit(out, line, 1); }
TD_FLAT_MAP(words, str, str_i64);
'
warn='-Wall -Wextra -Wpedantic -Wno-unused-parameter -fsyntax-only'

# Lines "compiler<TAB>language options"; cc and gcc are often one program.
list() {
    seen=
    for c in "$@"; do
        path=$(command -v "${c%% *}") || continue
        path=$(readlink -f "$path")
        case " $seen " in *" $path "*) continue ;; esac
        seen="$seen $path"
        printf '%s\t%s\n' "$c" "$lang"
    done
}
{
    lang='-x c -std=c11' && list "${CC:-cc}" gcc clang clang-14
    lang='-x c++ -std=c++20' && list "${CXX:-c++}" g++ clang++ clang++-14
} >"$tmp/compilers"

# silent NAME: $tmp/x.c compiles without a word, in each language of each compiler
silent() {
    while IFS='	' read -r c opts; do
        ran=$((ran + 1))
        # shellcheck disable=SC2086
        $c $opts $warn "-I$top/sdk/include" "$tmp/x.c" >"$tmp/err" 2>&1 && [ ! -s "$tmp/err" ] ||
            fail "$1: $c $opts is not silent"
    done <"$tmp/compilers"
}
# refused NAME WORDS [c]: it does not compile, and the message has the words; c: in C only
refused() {
    while IFS='	' read -r c opts; do
        case "${3-} $opts" in 'c -x c++'*) continue ;; esac
        ran=$((ran + 1))
        # shellcheck disable=SC2086
        if $c $opts $warn "-I$top/sdk/include" "$tmp/x.c" >"$tmp/err" 2>&1; then
            fail "$1: $c $opts compiles it"
        elif ! grep -q -F -e "$2" "$tmp/err"; then
            fail "$1: $c $opts does not say \"$2\""
        fi
    done <"$tmp/compilers"
}
module() { # FUNCTIONS BODY-OF-JOB
    printf '#include <taskd.h>\n%s\nstatic int job(td_job *j, int argc, char **argv) { %s return 0; }\n' "$1" "$2" >"$tmp/x.c"
    printf 'TD_PLUGIN("x", "1.0", job);\n' >>"$tmp/x.c"
}

module '' '' && silent 'no items'
module "$words" '' && silent 'a flat map'
for f in every none; do
    cp "$top/tests/modules/$f.c" "$tmp/x.c" && silent "$f.c"
done
for f in wordcount logerrors grep sort copy; do
    cp "$top/examples/$f.c" "$tmp/x.c" && silent "$f.c"
done
printf '#include <taskd_test.h>\nint main(void) { return 0; }\n' >"$tmp/x.c" && silent 'taskd_test.h alone'
module "$words" 'int64_t k = 3; td_rows r; uint64_t n;
    td_ds *d = td_flat_map(td_text_file(j, argv[1], .partitions = 3), words, .on_bad = TD_SKIP, .name = "w", TD_ARG(k));
    d = td_sort_by_key(td_count_by_key(td_union(td_sum_by_key(d), td_max_by_key(d, .partitions = 2))), .descending = 1);
    return td_collect(d, &r) || td_count(d, &n) || td_save_text(d, "x") || td_take(d, 3, &r);' && silent 'a graph'

# Functions may have any name: none of what the loops around them use.
named() { # KIND REST-OF-PROTOTYPE BODY TYPES: a module with functions of all these names
    all=
    for name in a acc b end fn i it k n o r room t val; do
        all="$all static ${2%%@*} $name${2#*@} { $3 }
TD_$1($name, $4);
"
    done
    module "$all" '' && silent "TD_$1 of functions with short names"
}
named MAP 'td_i64 @(td_task *t_, td_i64 x)' 'return x + 1;' 'i64, i64'
named FILTER 'bool @(td_task *t_, td_i64 x)' 'return x > 1;' i64
named FLAT_MAP 'void @(td_task *t_, td_i64 x, td_out_i64 *out)' 'td_emit(out, x);' 'i64, i64'
named REDUCE 'td_i64 @(td_task *t_, td_i64 x, td_i64 y)' 'return x + y;' i64
named GROUP 'void @(td_task *t_, td_i64 x, td_iter_i64 *all, td_out_i64 *out)' 'td_emit(out, x);' 'i64, i64, i64'
named MAP_BATCH 'int @(td_task *t_, const td_batch *x, td_out_i64 *out)' 'return 0;' 'i64, i64'
named MAP_TEXT 'int @(td_task *t_, td_str x, td_out_i64 *out)' 'return 0;' i64

bc='struct table { int n; };
static struct table *table_build(td_task *t, td_str bytes) { return (struct table *)td_alloc(t, bytes.n); }
'
bc_job='return td_broadcast(j, table, argv[0], 3) || td_broadcast_file(j, table, argv[1]) || td_unbroadcast(j, table);'
use='static td_u64 f(td_task *t, td_u64 v) { return v + (td_u64)td_get(t, table)->n; }
TD_MAP(f, u64, u64);
'
module 'static td_u64 f(td_task *t, td_u64 v) { return v + (td_file(t, "x")[0] == 0); }
TD_MAP(f, u64, u64);
' 'return td_file(j, "x") == 0;' && silent 'a file that went along'
module '' 'return td_file(argv, "x") == 0;' && refused 'a file of nobody' 'error'
module "TD_BROADCAST(table);
$use" "$bc_job" && silent 'a broadcast of bytes'
module "${bc}TD_BROADCAST(table, struct table, table_build);
$use" "$bc_job" && silent 'a broadcast'
module "${bc}TD_BROADCAST(table, struct table, table_build, free);
$use" "$bc_job" && silent 'a broadcast that is freed'
module "${bc}static void table_drop(struct table *a) {}
TD_BROADCAST(table, struct table, table_build, table_drop);
$use" "$bc_job" && silent 'a broadcast with a drop'

# Other headers first, no _GNU_SOURCE: nothing that the header calls may go undeclared.
while IFS='	' read -r c opts; do
    for san in '' -fsanitize=address -U__SSE2__; do
        ran=$((ran + 1))
        printf '#include <string.h>\n#include <stdlib.h>\n#include <taskd.h>\n' >"$tmp/x.c"
        # shellcheck disable=SC2086
        $c $opts $san -Wsystem-headers -fsyntax-only "-I$top/sdk/include" "$tmp/x.c" >"$tmp/err" 2>&1
        ! grep -q implicit "$tmp/err" || fail "string.h first: $c $opts $san calls what is not declared"
    done
done <"$tmp/compilers"

# Wrong prototypes show the right one.
printf '#include <taskd.h>\nstatic void job(td_job *j) {}\nTD_PLUGIN("x", "1.0", job);\n' >"$tmp/x.c" &&
    refused 'wrong job' 'job: expected int job(td_job *, int, char **)'
module 'static int words(td_task *t, td_str line, td_out_str_i64 *out) { return 0; }
TD_FLAT_MAP(words, str, str_i64);
' '' && refused 'wrong result' 'words: expected void words(td_task *, td_str, td_out_str_i64 *)'
module 'static void words(td_task *t, td_u64 line, td_out_str_i64 *out) {}
TD_FLAT_MAP(words, str, str_i64);
' '' && refused 'wrong input' 'words: expected void words(td_task *, td_str, td_out_str_i64 *)'
module 'static void words(td_task *t, td_str line, td_out_u64 *out) {}
TD_FLAT_MAP(words, str, str_i64);
' '' && refused 'wrong output' 'words: expected void words(td_task *, td_str, td_out_str_i64 *)'
module 'static td_u64 len(td_task *t, td_str s) { return s.n; }
TD_MAP(len, str, i64);
' '' && refused 'wrong map' 'len: expected td_i64 len(td_task *, td_str)'
module 'static int keep(td_task *t, td_str s) { return 1; }
TD_FILTER(keep, str);
' '' && refused 'wrong filter' 'keep: expected '
module 'static td_u64 add(td_task *t, td_u64 a, td_i64 b) { return a; }
TD_REDUCE(add, u64);
' '' && refused 'wrong reduce' 'add: expected td_u64 add(td_task *, td_u64, td_u64)'
module 'static void g(td_task *t, td_str k, td_iter_u64 *it, td_out_str *out) {}
TD_GROUP(g, str, i64, str);
' '' && refused 'wrong group' 'g: expected void g(td_task *, td_str, td_iter_i64 *, td_out_str *)'
module 'static int b(td_task *t, td_batch *b, td_out_str *out) { return 0; }
TD_MAP_BATCH(b, str, str);
' '' && refused 'wrong batch' 'b: expected int b(td_task *, const td_batch *, td_out_str *)'

# Wrong rows.
emit() {
    module "static void words(td_task *t, td_str line, td_out_str_i64 *out) { td_emit(out, $1); }
TD_FLAT_MAP(words, str, str_i64);
" ''
}
emit 'line' && refused 'a pair without a value' 'error'
emit '1, line' && refused 'key and value swapped' 'error'
emit '"text", 1' && refused 'a C string as key' 'error'
emit 'line, "one"' && refused 'a pointer as number' 'error'
emit 'line, "one"' && refused 'a pointer as number' 'td_emit of a pointer' c
emit 'line, 1, 2' && refused 'three columns' 'error'

# Wrong graphs.
module '' 'td_flat_map(td_text_file(j, "x"), nosuch);' && refused 'unknown function' 'nosuch'
module "$words" 'td_filter(td_text_file(j, "x"), words);' && refused 'a map as filter' 'td_filter_fn_words'
module "$words" 'char *p = argv[0]; td_flat_map(td_text_file(j, "x"), words, TD_ARG(p));' && refused 'a pointer argument' 'error'
module "$words" 'struct s { int a; } *p = 0; td_flat_map(td_text_file(j, "x"), words, TD_ARG(p));' &&
    refused 'a struct pointer argument' 'error'
module '' 'uint32_t n; td_count(td_text_file(j, "x"), &n);' && refused 'a count of 32 bits' 'error'
module '' 'uint32_t a[3] = { 1, 2, 3 }; td_from(j, u64, a, 3);' && refused 'an array of another type' 'error'
module '' 'td_rows *r = 0; td_collect(td_range(j, 0, 9), &r);' && refused 'rows by a pointer too many' 'error'
module 'static void g(td_task *t, td_str k, td_iter_u64 *it, td_out_str *out) { double v; td_next(it, &v); }
TD_GROUP(g, str, u64, str);
' '' && refused 'a value of another type' 'error'
module 'TD_COUNTER(n); static td_u64 f(td_task *t, td_u64 v) { td_max(t, n, 1); return v; }
TD_MAP(f, u64, u64);
' '' && refused 'a maximum into a counter' 'td_is_maximum_n'
module 'TD_COUNTER(n); TD_COUNTER(n);
' '' && refused 'two counters of one name' 'n'

# Wrong broadcasts.
module "${bc}TD_BROADCAST(table, struct other, table_build);
" '' && refused 'a build of another type' 'table_build: expected struct other * table_build(td_task *, td_str)'
module 'static int *b(td_task *t, const char *p) { return 0; }
TD_BROADCAST(table, int, b);
' '' && refused 'a build of other bytes' 'b: expected int * b(td_task *, td_str)'
module "${bc}static int drop(struct table *a) { return 0; }
TD_BROADCAST(table, struct table, table_build, drop);
" '' && refused 'a drop that gives something' 'drop: expected void drop(struct table *)'
module "${bc}TD_BROADCAST(table, struct table);
" '' && refused 'a type without a build' 'a type needs a build function'
module "${bc}TD_BROADCAST(table, struct table, table_build);
static td_u64 f(td_task *t, td_u64 v) { return v + td_get(t, table)->p; }
TD_MAP(f, u64, u64);
" '' && refused 'a value of another type' 'no member named'
module "TD_COUNTER(n); static td_u64 f(td_task *t, td_u64 v) { return v + (td_get(t, n) != 0); }
TD_MAP(f, u64, u64);
" '' && refused 'a counter as broadcast' 'error'
module 'TD_COUNTER(n);
' 'return td_broadcast(j, n, "x", 1);' && refused 'bytes for a counter' 'td_bc_n'

printf '%s compilations, %s failed\n' "$ran" "$failed"
[ "$failed" = 0 ] && [ "$ran" -gt 0 ]
