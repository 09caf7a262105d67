"""What goes along with a module: --files, --archives, --libs; in local mode and on a cluster."""
import os
import subprocess
import tarfile

from cases_2_input import build
from cases_6_broadcast import Cluster
from run import BUILD, SRC, Skip

MODULE = r"""
#include <stdio.h>
#include <string.h>
#include <taskd.h>
#ifdef WITH_LIBRARY
extern int geo_of(int);
#else
static int geo_of(int x) { return x; }
#endif

static void read_in(const char *path, char *text, size_t room)
{
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, room - 1, f) : 0;

    text[n] = 0;
    text[strcspn(text, "\n")] = 0;
    if (f)
        fclose(f);
}
static void
use(td_task *t, td_u64 v, td_out_str *out)
{
    char a[100], b[100] = "-", row[300];

    read_in(td_file(t, "lookup.csv"), a, sizeof a);
    if (td_arg(t, int) && *td_arg(t, int))
        read_in(td_file(t, "pack/in/side.txt"), b, sizeof b);
    snprintf(row, sizeof row, "%s %s %d", a, b, geo_of((int)v));
    td_emit(out, td_cstr(row));
}
TD_FLAT_MAP(use, u64, str);

static int
job(td_job *j, int argc, char **argv)
{
    char text[100];
    int pack = argc > 2 && !strcmp(argv[2], "pack");

    read_in(td_file(j, "lookup.csv"), text, sizeof text);
    td_say(j, "main has %s %d", text, geo_of(1));
    return td_save_text(td_flat_map(td_range(j, 0, 4, .partitions = 4), use, TD_ARG(pack)), argv[1]);
}
TD_PLUGIN("files", "1.0", job);
"""
GEO = "int geo_of(int x) { return x + 1000; }\n"


def archive(t):
    t.file("side.txt", "packed\n")
    with tarfile.open(t.path("pack.tar.gz"), "w:gz") as tar:
        tar.add(t.path("side.txt"), "in/side.txt")


def library(t):
    t.file("geo.c", GEO)
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-Wl,-soname,libgeo.so.1", t.path("geo.c"), "-o",
                    t.path("libgeo.so.1")], check=True)


def with_library(t):
    """The module linked to it: behind its source, as the linker wants it."""
    c = t.file("files.c", MODULE)
    words = [os.path.join(SRC, "sdk", "taskd-cc")] + (["--asan"] if t.config.asan else [])
    subprocess.run(words + ["-DWITH_LIBRARY", c, "-L" + t.dir, "-l:libgeo.so.1", "-o", t.path("files.so")], check=True)
    return t.path("files.so")


def case_files_go_along(t):
    t.file("table", "sesame\n")
    archive(t)
    so = build(t, "files", MODULE)
    for m in ("local[1]", "local[2]"):
        out = "out-" + m
        r = t.ok(so, out, "pack", master=m, opts=["--files", "table#lookup.csv", "--archives", "pack.tar.gz#pack"])
        assert t.rows(out) == [b"sesame packed %d" % i for i in range(4)], t.rows(out)
        assert "main has sesame 1" in r.err, r
    r = t.fails(1, 'td_file: no file "lookup.csv" went along with the module', so, "no")
    assert "hint: Name it at submission: --files PATH" in r.err, r
    r = t.fails(1, 'td_file in use() at files.c:', so, "no", "pack", opts=["--files", "table#lookup.csv"])
    assert 'no file "pack/in/side.txt" went along' in r.err, r
    t.file("bad.tar", "this is no archive")
    t.fails(6, 'unpacking "bad.tar": ', so, "no", opts=["--archives", "bad.tar"])


def case_libraries_go_along(t):
    t.file("lookup.csv", "sesame\n")
    library(t)
    so = with_library(t)
    r = t.ok(so, "out", opts=["--files", "lookup.csv", "--libs", "libgeo.so.1"])
    assert t.rows("out") == [b"sesame - %d" % (1000 + i) for i in range(4)], t.rows("out")
    assert "main has sesame 1001" in r.err, r
    t.fails(4, "needs libgeo.so.1, this machine does not have it", so, "no", opts=["--files", "lookup.csv"])
    t.file("libgeo.so.1", "this is no library")
    t.fails(4, "libgeo.so.1 is not a 64-bit little-endian shared library", so, "no",
            opts=["--files", "lookup.csv", "--libs", "libgeo.so.1"])


def case_libraries_are_found_by_their_soname(t):
    """A file may be called otherwise; one that has no SONAME can't be found, and that is said before anything runs."""
    t.file("lookup.csv", "sesame\n")
    library(t)
    so = with_library(t)
    os.rename(t.path("libgeo.so.1"), t.path("libgeo.so"))
    t.ok(so, "out", opts=["--files", "lookup.csv", "--libs", "libgeo.so"])
    assert t.rows("out") == [b"sesame - %d" % (1000 + i) for i in range(4)], t.rows("out")
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", t.path("geo.c"), "-o", t.path("libgeo.so.1")], check=True)
    r = t.fails(4, "has no SONAME to find it by", so, "no", opts=["--files", "lookup.csv", "--libs", "libgeo.so.1"])
    assert "Link it with -Wl,-soname,libgeo.so.1." in r.err, r


def case_files_go_along_to_a_cluster(t):
    if not os.path.exists(os.path.join(BUILD, "taskd-master")):
        raise Skip("built without the cluster's daemons")
    t.file("table", "sesame\n")
    archive(t)
    library(t)
    so = with_library(t)
    opts = ["--files", "table#lookup.csv", "--archives", "pack.tar.gz#pack", "--libs", "libgeo.so.1"]
    with Cluster(t, ("127.0.0.1", "127.0.0.2")) as c:
        for mode in ("client", "cluster"):
            r = c.submit(so, t.path("out-" + mode), "pack", opts=opts + ["--deploy-mode", mode])
            assert r.returncode == 0, r.stdout
            assert t.rows("out-" + mode) == [b"sesame packed %d" % (1000 + i) for i in range(4)], t.rows("out-" + mode)
            assert "main has sesame 1001" in r.stdout, r.stdout
    t.nothing_left(10)
