#!/usr/bin/env python3
"""What doc/cluster-operations.md quotes as symptoms is what the programs say: each quoted piece is in their sources."""
import glob
import os
import re
import sys

SRC = os.environ.get("top_srcdir", os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
SYSTEM = ("No space left on device", "Address already in use", "Cannot assign requested address",
          "certificate verify failed", "signal 9")  # words of the C library, OpenSSL and the kernel


def main():
    said = ""
    for top in ("lib", "daemon", "plugins"):
        for path in glob.glob(os.path.join(SRC, top, "**", "*.*"), recursive=True):
            if path.endswith((".c", ".h", ".def")):
                with open(path) as f:
                    said += re.sub(r'"\s*"', "", f.read())
    with open(os.path.join(SRC, "doc", "cluster-operations.md")) as f:
        table = f.read().split("## When something fails")[1]
    quoted = [q for row in table.splitlines() if row.startswith("| ") for q in re.findall(r"`([^`]+)`", row.split("|")[1])]
    bad = 0
    for q in quoted:
        if q.startswith("taskd ") or q in SYSTEM:
            continue
        for piece in re.split(r"\.\.\.", q):
            piece = re.sub(r" \d+( in)?$", "", piece.strip(" ,:;"))
            if len(piece) > 3 and piece not in said and piece not in SYSTEM:
                print("nobody says \"%s\" (in `%s`)" % (piece, q))
                bad += 1
    if len(quoted) < 20:
        print("only %d symptoms were found in the page" % len(quoted))
        bad += 1
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
