"""Bad code: only its attempt dies, its neighbours are unharmed, and the message says where and at which record."""
import gzip
import os
import re
import subprocess

from run import BUILD, SRC, Skip

MASTERS = ("local[1]", "local[2]")
PARTS = 4


def poisoned(t, name="input.txt", lines=3000, at=2100):
    """An input with one poisoned record; gives the offset of that record."""
    rows = [b"line %06d" % i for i in range(lines)]
    rows[at] = b"a POISON b"
    t.file(name, b"\n".join(rows) + b"\n")
    return rows, sum(len(r) + 1 for r in rows[:at])


def line_of(source, text):
    with open(os.path.join(SRC, "tests/e2e/modules", source)) as f:
        for i, line in enumerate(f, 1):
            if text in line:
                return i
    raise AssertionError("no line with " + text)


def case_crash_names_its_line_and_record(t):
    """The message of the README, to the byte."""
    rows, offset = poisoned(t)
    shown = subprocess.run([os.path.join(BUILD, "taskd-inspect"), t.module("crash")], capture_output=True, text=True, check=True)
    build_id = re.search(r"build-id +([0-9a-f]{16,})\n", shown.stdout).group(1)
    for i, m in enumerate(MASTERS):
        r = t.fails(1, "signal 11 in keep() at crash.c:7 (crash.so+0x", "crash", "input.txt", "out%d" % i, PARTS, master=m)
        want = r'signal 11 in keep\(\) at crash\.c:7 \(crash\.so\+0x[0-9a-f]+\), partition (\d+), input\.txt at byte offset %d: ' \
               r'"a POISON b"; build-id %s\n' % (offset, build_id)
        found = re.search(want, r.err)
        assert found, "want %s: %s" % (want, r)
        assert int(found.group(1)) == offset * PARTS // sum(len(x) + 1 for x in rows), r
        assert r.summary["failed_attempts"] == 4, r.summary
        assert r.seconds < 2 or t.config.sanitized, "four attempts and the words took %.1f s" % r.seconds
        t.no_output("out%d" % i)


def case_record_is_named_wherever_it_is(t):
    """Plain and packed, each shape of function, in the first, second and third stage: by offset, number or key."""
    rows, offset = poisoned(t)
    with gzip.open(t.path("packed.gz"), "wb") as f:
        f.write(b"\n".join(rows) + b"\n")
    plain = 'input.txt at byte offset %d: "a POISON b' % offset
    packed = 'packed.gz at byte offset %d (unpacked): "a POISON b' % offset
    numbered = r'record \d+: "a POISON b"'
    for how, name, function, want in (
        ("record", "input.txt", "record", re.escape(plain + '"')), ("record", "packed.gz", "record", re.escape(packed + '"')),
        ("batch", "input.txt", "batch", re.escape(plain + '"')), ("batch", "packed.gz", "batch", re.escape(packed + '"')),
        ("text", "input.txt", "text", re.escape(plain + '\\n"')), ("text", "packed.gz", "text", re.escape(packed + '\\n"')),
        ("sorted", "input.txt", "record", r'record 0: "a POISON b"'), ("counted", "packed.gz", "pair", numbered),
        ("third", "input.txt", "pair", r'record 0: "a POISON b"'), ("number", "input.txt", "number", "record 0: -10"),
        ("group", "input.txt", "group", "key -10"), ("behind-group", "input.txt", "record", "key -10"),
        ("reduce", "twice", "add", r'key "line \d{6}"'),
    ):
        if name == "twice":
            t.file("twice/a", b"\n".join(rows + rows) + b"\n")
            t.file("twice/b", b"\n".join(rows + rows) + b"\n")
        for what in ("crash", "fail"):
            r = t.fails(1, "", "where", how, what, name, "out", conf=["taskd.task.maxFailures=2"])
            said = (r"signal 11 in check\(\) at where\.c:\d+ \(where\.so\+0x[0-9a-f]+\)" if what == "crash" else
                    r"%s\(\) failed at where\.c:\d+" % function)
            want_all = said + r", partition \d+, " + want + ("; build-id [0-9a-f]+$" if what == "crash" else ": on purpose$")
            assert re.search(want_all, r.err, re.M), "%s %s: no %s in %s" % (how, what, want_all, r)
            t.no_output("out")


def misdeed(t, how, words, status=1, opts=(), conf=(), timeout=60):
    """HOW for ever fails the job with these words; HOW once costs one attempt and nothing else."""
    rows, offset = poisoned(t)
    for i, m in enumerate(MASTERS):
        r = t.fails(status, words, "bad", how, "-", "input.txt", "for-ever%d" % i, PARTS, master=m, opts=opts,
                    conf=["taskd.task.maxFailures=2"] + list(conf), timeout=timeout)
        t.no_output("for-ever%d" % i)
        assert r.summary["failed_attempts"] >= 2, r.summary
        once = t.path("once%d" % i)
        r = t.ok("bad", how, once, "input.txt", "once-out%d" % i, PARTS, master=m, opts=opts, conf=conf, timeout=timeout)
        assert os.path.exists(once), "it never misbehaved"
        assert t.rows("once-out%d" % i) == rows, "other rows after one bad attempt"
        assert r.summary["accumulators"]["lines"] == len(rows), r.summary
        assert r.summary["failed_attempts"] >= 1, r.summary
    return offset


def record(offset):
    return 'input.txt at byte offset %d: "a POISON b"' % offset


def case_segv(t):
    misdeed(t, "segv", ["signal 11 in misbehave() at bad.c:%d" % line_of("bad.c", "(uintptr_t)zero = 1;"), '"a POISON b"'])


def case_abort(t):
    misdeed(t, "abort", ["signal 6 in misbehave() at bad.c:%d" % line_of("bad.c", "        abort();"), '"a POISON b"'])


def case_fpe(t):
    misdeed(t, "fpe", ["signal 8 in misbehave() at bad.c:", '"a POISON b"'])


def case_ill(t):
    misdeed(t, "ill", ["signal 4 in misbehave() at bad.c:", '"a POISON b"'])


def case_exit(t):
    misdeed(t, "exit", ["called exit(0) in misbehave() at bad.c:", '"a POISON b"'])


def case_underscore_exit(t):
    misdeed(t, "_exit", "_exit(0)")


def case_sigkill(t):
    misdeed(t, "kill", "signal 9")


def case_string_that_is_none(t):
    """It crashes where the string is looked at: whose it was is said."""
    misdeed(t, "string", ["signal 11 in td_own_str_() at taskd.h:", ", with what touch() gave, partition ", '"a POISON b"'])


def case_stack_overflow(t):
    misdeed(t, "stack", ["signal 11 in deeper() at bad.c:", '"a POISON b"', "stack is full"])


def case_endless_loop(t):
    # ThreadSanitizer keeps signals back from who calls nothing.
    words = ["ran longer than 0.3 s"] if t.config.tsan else ["ran longer than 0.3 s in spin() at bad.c:", '"a POISON b"']
    misdeed(t, "loop", words, status=7, conf=["taskd.task.timeout=300ms"])


def case_endless_loop_with_signals_blocked(t):
    misdeed(t, "signals", "ran longer than 0.3 s", status=7, conf=["taskd.task.timeout=300ms"])


def case_stopped(t):
    misdeed(t, "stop", "ran longer than 0.3 s", status=7, conf=["taskd.task.timeout=300ms"])


def case_memory_eater(t):
    if t.config.sanitized:
        raise Skip("a sanitizer has its own malloc")
    misdeed(t, "memory", ["in eat() at bad.c:", '"a POISON b"', "--executor-memory"], opts=["--executor-memory", "256m"])


def case_failed_attempts_leave_nothing_to_the_next(t):
    misdeed(t, "again", ["in a process of its own"])


def case_td_alloc_eater(t):
    misdeed(t, "alloc", ["td_alloc of", "memory"], opts=["--executor-memory", "256m"])


def case_td_tmp_of_a_negative_size(t):
    misdeed(t, "tmp", ["td_tmp of 18446744073709551615 bytes"])


def case_limit_is_charged_to_its_task_alone(t):
    """A runner that ends after its answer takes no other task's attempt with it."""
    rows, _ = poisoned(t)
    for i, m in enumerate(MASTERS):
        r = t.ok("bad", "alloc", t.path("once%d" % i), "input.txt", "out%d" % i, 40, master=m,
                 opts=["--executor-memory", "64m"], conf=["taskd.task.maxFailures=2"])
        assert t.rows("out%d" % i) == rows
        assert r.summary["failed_attempts"] == 1, r.summary


def case_closes_descriptors(t):
    misdeed(t, "fds", "descriptor")


def scribbled(t, how):
    """What it writes over is its own: the attempt fails, or its answer came through unharmed and is right."""
    rows, _ = poisoned(t)
    for i, m in enumerate(MASTERS):
        for k in range(5):
            out = "out%d-%d" % (i, k)
            r = t.run("bad", how, "-", "input.txt", out, PARTS, master=m,
                      conf=["taskd.task.maxFailures=2", "taskd.task.timeout=500ms"])
            if r.status == 0 and how == "scribble":
                assert t.rows(out) == rows and r.summary["accumulators"]["lines"] == len(rows), r.summary
                continue
            assert r.status in (1, 7), r
            assert "wrote over the memory" in r.err or "ran longer" in r.err, r
            t.no_output(out)
        once = t.path("once%d" % i)
        r = t.ok("bad", how, once, "input.txt", "once-out%d" % i, PARTS, master=m, conf=["taskd.task.timeout=500ms"])
        assert t.rows("once-out%d" % i) == rows and r.summary["accumulators"]["lines"] == len(rows), r.summary


def case_scribbles_over_shared_memory(t):
    scribbled(t, "scribble")


def case_scribbles_and_hangs(t):
    scribbled(t, "scribble-loop")


def case_longjmp(t):
    """To a frame that is no more: the C library sees it."""
    if t.config.sanitized:
        raise Skip("a sanitizer has its own longjmp")
    misdeed(t, "longjmp", ["signal 6 in misbehave() at bad.c:%d" % line_of("bad.c", "__longjmp_chk(gone, 1)"), '"a POISON b"'])


def case_heap_overrun(t):
    """All of the heap is written over, until the memory ends: the names of records, too, but the place is told."""
    misdeed(t, "overrun", ["in overrun() at bad.c:%d" % line_of("bad.c", "p[i] = 'x'"), "partition 2"])


def case_double_free(t):
    if t.config.tsan:
        raise Skip("ThreadSanitizer's own malloc does not end the process")
    misdeed(t, "free", ["signal ", "bad.c:", '"a POISON b"'])


def case_bad_length(t):
    """What a function returns is read where it is not."""
    misdeed(t, "length", ["signal ", '"a POISON b"'])


def case_signal_handlers_taken(t):
    """The signals of the last words are gone: the death is told all the same."""
    misdeed(t, "sigaction", ["killed by signal 11", "partition 2"])


def unharmed(t, how):
    """HOW harms nobody: the rows are right at the first attempt, and nothing is left behind (nothing_left looks)."""
    rows, _ = poisoned(t)
    for i, m in enumerate(MASTERS):
        out = "%s-out%d" % (how, i)
        r = t.ok("bad", how, "-", "input.txt", out, PARTS, master=m)
        assert t.rows(out) == rows, "other rows"
        assert r.summary["accumulators"]["lines"] == len(rows), r.summary
        assert r.summary["failed_attempts"] == 0, r.summary
        for part in os.listdir(t.path(out)):
            assert os.stat(t.path(out) + "/" + part).st_mode & 0o600 == 0o600, "a part file can't be read"


def case_crash_at_exit(t):
    unharmed(t, "atexit")


def case_stray_thread(t):
    unharmed(t, "stray")


def case_moves_house(t):
    """Working folder, umask, locale and environment are changed."""
    unharmed(t, "house")


def case_gigabyte_of_output(t):
    """1 GB to standard output."""
    rows, _ = poisoned(t)
    for i, m in enumerate(MASTERS):
        out = "loud%d" % i
        r = t.ok("bad", "gigabyte", "-", "input.txt", out, PARTS, master=m, wrap=("sh", "-c", '"$@" >/dev/null', "sh"))
        assert t.rows(out) == rows and r.summary["failed_attempts"] == 0, r.summary


def case_crash_in_a_thread(t):
    misdeed(t, "thread", "signal 11 in in_thread() at bad.c:")


def case_child_left_behind(t):
    """A forked child does not outlive its runner (nothing_left looks)."""
    misdeed(t, "fork", "signal 6")


def case_daemon_left_behind(t):
    """Nor one that asks for a session of its own."""
    misdeed(t, "daemon", "signal 6")


def case_td_fail(t):
    line = line_of("bad.c", 'td_fail(t, "on purpose")')
    misdeed(t, "fail", ["on purpose", "bad.c:%d" % line, '"a POISON b"'])


def case_td_bad(t):
    misdeed(t, "bad", ["no good", '"a POISON b"'])


def case_noise(t):
    """A module that prints a lot: its job ends all the same."""
    rows, _ = poisoned(t)
    for i, m in enumerate(MASTERS):
        r = t.ok("bad", "noise", "-", "input.txt", "out%d" % i, PARTS, master=m)
        assert t.rows("out%d" % i) == rows
        assert "noise 199999" in r.out + r.err, "what it printed is lost"


def case_cxx_exception(t):
    rows, offset = poisoned(t, at=10)
    for i, m in enumerate(MASTERS):
        t.fails(1, ["uncaught C++ exception: cannot measure a POISON b"], "throw", "input.txt", "out%d" % i, master=m)
        t.no_output("out%d" % i)
    t.file("good.txt", "ab\nc\n")
    t.ok("throw", "good.txt", "good")
    assert t.rows("good") == [b"ab\t2", b"c\t1"]


def case_crash_while_loading(t):
    for m in MASTERS:
        t.fails(1, ["signal 6", "ctor.so"], "ctor", master=m)


def case_map_outputs_vanish(t):
    """Those that are gone are made again, whichever they are, and count once."""
    for m in MASTERS:
        for gone in (["0"], ["7"], ["2", "5", "6"]):
            r = t.ok("lost", *gone, master=m, opts=["--executor-memory", "64m"])
            assert "100 100000 100000" in r.out + r.err, r
            assert 0 < r.summary["failed_attempts"] <= 4 * len(gone), r.summary


def case_neighbours_are_unharmed(t):
    """Many crashes beside good tasks: each costs its own attempt only."""
    rows = [b"line %d" % i for i in range(20000)]
    for k in range(0, 20000, 2500):
        rows[k + 17] = b"POISON %d" % k
    t.file("input.txt", b"\n".join(rows) + b"\n")
    for i, m in enumerate(MASTERS + ("local[4]",)):
        for how in ("segv", "kill", "fds"):
            out = "%s%d" % (how, i)
            r = t.ok("bad", how, t.path("once-" + out), "input.txt", out, 16, master=m)
            assert t.rows(out) == rows
            assert r.summary["accumulators"]["lines"] == len(rows), r.summary
            assert 1 <= r.summary["failed_attempts"] <= 2, r.summary
