#!/bin/sh
# taskd-cc: what it makes, and what it says when it can't.
set -u
top=$(cd "${top_srcdir:-.}" && pwd)
cc=$top/sdk/taskd-cc
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
mkdir tmp && export TMPDIR="$tmp/tmp"
unset CFLAGS CXXFLAGS LDFLAGS TASKD_INCLUDE
failed=0
fail() {
    failed=$((failed + 1))
    printf 'FAIL: %s\n' "$1"
    [ ! -s err ] || sed 's/^/    /' err
}
ok() { # WHAT command...
    what=$1
    shift
    "$@" >out 2>err || fail "$what: exit $?"
}
says() { # STATUS WORDS command...
    status=$1 words=$2
    shift 2
    "$@" >out 2>err
    got=$?
    [ $got = "$status" ] || fail "$*: exit $got, not $status"
    grep -q -F -e "$words" err || fail "$*: does not say \"$words\""
}

job='#include <taskd.h>
static int job(td_job *j, int argc, char **argv) { return 0; }
TD_PLUGIN("x", "1", job);'
printf '%s\n' "$job" >plain.c
printf '%s\n' "$job" >"with blank.cc"
printf 'int helper(int x) { return x + EXTRA; }\n' >helper.c
printf '#include <taskd.h>\nint helper(int);\nstatic int job(td_job *j, int argc, char **argv) { return helper(argc); }\nTD_PLUGIN("x", "1", job);\n' >main.c
printf '#include <taskd.h>\n#include <string>\nextern "C" int helper(int);\nstatic int job(td_job *j, int argc, char **argv) { return helper((int)std::string(argv[0]).size()); }\nTD_PLUGIN("x", "1", job);\n' >main.cc
printf 'int nowhere(void);\nint f(void);\nint f(void) { return nowhere(); }\n' >missing.c
printf 'this is no C\n' >broken.c
mkdir folder.c

ok 'one file' "$cc" plain.c -o plain.so
[ ! -s err ] || fail 'one file: it is not silent'
ok 'a default name' "$cc" plain.c
ok 'C++ by suffix, a name with a blank' "$cc" "with blank.cc" -o "with blank.so"
ok 'several files and options' "$cc" -DEXTRA=1 -Wextra main.c helper.c -o two.so
ok 'C and C++ together' "$cc" main.cc helper.c -D EXTRA=1 -o mixed.so
cc -fPIC -fvisibility=hidden -DEXTRA=2 -c helper.c -o helper.o && ok 'an object file' "$cc" main.c helper.o -o three.so
ok 'a library' "$cc" plain.c -lm -o lib.so
ok 'relative to another folder' sh -c 'mkdir -p a/b && cd a/b && "$1" ../../plain.c -o ../x.so' sh "$cc"
[ -f a/x.so ] || fail 'the result lies elsewhere'
for so in plain.so "with blank.so" two.so mixed.so three.so; do
    readelf -nW "$so" | grep -q taskd || fail "$so has no note"
    readelf -nW "$so" | grep -q 'Build ID' || fail "$so has no build-id"
    readelf -lW "$so" | grep GNU_STACK | grep -q RWE && fail "$so has an executable stack"
    readelf -lW "$so" | grep -q GNU_RELRO || fail "$so has no relro"
    readelf -dW "$so" | grep -q BIND_NOW || fail "$so is not bound at once"
    readelf -SW "$so" | grep -q debug_line || fail "$so has no line numbers"
    nm -D --defined-only "$so" | grep -v -e ' [wVu] ' -e td_items >syms
    [ "$(awk '{ print $3 }' syms)" = td_plugin_v1 ] || fail "$so exports $(cat syms)"
done
if [ "$(uname -m)" = x86_64 ]; then
    for isa in v1 v2 v3 v4; do
        ok "--isa $isa" "$cc" --isa $isa plain.c -o isa.so
        readelf -x .note.taskd isa.so | grep -q "0${isa#v}000000" || fail "--isa $isa is not in the note"
    done
    ok '--isa=native' "$cc" --isa=native plain.c -o isa.so
fi
if ok '--asan' "$cc" --asan plain.c -o asan.so && [ -f asan.so ]; then
    nm -D asan.so | grep -q __asan_ || fail '--asan has no effect'
fi
if command -v clang-14 >/dev/null; then
    ok 'CC=clang' env CC=clang-14 "$cc" plain.c -o clang.so
    ok 'CC=clang --asan' env CC=clang-14 "$cc" --asan plain.c -o clang.so
fi
ok 'CC with words' env CC='cc -pipe' "$cc" plain.c -o x.so
ok 'TASKD_INCLUDE' env TASKD_INCLUDE="$top/sdk/include" "$cc" plain.c -o x.so
ok 'a link to it' sh -c 'ln -s "$1" mycc && ./mycc plain.c -o x.so' sh "$cc"
mkdir -p moved/bin moved/include && cp "$cc" moved/bin/ && cp "$top"/sdk/include/*.h moved/include/
ok 'an installation that was moved' moved/bin/taskd-cc plain.c -o x.so
ok --version "$cc" --version && grep -q '^taskd-cc for modules of ABI [0-9]*\.[0-9]* (/' out || fail '--version'
ok --help "$cc" --help && grep -q -e '--isa LEVEL' out || fail '--help'
ok --print-cflags "$cc" --print-cflags && grep -q -e '-fvisibility=hidden' out || fail '--print-cflags'
ok --print-libs "$cc" --print-libs && grep -q -e '-z,relro' out || fail '--print-libs'

says 2 'no source file was given' "$cc"
says 2 'no source file was given' "$cc" -O3
says 2 'there is no file "nope.c"' "$cc" nope.c
says 2 '"folder.c" is a directory' "$cc" folder.c
says 2 '"err" has no suffix that taskd-cc knows' "$cc" err
says 2 '"plain.so" is a shared object, not a source file' "$cc" plain.c plain.so
says 2 '"v9" is not a processor level' "$cc" --isa v9 plain.c
says 2 '"-o" needs a value' "$cc" plain.c -o
says 2 'no option is named "--fast"' "$cc" --fast plain.c
says 2 '"-c" can'\''t be used here' "$cc" -c plain.c
says 2 '"plain.c" is a source file, and -o would write over it' "$cc" plain.c -o plain.c
says 2 'there is no taskd.h in TASKD_INCLUDE, "/nowhere"' env TASKD_INCLUDE=/nowhere "$cc" plain.c
says 1 'there is no compiler "nocc"' env CC=nocc "$cc" plain.c
says 1 'could not be written' "$cc" plain.c -o nowhere/x.so
! grep -q '^hint: *$' err || fail 'a hint without words'
says 1 'error' "$cc" broken.c
says 1 'nowhere' "$cc" plain.c missing.c -o missing.so
[ ! -f missing.so ] || fail 'a module that does not link is there all the same'
[ -s plain.c ] || fail 'a source file was written over'
[ -z "$(ls tmp)" ] || fail 'temporary files are left behind'

printf '%s failed\n' "$failed"
[ "$failed" = 0 ]
