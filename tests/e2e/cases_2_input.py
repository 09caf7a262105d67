"""Bad input: the right result, or one clear sentence and the right exit code; nothing left behind."""
import collections
import os
import random
import resource
import signal
import subprocess
import time

from run import SRC, Skip, children, wait_gone

MASTERS = ("local[1]", "local[2]")


def case_input_missing(t):
    for m in MASTERS:
        t.fails(1, ["nope.txt", "No such file"], "copy", "nope.txt", "out", master=m)
        t.no_output("out")
    t.fails(1, "nope", "wordcount", "nope/*.txt", "out")
    t.no_output("out")


def case_input_unreadable(t):
    t.file("secret.txt", "a\n")
    os.chmod(t.path("secret.txt"), 0)
    if os.geteuid() != 0:
        t.fails(1, ["secret.txt", "Permission denied"], "copy", "secret.txt", "out")
        return
    # root may read it: be nobody
    os.chmod(t.dir, 0o777)
    os.chmod(t.scratch, 0o777)
    wrap = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    probe = subprocess.run(wrap + t.command("copy", "--help"), capture_output=True, cwd=t.dir, env=t.environment())
    if probe.returncode not in (0, 2, 1) or b"Permission" in probe.stderr:
        raise Skip("nobody may not run programs of this folder")
    t.fails(1, ["secret.txt", "Permission denied"], "copy", "secret.txt", "out", wrap=wrap)
    t.no_output("out")


def case_output_exists(t):
    t.file("in.txt", "a\n")
    t.file("out/mine", "keep me\n")
    for m in MASTERS:
        t.fails(6, ['"out"', "exists already"], "copy", "in.txt", "out", master=m)
    assert os.listdir(t.path("out")) == ["mine"]
    t.file("plain", "x")
    t.fails(6, "exists already", "copy", "in.txt", "plain")
    os.mkdir(t.path("empty"))
    t.fails(6, "exists already", "copy", "in.txt", "empty")


def case_output_with_slashes_behind(t):
    t.file("in.txt", "a\n")
    for name in ("one/", "two///", t.path("three/"), "new/four//"):
        t.ok("copy", "in.txt", name)
        assert t.rows(name) == [b"a"], name
    t.fails(6, "exists already", "copy", "in.txt", "one/")


def case_output_cannot_be_made(t):
    t.file("in.txt", "a\n")
    t.file("plain", "x")
    t.fails(1, "plain", "copy", "in.txt", "plain/out")
    t.ok("copy", "in.txt", "deep/er/out")
    assert t.rows("deep/er/out") == [b"a"]


def case_empty_input(t):
    t.file("in.txt", "")
    t.file("dir/a", "")
    os.mkdir(t.path("nothing"))
    for i, m in enumerate(MASTERS):
        for example in ("copy", "wordcount", "sort"):
            t.ok(example, "in.txt", "%s%d" % (example, i), master=m)
            assert t.rows("%s%d" % (example, i)) == []
        t.ok("wordcount", "dir", "dir-out%d" % i, master=m)
        assert t.rows("dir-out%d" % i) == []
        r = t.run("wordcount", "nothing", "nothing-out%d" % i, master=m)
        assert r.status == 0 and t.rows("nothing-out%d" % i) == [] or r.status == 1 and "nothing" in r.err, r


def case_no_final_newline(t):
    for name, data in (("a", b"one"), ("b", b"one\ntwo"), ("c", b"\n"), ("d", b"\n\n"), ("e", b"x\n\n"), ("f", b"\r\n\rx")):
        t.file(name, data)
        for i, m in enumerate(MASTERS):
            t.ok("copy", name, "out-%s%d" % (name, i), master=m)
            want = data.split(b"\n")
            if want[-1] == b"":
                want.pop()
            assert t.rows("out-%s%d" % (name, i)) == want, (name, t.rows("out-%s%d" % (name, i)))


def case_any_bytes(t):
    r = random.Random(4)
    data = bytes(r.choice(b"\0\0\xff\xc3\x28\x80\xfe \n\nab\r\t") for _ in range(100000))
    t.file("in.bin", data)
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    table = bytes(b if b > 0x20 else 0x20 for b in range(256))
    words = collections.Counter(w for w in data.translate(table).split(b" ") if w)
    for i, m in enumerate(MASTERS):
        t.ok("copy", "in.bin", "copy%d" % i, master=m)
        assert t.rows("copy%d" % i) == lines
        t.ok("wordcount", "in.bin", "count%d" % i, master=m)
        assert sorted(t.rows("count%d" % i)) == sorted(k + b"\t%d" % v for k, v in words.items())
        t.ok("sort", "in.bin", "sort%d" % i, master=m)
        assert t.rows("sort%d" % i) == sorted(lines)


def case_splits_cut_at_line_borders(t):
    r = random.Random(11)
    lines = [b"%d " % i + b"x" * int(2000 ** r.random()) for i in range(3000)]
    t.file("in.txt", b"\n".join(lines))
    for parts in (1, 2, 3, 7, 64, 500):
        t.ok("crash", "in.txt", "out%d" % parts, parts)
        assert t.rows("out%d" % parts) == lines, parts


def case_long_line(t):
    """One line of 200 MB between two short ones."""
    if t.config.hostile or t.config.sanitized:
        raise Skip("takes too long in this build")
    size = 200 << 20
    with open(t.path("in.txt"), "wb") as f:
        f.write(b"before\n")
        for _ in range(size >> 20):
            f.write(b"y" * (1 << 20))
        f.write(b"\nafter\n")
    for m in MASTERS:
        r = t.run("copy", "in.txt", "out", master=m, opts=["--executor-memory", "2g"])
        assert r.status == 0, r
        rows = t.rows("out")
        assert [rows[0], rows[2:]] == [b"before", [b"after"]] and rows[1] == b"y" * size, "other bytes"
        del rows
        subprocess.run(["rm", "-r", t.path("out")], check=True)
    # With less memory than the line: done all the same, or a sentence that says what does not fit.
    r = t.run("copy", "in.txt", "small", opts=["--executor-memory", "64m"])
    assert r.status == 0 or (r.status == 1 and "in.txt" in r.err and "byte offset 7" in r.err), r
    r = t.run("wordcount", "in.txt", "small2", opts=["--executor-memory", "64m"])
    assert r.status == 0 or (r.status == 1 and "in.txt" in r.err), r


def case_many_tiny_files(t):
    n = 1000 if t.config.hostile or t.config.sanitized else 10000
    os.mkdir(t.path("dir"))
    for i in range(n):
        with open(t.path("dir/%05d" % i), "w") as f:
            f.write("file %d\n" % i)
    want = sorted([b"file\t%d" % n] + [b"%d\t1" % i for i in range(n)])
    for i, m in enumerate(MASTERS):
        r = t.ok("wordcount", "dir", "out%d" % i, master=m)
        assert sorted(t.rows("out%d" % i)) == want
        assert r.summary["tasks"] < 200, "tiny files should share tasks: %s" % r.summary
        t.ok("copy", "dir", "copy%d" % i, master=m)
        assert t.rows("copy%d" % i) == [b"file %d" % k for k in range(n)]


def case_few_descriptors(t):
    """Many files with the usual limit of open files."""
    os.mkdir(t.path("dir"))
    for i in range(600):
        with open(t.path("dir/%03d" % i), "w") as f:
            f.write("x\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        t.ok("wordcount", "dir", "out")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert t.rows("out") == [b"x\t600"]


def case_hardly_any_descriptors(t):
    """Whatever the limit: the right result or one sentence, and nothing left behind (nothing_left looks)."""
    t.file("in.txt", "a b\n" * 1000)
    for n in (6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 32, 48, 64):
        r = t.run("wordcount", "in.txt", "out%d" % n, wrap=["prlimit", "--nofile=%d" % n])
        assert r.status == 1 and "open files" in r.err or r.status == 0 and sorted(t.rows("out%d" % n)) == [b"a\t1000", b"b\t1000"], r
        assert "gave up" not in r.err or r.err.endswith("\nhint: Raise the limit on open files (ulimit -n).\n"), r


def case_directory_as_file(t):
    t.file("dir/sub/deep.txt", "deep\n")
    t.file("dir/top.txt", "top\n")
    r = t.run("copy", "dir", "out")
    assert (r.status == 0 and t.rows("out") in ([b"top"], [b"deep", b"top"])) or (r.status == 1 and "sub" in r.err), r
    t.fails(4, ["dir is not a module", "directory"], t.path("dir"), "a", "b")
    t.fails(3, "dir", "copy", "dir", "out3", opts=["--properties-file", t.path("dir")])
    os.mkfifo(t.path("fifo"))
    r = t.run("copy", "fifo", "out4", timeout=10)
    assert r.status == 1 and "fifo" in r.err, r
    r = t.run("copy", "/dev/null", "out5", timeout=10)
    assert r.status == 0 and t.rows("out5") == [] or r.status == 1 and "/dev/null" in r.err, r


def case_broken_gzip(t):
    import gzip

    data = gzip.compress(b"".join(b"line %d\n" % i for i in range(50000)))
    t.file("cut.gz", data[:-1000])
    t.file("bad.gz", data[:2000] + bytes(100) + data[2100:])
    t.file("no.gz", b"this is not gzip\n")
    t.file("two.gz", gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n"))
    for name in ("cut", "bad", "no"):
        t.fails(1, name + ".gz", "copy", name + ".gz", "out-" + name, conf=["taskd.task.maxFailures=2"])
        t.no_output("out-" + name)
    t.ok("copy", "two.gz", "two")
    assert t.rows("two") == [b"a", b"bc", b"d"]


def case_truncated_while_read(t):
    for i, m in enumerate(MASTERS):
        t.file("in.txt", b"".join(b"line %08d and some more text to read\n" % k for k in range(400000)))
        r = t.fails(1, "in.txt", "bad", "truncate", t.path("in.txt"), "in.txt", "out%d" % i, 8, master=m,
                    conf=["taskd.task.maxFailures=2"])
        assert "ends after" in r.err or "shorter" in r.err or "changed" in r.err or "truncated" in r.err, r
        t.no_output("out%d" % i)


def case_not_a_module(t):
    t.file("in.txt", "a\n")
    text = t.file("text.so", "Lorem ipsum dolor\n")
    t.fails(4, 'text.so is not a module: it begins with "Lorem ipsum dolor', text, "in.txt", "out")
    t.fails(4, "empty.so is not a module: it is empty", t.file("empty.so", ""), "in.txt", "out")
    t.fails(4, ["gone.so", "No such file"], t.path("gone.so"), "in.txt", "out")
    t.fails(4, "plain.so is a shared object, but not a module", t.module("plain"), "in.txt", "out")
    t.fails(4, "is a program, a module is a shared object", "/bin/sh", "in.txt", "out")
    with open(t.module("copy"), "rb") as f:
        data = f.read()
    t.fails(4, "half.so", t.file("half.so", data[:3000]), "in.txt", "out")
    t.no_output("out")


def build(t, name, source, defines=(), header=None):
    """A module of this source by taskd-cc, with another taskd.h when wanted."""
    env = dict(os.environ)
    env.pop("TASKD_INCLUDE", None)
    if header:
        env["TASKD_INCLUDE"] = header
    c = t.file(name + ".c", source)
    asan = ["--asan"] if t.config.asan else []
    subprocess.run([os.path.join(SRC, "sdk", "taskd-cc"), *asan, *defines, c, "-o", t.path(name + ".so")], env=env, check=True)
    return t.path(name + ".so")


SMALL = """#include <taskd.h>
static int job(td_job *j, int argc, char **argv) { return td_save_text(td_text_file(j, argv[1]), argv[2]); }
TD_PLUGIN("small", "1", job);
"""


def case_wrong_abi(t):
    t.file("in.txt", "a\n")
    with open(os.path.join(SRC, "sdk/include/taskd.h")) as f:
        header = f.read()
    newer = header.replace("#define TD_ABI_MINOR 2", "#define TD_ABI_MINOR 3")
    assert newer != header
    t.file("newer/taskd.h", newer)
    so = build(t, "small", SMALL, header=t.path("newer"))
    t.fails(4, ["small.so was built for ABI 0.3, this taskd has 0.2", "hint: Build it again with this taskd's taskd-cc."],
            so, "in.txt", "out")
    t.file("other/taskd.h", header.replace("    const char *name, *version, *compiler;\n",
                                           "    const char *name, *version, *compiler, *more;\n"))
    so = build(t, "small", SMALL, ["-w"], header=t.path("other"))
    t.fails(4, "small.so was built with another taskd.h of ABI 0.2: its td_plugin has", so, "in.txt", "out")
    # A field that only the runner can compare: the same sizes in the note, another td_batch.
    t.file("third/taskd.h", header.replace("uint64_t first;     /*", "uint64_t first, last; /*"))
    so = build(t, "small", SMALL, header=t.path("third"))
    t.fails(4, ["small.so was built with another taskd.h: its td_batch has", "this taskd's has"], so, "in.txt", "out")
    t.no_output("out")


def case_missing_symbol(t):
    t.file("in.txt", "a\n")
    c = t.file("miss.c", SMALL.replace("return", "extern int nowhere(void); return nowhere() +"))
    subprocess.run(["cc", "-shared", "-fPIC", "-Wl,-z,noexecstack", "-I", os.path.join(SRC, "sdk/include"), c, "-o", t.path("miss.so")],
                   check=True)
    t.fails(4, ["miss.so", "nowhere"], t.path("miss.so"), "in.txt", "out")


def on_a_small_disk(t, size, local_dirs):
    """Writes in.txt, which does not fit on a tmpfs of that size at full/.  Gives its number of rows, and what runs a job that
    has its files in local_dirs and then names on stderr what is left of them."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode != 0:
        raise Skip("needs to be root and to be allowed to mount")
    r, n = random.Random(6), 20000 if t.config.hostile else 100000
    t.file("in.txt", "".join("%032x%032x 1\n" % (r.getrandbits(128), r.getrandbits(128)) for _ in range(n)))
    for d in local_dirs:
        os.mkdir(t.path(d))
    script = ('mount -t tmpfs -o size=%s none full || exit 99; TASKD_LOCAL_DIR="$0" "$@"; s=$?; '
              'find %s -mindepth 1 | sed "s/^/left: /" >&2; exit $s') % (size, " ".join(local_dirs))
    return n, ["unshare", "-m", "sh", "-c", script, ",".join(map(t.path, local_dirs))]


def case_scratch_disk_full(t):
    """Shuffle files on a tmpfs of 1 MiB."""
    _, wrap = on_a_small_disk(t, "1m", ["full"])
    for i, m in enumerate(MASTERS):
        for verb in ("sum", "sort"):
            out = "out-%s%d" % (verb, i)
            res = t.fails(1, ["No space left on device", t.path("full")], "wide", verb, "in.txt", out, master=m,
                          opts=["--executor-memory", "16m"], wrap=wrap)
            assert "left: " not in res.err, res
            t.no_output(out)


def case_scratch_disk_full_beside_another(t):
    """Of two local folders the one that has room is used."""
    n, wrap = on_a_small_disk(t, "1200k" if t.config.hostile else "6m", ["full", "free"])
    for i, m in enumerate((*MASTERS, "local-cluster[1,2,256]")):
        out = "out-%d" % i
        res = t.ok("wide", "sort", "in.txt", out, master=m, opts=["--executor-memory", "16m"], wrap=wrap)
        assert "left: " not in res.err, res
        assert len(t.rows(out)) == n


def case_output_disk_full(t):
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode != 0:
        raise Skip("needs to be root and to be allowed to mount")
    t.file("in.txt", "x" * 99 + "\n" + ("y" * 99 + "\n") * 50000)
    os.mkdir(t.path("full"))
    script = ('mount -t tmpfs -o size=1m none "$0" || exit 99; "$@"; s=$?; '
              'find "$0" -type f | sed "s/^/left: /" >&2; exit $s')
    res = t.fails(1, "No space left on device", "copy", "in.txt", "full/out",
                  wrap=["unshare", "-m", "sh", "-c", script, t.path("full")])
    assert "left: " not in res.err, res


def case_scratch_cannot_be_written(t):
    t.file("in.txt", "a 1\n")
    t.file("plain", "x")
    for scratch in ("/proc/nowhere", t.path("plain")):
        t.fails(1, scratch, "wide", "sum", "in.txt", "out", env={"TASKD_LOCAL_DIR": scratch})


def stop_with(t, how, status, slots, stderr=subprocess.PIPE, deed="loop"):
    """A job that never ends, stopped from outside: all over within two seconds."""
    t.file("in.txt", "a\nPOISON\nb\n" * 2000)
    out = "out%d%d" % (how, slots)
    words = t.command("bad", deed, "-", "in.txt", out, 4, master="local[%d]" % slots)
    p = subprocess.Popen(words, cwd=t.dir, env=t.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)
    end = time.monotonic() + 20
    while True:  # until a runner is busy in the loop
        busy = [c for c in all_descendants(p.pid) if cpu(c) > 5]
        if busy or p.poll() is not None or time.monotonic() > end:
            break
        wait_gone(p.pid, time.monotonic() + 0.02)
    assert p.poll() is None, "it ended by itself: %s" % p.communicate()[1]
    assert busy, "no runner got busy"
    began = time.monotonic()
    p.send_signal(how)
    try:
        err = p.communicate(timeout=5)[1]
    except subprocess.TimeoutExpired:
        p.kill()
        p.communicate()
        raise AssertionError("it does not stop")
    t.nothing_left(within=max(0, began + 2 - time.monotonic()))
    assert time.monotonic() - began < 2.5, "took %.1f s" % (time.monotonic() - began)
    assert p.returncode == status, (p.returncode, err)
    t.no_output(out)


def all_descendants(pid):
    found = []
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            for c in f.read().split():
                found += [int(c)] + all_descendants(int(c))
    except OSError:
        pass
    return found


def cpu(pid):
    """Clock ticks used."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            w = f.read().rsplit(")", 1)[1].split()
            return int(w[11]) + int(w[12])
    except OSError:
        return 0


def case_interrupted(t):
    for slots in (1, 2):
        stop_with(t, signal.SIGINT, 130, slots)
        stop_with(t, signal.SIGTERM, 143, slots)


def case_submitter_killed(t):
    for slots in (1, 2):
        stop_with(t, signal.SIGKILL, -9, slots)
    for how, status in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
        for _ in range(5):
            stop_with(t, how, status, 2, deed="chain")


def case_interrupted_while_nobody_reads(t):
    """Standard error is a pipe that is full: a pager that waits, a halted terminal."""
    r, w = os.pipe()
    os.set_blocking(w, False)
    for n in (65536, 1):
        try:
            while True:
                os.write(w, b"x" * n)
        except BlockingIOError:
            pass
    os.set_blocking(w, True)
    stop_with(t, signal.SIGINT, 130, 2, stderr=w)
    stop_with(t, signal.SIGTERM, 143, 2, stderr=w)
    os.close(r)
    os.close(w)
