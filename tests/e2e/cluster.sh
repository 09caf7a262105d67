#!/bin/sh
# The commands of README's "On a cluster" and of doc/cluster.md, as they are printed there, but for port and folders.
set -eu
dir=$(mktemp -d "${TMPDIR:-/tmp}/taskd-page-XXXXXX")
pids=
# The daemons are children of this shell; nothing else is.
finish() {
    status=$?
    # shellcheck disable=SC2086 # words are meant to split
    [ -z "$pids" ] || kill $pids 2>/dev/null || true
    wait
    [ $status = 0 ] || tail -n 5 "$dir"/said* 2>/dev/null || true
    rm -rf "$dir"
    exit $status
}
trap finish EXIT

# block PAGE HEADING N: the N-th fenced block behind the heading
block() {
    awk -v head="## $2" -v want="$3" '/^## / { on = $0 == head; n = 0 }
        on && /^```/ { if (open) open = 0; else { n++; open = 1 }; next }
        open && n == want' "$top_srcdir/$1"
}
mkdir "$dir/bin" "$dir/home" "$dir/shared"
ln -s "$top_builddir"/taskd "$top_builddir"/taskd-submit "$dir/bin/"
export PATH="$dir/bin:$PATH" HOME="$dir/home" TASKD_LIBEXEC="$top_builddir"
unset XDG_CONFIG_HOME || true
asan=
! grep -q "^SAN_CFLAGS = .*address" "$top_builddir/Makefile" || asan=--asan
cd "$dir"

block README.md "A first job" 1 >lengths.c
"$top_srcdir/sdk/taskd-cc" $asan lengths.c -o lengths.so
printf 'the cat and the hat\nthe end of a tale\n' >input.txt
block README.md "A first job" 3 >expected

# The master takes any port and writes where it is; the commands are about that one.
mkfifo url
taskd master --port 0 --url-file url --dir "$dir/m" >said-master 2>&1 &
pids="$pids $!"
read -r url <url
port=${url##*:}
page() {
    block "$@" | sed -e "/^taskd master/d" -e "s/:7077/:$port/g" -e "s,/tmp/taskd-w,$dir/w,g" -e "s/node1/127.0.0.1/g" \
        -e "s,/shared,$dir/shared,g" -e 's/ ID\b/ $ID/' -e 's/ &$/ >>said-workers 2>\&1 \& pids="$pids $!"/' >commands
    [ -s commands ] || { echo "$1 has no block $3 behind \"$2\"" >&2; exit 1; }
}
page README.md "On a cluster" 1
# shellcheck disable=SC1091 # it was just made
. ./commands >got 2>said
cat client.out/part-* | diff -u expected -
cat cluster.out/part-* | diff -u expected -
grep -q '^APPLICATION ' got

page doc/cluster.md "Submitting" 1
mkdir -p shared/in
cp input.txt shared/in
cp "$top_builddir/examples/wordcount.so" .
sed -i 's/out$/out-$((n = n + 1))/' commands
n=0
. ./commands >>got 2>>said
cmp shared/out-1/part-00000 shared/out-2/part-00000

page doc/cluster.md "Looking" 1
ID=$(taskd list --json --master "$url" | sed -n 's/.*"driver":"\(driver-[^"]*\)".*/\1/p')
export ID TASKD_MASTER="$url"
. ./commands >>got 2>>said
grep -q '^submission ' got

page doc/cluster.md "Several hosts" 1
. ./commands >>got 2>>said
