#!/bin/sh
# What the pages point to exists: relative links, and paths of the tree in backquotes.  Every room has its page, with
# the five heads.
set -eu
cd "$top_srcdir"
bad=0
say() {
    echo "$1: there is no \"$2\"" >&2
    bad=1
}
pages=$(find . -name '*.md' -not -path './build*' -not -path './.git/*' -not -path './tests/lint/*' \
    -not -path './taskd-*' | sort)
for page in $pages; do
    for link in $(grep -oE '\]\([^)#: ]+\)' "$page" | sed 's/^](//; s/)$//'); do
        [ -e "${page%/*}/$link" ] || say "$page" "$link"
    done
    for path in $(grep -oE '`(lib|daemon|plugins|sdk|tests|examples|doc|bench)/[A-Za-z0-9_./-]+`' "$page" | tr -d '`' |
        grep -vE '(KIND|NAME|ROOM|ROLE|lib/pkgconfig)'); do
        if [ ! -e "$path" ] && [ ! -e "$path.c" ] && [ ! -e "$top_builddir/$path" ]; then
            say "$page" "$path"
        fi
    done
done
for room in $(sed -n 's/^[0-9]* //p' lib/FLOORS); do
    [ -d "$room" ] || continue
    for head in What Owns 'Life of' Invariants 'Where to start'; do
        grep -qs "^\*\*$head" "$room/README.md" || say "$room/README.md" "**$head**"
    done
done
exit $bad
