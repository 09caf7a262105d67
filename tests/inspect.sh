#!/bin/sh
# taskd inspect: a module's inside, printed without running it.
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
inspect=$top_builddir/taskd-inspect
modules=$top_builddir/tests/modules
bad=0

# expect STATUS TEXT COMMAND...
expect() {
    status=$1 text=$2
    shift 2
    "$@" >"$tmp/out" 2>"$tmp/err"
    got=$?
    if [ $got != "$status" ] || ! cat "$tmp/out" "$tmp/err" | grep -qF -e "$text"; then
        echo "FAIL: $* exits with $got, not $status, or does not say: $text"
        cat "$tmp/out" "$tmp/err"
        bad=1
    fi
}
line=$(grep -n '^TD_GROUP(first' "$top_srcdir/tests/modules/every.c" | cut -d: -f1)

expect 0 'every.so: every 2.5' "$inspect" "$modules/every.so"
expect 0 'map      words: str -> str_i64, by record  (' "$inspect" "$modules/every.so"
expect 0 'map      text: str -> u64, by text  (' "$inspect" "$modules/every.so"
expect 0 "group    first: str_i64 -> str_i64  (" "$inspect" "$modules/every.so"
expect 0 "every.c:$line)" "$inspect" "$modules/every.so"
expect 0 'minimum  shortest  (' "$inspect" "$modules/every.so"
expect 0 '  broadcasts' "$inspect" "$modules/every.so"
expect 0 'broadcast table  (' "$inspect" "$modules/every.so"
expect 0 "$(sha256sum "$modules/every.so" | cut -d' ' -f1)" "$inspect" "$modules/every.so"
expect 0 'libc.so.6 (GLIBC_2.' "$inspect" "$modules/every.so"
expect 0 'td_plugin_v1' "$inspect" "$modules/none.so"
expect 0 "build-id   $(readelf -n "$modules/none.so" | awk '/Build ID/ { print $3 }')" "$inspect" "$modules/none.so"
expect 4 'plain.so is a shared object, but not a module' "$inspect" "$modules/plain.so"
expect 4 'No such file' "$inspect" "$tmp/none.so"
expect 2 'no module is given' "$inspect"
expect 2 '"--jsn" is not an option' "$inspect" --jsn x.so
expect 2 '"b.so" is one module too many' "$inspect" a.so b.so
expect 0 'usage: taskd inspect' "$inspect" --help

# A module that would shout if any of it ran, for an ABI that is not there: everything is printed, then the reason.
cat >"$tmp/loud.c" <<'END'
#include <stdlib.h>
#include <taskd.h>
__attribute__((constructor)) static void shout(void) { abort(); }
static int job(td_job *j, int argc, char **argv) { return 0; }
TD_PLUGIN("l\033oud", "1", job);
END
"$top_srcdir/sdk/taskd-cc" "$tmp/loud.c" -o "$tmp/loud.so" || bad=1
expect 0 'loud.so: l\x1boud 1' "$inspect" "$tmp/loud.so"
sed 's/^#define TD_ABI_MINOR .*/#define TD_ABI_MINOR 99/' "$top_srcdir/sdk/include/taskd.h" >"$tmp/taskd.h"
TASKD_INCLUDE=$tmp "$top_srcdir/sdk/taskd-cc" "$tmp/loud.c" -o "$tmp/new.so" || bad=1
expect 4 'new.so was built for ABI 0.99, this taskd has 0.' "$inspect" "$tmp/new.so"
expect 4 'ABI        0.99' "$inspect" "$tmp/new.so"

# JSON is JSON and says the same.
for so in "$modules/every.so" "$modules/none.so" "$tmp/new.so" "$tmp/loud.so"; do
    "$inspect" --json "$so" >"$tmp/json" 2>/dev/null
    python3 -c '
import json, sys
r = json.load(open(sys.argv[1]))
assert r["file"] == sys.argv[2] and len(r["sha256"]) == 64 and "td_plugin_v1" in r["exports"], r
if sys.argv[2].endswith("every.so"):
    assert (r["name"], r["version"], r["loads_here"], r["problem"]) == ("every", "2.5", True, None), r
    items = {i["name"]: i for i in r["items"]}
    assert len(items) == 12 and items["words"]["out"] == "str_i64" and items["columns"]["shape"] == "batch", r
    assert items["seen"]["kind"] == "counter" and [i["number"] for i in r["items"]] == list(range(12)), r
if sys.argv[2].endswith("new.so"):
    assert r["name"] is None and not r["loads_here"] and "ABI 0.99" in r["problem"], r
if sys.argv[2].endswith("loud.so"):
    assert r["name"] == "l\033oud", r
' "$tmp/json" "$so" || bad=1
done
exit $bad
