"""Broadcasts: the right bytes everywhere, built once a process, nothing left, and clear errors."""
import os
import re
import struct

MASTERS = ("local[1]", "local[2]")


def sum_of(data):
    """What tests/e2e/modules/broadcast.c computes."""
    mask, a, b = 2 ** 64 - 1, 0, 0
    n = len(data) // 8 * 8
    for (w,) in struct.iter_unpack("<Q", data[:n]):
        a = (a + w) & mask
        b = (b + a) & mask
    b = (b + sum(data[n:])) & mask
    return a ^ ((b << 1) & mask)


def built(r):
    """Process ids of the builds."""
    return re.findall(r"built in (\d+)", r.out + r.err)


def case_bytes_of_a_file(t):
    for n, size in enumerate((0, 1, 4095, 4096, 4097, (1 << 20) + 5)):
        data = bytes(i * 31 % 251 for i in range(size))
        t.file("data%d" % n, data)
        for i, m in enumerate(MASTERS):
            out = "out%d-%d" % (n, i)
            r = t.ok("broadcast", "bytes", "data%d" % n, 12, out, master=m)
            assert t.rows(out) == [b"%d" % sum_of(data)] * 12, (size, t.rows(out))
            pids = built(r)
            assert len(pids) == len(set(pids)) <= i + 1, "built twice in a process: %s" % r
            assert r.summary["accumulators"]["used"] == 12, r.summary


def case_a_hundred_megabytes(t):
    size = 3000001 if t.config.hostile or t.config.asan else 104857601
    for i, m in enumerate(MASTERS):
        r = t.ok("broadcast", "big", size, 20, master=m)
        said = r.out + r.err
        wanted = re.search(r"wanted (\d+)", said).group(1)
        assert "20 sums %s\n" % wanted in said, r
        assert len(built(r)) == len(set(built(r))) <= i + 1, r


def case_a_file_that_changes(t):
    """What counts is what was in it when the broadcast was made; the copy is private."""
    t.file("data", b"a" * 100000)
    r = t.ok("broadcast", "bytes", "data", 2, "out", opts=["--executor-memory", "16m"])
    assert t.rows("out") == [b"%d" % sum_of(b"a" * 100000)] * 2, r


def case_values_and_their_end(t):
    for m in MASTERS:
        r = t.ok("broadcast", "rounds", 4, master=m)
        said = r.out + r.err
        for k in range(4):
            assert "round %d: some mapped before, 0 mapped behind" % k in said, r
        # each process that built a value gave it up
        assert sorted(built(r)) == sorted(re.findall(r"dropped 7 in (\d+)", said)), r
        assert len(built(r)) >= 4, r


def case_broadcasts_that_go_wrong(t):
    for m in MASTERS:
        def fails(how, *words):
            r = t.fails(1, words[0], "broadcast", how, master=m)
            for w in words:
                assert w in r.err, "%r is not said: %s" % (w, r)
            return r
        fails("FAIL", 'the build of broadcast "table" (broadcast.c:', 'failed at broadcast.c:', 'the table begins with "FAIL"',
              "td_get in use()", "failed 4 times")
        fails("NULL", 'the build of broadcast "table" (broadcast.c:', "returned NULL")
        fails("CRASHxxx", "signal 11 in summed_build() at broadcast.c:", 'in the build of broadcast "table"')
        fails("EXIT", "called exit(3) in summed_build() at broadcast.c:", 'in the build of broadcast "table"')
        r = fails("early", 'broadcast "table" (broadcast.c:', "had no value when this dataset was made", "task ")
        assert r.summary["failed_attempts"] <= 2, "no attempt can mend that: %s" % r.summary
        fails("gone", 'broadcast "table" (broadcast.c:', "it was destroyed")
        fails("missing", 'td_broadcast_file of "table": opening "there/is/no/such/file": No such file')


def case_a_folder_is_no_broadcast(t):
    os.mkdir(t.path("folder"))
    t.fails(1, "is not a regular file", "broadcast", "bytes", "folder", 2, "out")
    t.no_output("out")
