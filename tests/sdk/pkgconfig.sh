#!/bin/sh
# taskd.pc and taskd.m4 give the flags of taskd-cc, wherever the installation lies.
set -u
top=$(cd "${top_srcdir:-.}" && pwd)
build=$(cd "${top_builddir:-.}" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0
fail() {
    echo "FAIL: $1"
    [ ! -s "$tmp/log" ] || tail -15 "$tmp/log"
    bad=1
}

mkdir -p "$tmp/first/lib/pkgconfig" "$tmp/first/include" "$tmp/first/bin" "$tmp/first/share/aclocal"
cp "$build/sdk/taskd.pc" "$tmp/first/lib/pkgconfig/"
cp "$top"/sdk/include/*.h "$tmp/first/include/"
cp "$top/sdk/taskd-cc" "$tmp/first/bin/"
cp "$top/sdk/taskd.m4" "$tmp/first/share/aclocal/"
prefix=$tmp/moved
mv "$tmp/first" "$prefix"
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
unset CFLAGS LDFLAGS TASKD_INCLUDE

cflags=$(pkg-config --cflags taskd) libs=$(pkg-config --libs taskd)
case $cflags in *"-I$prefix/"*include*) ;; *) fail "the prefix does not follow: $cflags" ;; esac
for word in $("$prefix/bin/taskd-cc" --print-cflags); do
    case $word in -I*) continue ;; esac
    case " $cflags " in *" $word "*) ;; *) fail "taskd-cc has $word, taskd.pc does not: $cflags" ;; esac
done
for word in $("$prefix/bin/taskd-cc" --print-libs); do
    case " $libs " in *" $word "*) ;; *) fail "taskd-cc has $word, taskd.pc does not: $libs" ;; esac
done
# shellcheck disable=SC2086
${CC:-cc} $cflags "$top/examples/copy.c" $libs -o "$tmp/copy.so" >"$tmp/log" 2>&1 || fail 'a module by pkg-config'
[ "$(pkg-config --variable=abi taskd)" = "$("$prefix/bin/taskd-cc" --version | sed 's/.*ABI \([0-9.]*\).*/\1/')" ] ||
    fail 'the ABI of taskd.pc'
"$build/taskd-inspect" "$tmp/copy.so" >"$tmp/log" 2>&1 || fail 'inspect of a module by pkg-config'

# A project with a configure of its own.
if command -v autoconf >/dev/null && command -v aclocal >/dev/null; then
    mkdir "$tmp/project" && cd "$tmp/project" || exit 1
    cp "$top/examples/copy.c" .
    printf 'AC_INIT([job], [1])\nAC_PROG_CC\nTASKD_PLUGIN([%s])\nAC_CONFIG_FILES([Makefile])\nAC_OUTPUT\n' \
        "$(pkg-config --variable=abi taskd)" >configure.ac
    printf 'copy.so: copy.c\n\t@CC@ @TASKD_CFLAGS@ copy.c @TASKD_LIBS@ -o $@\nlt:\n\t@echo "@TASKD_LT_LDFLAGS@"\n' >Makefile.in
    { aclocal -I "$prefix/share/aclocal" && autoconf; } >"$tmp/log" 2>&1 || fail 'autoconf with TASKD_PLUGIN'
    { ./configure --with-isa=v2 && make copy.so; } >"$tmp/log" 2>&1 || fail 'configure with TASKD_PLUGIN'
    if [ "$(uname -m)" = x86_64 ]; then
        "$build/taskd-inspect" copy.so | grep -q 'x86-64-v2' || fail '--with-isa=v2 has no effect'
    fi
    make -s lt | grep -q 'export-symbols-regex ^td_plugin_v1' || fail 'TASKD_LT_LDFLAGS'
    ./configure --with-isa=v9 >"$tmp/log" 2>&1 && fail '--with-isa=v9 is taken'
    grep -q 'the levels are v1' "$tmp/log" || fail '--with-isa=v9 has no sentence'
    sed -i 's/TASKD_PLUGIN(\[.*\])/TASKD_PLUGIN([7.7])/' configure.ac && autoconf --force && ./configure >"$tmp/log" 2>&1 &&
        fail 'another ABI is taken'
    grep -q 'the module is written for ABI 7.7 of taskd' "$tmp/log" || fail 'another ABI has no sentence'
fi
exit $bad
