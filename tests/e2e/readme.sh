#!/bin/sh
# README's first job, as it is printed there: its source, its commands, its output.
set -eu
dir=$(mktemp -d "${TMPDIR:-/tmp}/taskd-readme-XXXXXX")
trap 'rm -rf "$dir"' EXIT

# block N: the N-th fenced block behind the heading "A first job"
block() {
    awk -v want="$1" '/^## / { on = $0 == "## A first job" }
        on && /^```/ { if (open) open = 0; else { n++; open = 1 }; next }
        open && n == want' "$top_srcdir/README.md"
}
block 1 >"$dir/lengths.c"
block 2 >"$dir/commands"
block 3 >"$dir/expected"
for f in lengths.c commands expected; do
    [ -s "$dir/$f" ] || { echo "README.md has no block for $f" >&2; exit 1; }
done

mkdir "$dir/bin"
ln -s "$top_builddir/taskd-submit" "$dir/bin/"
asan=
! grep -q "^SAN_CFLAGS = .*address" "$top_builddir/Makefile" || asan=--asan
printf '#!/bin/sh\nexec "%s/sdk/taskd-cc" %s "$@"\n' "$top_srcdir" "$asan" >"$dir/bin/taskd-cc"
chmod +x "$dir/bin/taskd-cc"
cd "$dir"
PATH=$dir/bin:$PATH sh -eu commands >got 2>said || { cat got said; exit 1; }
diff -u expected got
if [ -s said ]; then
    echo "the commands are said to be silent, but:"
    cat said
    exit 1
fi
