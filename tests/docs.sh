#!/bin/sh
# The reference pages of doc/ are what the tables say.
set -eu
for page in options configuration; do
    "$top_builddir/daemon/bin/docgen" $page >"docs-$page.tmp"
    if ! diff -u "$top_srcdir/doc/$page.md" "docs-$page.tmp"; then
        echo "doc/$page.md is out of date: run make doc" >&2
        exit 1
    fi
    rm "docs-$page.tmp"
done
