"""Operators put together, in little memory and in much, in one runner and in several; results computed here."""
import collections
import hashlib
import os
import random
import subprocess

from run import Skip

MASTERS = ("local[1]", "local[2]")
MEMORY = ("1g", "1m")  # of 1m one of two runners may use 300 KiB: everything spills


def words_of(seed, lines, vocabulary=4000):
    r = random.Random(seed)
    all_words = ["%s%d" % ("".join(r.choice("abcdefgh") for _ in range(r.choice((0, 1, 2, 3, 9, 30)))), i)
                 for i in range(vocabulary)]
    return [" ".join(all_words[int(vocabulary ** r.random()) - 1] for _ in range(r.randint(0, 12))) for _ in range(lines)]


def ways(t, quick=False):
    """master, memory: what may not change a row."""
    for master in MASTERS:
        for memory in MEMORY:
            yield master, memory, "%s-%s" % (master[6], memory)
    if not quick:
        yield "local[3]", "2m", "3-2m"


def run(t, verb, arg, out, master, memory):
    return t.ok("ops", verb, arg, out, master=master, opts=["--executor-memory", memory])


def case_chain_of_two_sorts_and_a_count(t):
    lines = words_of(1, t.few(6000))
    t.file("in", "\n".join(lines) + "\n")
    count = collections.Counter(w for line in lines for w in line.split() if len(w) > 2)
    rows = sorted(((n, w.encode()) for w, n in count.items()), key=lambda r: (-r[0], r[1]))
    want = [b"%d\t%s" % r for r in rows]
    for master, memory, tag in ways(t):
        r = run(t, "chain", "in", "out" + tag, master, memory)
        assert t.rows("out" + tag) == want, tag
        a = r.summary["accumulators"]
        assert a["words_seen"] == sum(len(line.split()) for line in lines), a
        assert a["kept"] == sum(count.values()), a


def case_group_of_a_batch_function(t):
    lines = words_of(2, t.few(8000))
    t.file("in", "\n".join(lines) + "\n")
    groups = collections.defaultdict(lambda: [0, 0])
    for line in lines:
        for w in line.split():
            for k, v in ((w, len(w)), (w[1:], len(w) - 1)):
                groups[k][0] += 1
                groups[k][1] += v
    want = sorted(("%s: %d values, in all %d" % (k, n, m)).encode() for k, (n, m) in groups.items())
    for master, memory, tag in ways(t):
        r = run(t, "group", "in", "out" + tag, master, memory)
        assert t.rows("out" + tag) == want, tag
        assert r.summary["accumulators"]["groups"] == len(groups), r.summary
        assert t.config.hostile or (r.summary["spill_bytes"] > 0) == (memory != "1g"), r.summary


def case_reduce_of_strings(t):
    lines = words_of(3, t.few(8000))
    t.file("in", "\n".join(lines) + "\n")
    best = {}
    for line in lines:
        for w in line.split():
            best[w[0]] = max(best.get(w[0], ""), w)
    want = sorted(("%s\t%s" % p).encode() for p in best.items())
    for master, memory, tag in ways(t):
        run(t, "reduce", "in", "out" + tag, master, memory)
        assert sorted(t.rows("out" + tag)) == want, tag


def case_sums_of_reals(t):
    r = random.Random(4)
    keys = ["-0", "0", "nan", "inf", "-inf", "1e300"] + ["%d.5" % i for i in range(3000)]
    rows = [(r.choice(keys), r.uniform(-1e6, 1e6)) for _ in range(t.few(40000))] + [(k, 1.0) for k in keys]
    t.file("in", "".join("%s %r\n" % p for p in rows) + "this is bad\n")
    sums = collections.defaultdict(float)
    for k, v in rows:
        if k != "nan":
            sums[float(k) + 0.0] += v
    nan = sum(v for k, v in rows if k == "nan")
    order = sorted(sums)
    for master, memory, tag in ways(t):
        res = run(t, "reals", "in", "out" + tag, master, memory)
        got = [line.split(b"\t") for line in t.rows("out" + tag)]
        assert [float(k) for k, _ in got[:-1]] == order, tag
        assert b"nan" in got[-1][0], got[-1]
        for (_, v), w in zip(got, [sums[k] for k in order] + [nan]):
            assert abs(float(v) - w) <= 1e-9 * max(1, abs(w)), (tag, v, w)
        assert res.summary["bad_records"] == 1, res.summary


def case_a_hundred_thousand_constants(t):
    n = t.few(100003)
    want = [b"%d\trow-%d" % (k, i) for k, i in sorted((i * 7919 % n, i) for i in range(n))]
    for master, memory, tag in ways(t, quick=True):
        r = run(t, "from", str(n), "out" + tag, master, memory)
        assert t.rows("out" + tag) == want, tag
        assert r.summary["input_records"] == n, r.summary


def case_union_of_all_sources(t):
    lines = words_of(5, 3000)
    t.file("in", "\n".join(lines) + "\n")
    lens = [len(line) for line in lines]
    count = collections.Counter(v % 1000 for v in list(range(50000)) + lens + [5, 6, 7, 1005] + lens)
    rows = [b"%d\t%d" % (k, count[k]) for k in sorted(count)]
    for master, memory, tag in ways(t):
        os.mkdir(t.path("d" + tag))
        r = run(t, "union", "in", "d" + tag, master, memory)
        assert "rows %d" % (50004 + 2 * len(lens)) in r.out + r.err, r
        got = t.rows("d%s/counts" % tag)
        assert got[:len(rows)] == rows, tag
        assert sorted(got[len(rows):]) == sorted(rows), tag


def case_damaged_block_files(t):
    t.file("in", "one\ntwo\n")
    os.mkdir(t.path("d"))
    t.ok("ops", "union", "in", "d")
    name = "d/blocks/part-00000.blocks"
    with open(t.path(name), "rb") as f:
        good = f.read()
    for what, data in (("not a whole file", b""), ("not a whole file", good[:-1]), ("there is no block here", b"\xff" + good[1:])):
        t.file(name, data)
        r = t.fails(1, [name, what], "ops", "blocks", "d/blocks", "out")
        assert r.summary["failed_attempts"] == 1, "it will not become better: %s" % r.summary
        t.no_output("out")


def case_more_rows_than_main_can_hold(t):
    for n, kind in ((20000000, "u64"), (4000000, "str")):
        r = t.ok("ops", "collect", n // 100, kind, opts=["--executor-memory", "64m"])
        assert "collected %d" % (n // 100) in r.out + r.err, r
        if not t.config.sanitized and not t.config.hostile:
            t.fails(1, ["ops.c:", "there is no memory for more than", "rows in the job's main"], "ops", "collect", n, kind,
                    opts=["--executor-memory", "64m"])


def case_take_runs_few_partitions(t):
    for master in MASTERS:
        r = t.ok("ops", "take", "100", "-", master=master)
        said = r.out + r.err
        # one partition has 1000 numbers; a second round has four, the next one sixteen.  A partition that was not read to
        # its end does not count: of 1001 the first did, of 20000 all 21 had rows that were wanted
        for n, seen in ((0, 0), (1, 0), (100, 0), (1001, 1000), (20000, 21000)):
            line = "take %d sum %d numbers %d" % (n, n * (n - 1) // 2, seen)
            assert line in said, "%r is not said: %s" % (line, r)
        assert r.summary["accumulators"]["numbers"] == 21000, r.summary
        r = t.ok("ops", "takebig", "-", "-", master=master)
        assert "first 7 8 9" in r.out + r.err, r


def case_accumulators_count_once_in_many_actions(t):
    lines = words_of(6, t.few(4000))
    t.file("in", "\n".join(lines) + "\n")
    all_words = [w for line in lines for w in line.split()]
    different = len(set(all_words))
    for master, memory, tag in ways(t):
        r = run(t, "again", "in", "out" + tag, master, memory)
        said = r.out + r.err
        n = len(all_words)
        for line in ("counts %d %d %d %d lines %d" % (n, different, 2 * different, 2 * n, len(lines)),
                     "totals %d %d" % (n, different)):
            assert line in said, "%r is not said: %s" % (line, r)
        first = min(set(w.encode() for w in all_words), key=lambda w: w + b": ")
        assert "first %s: " % first.decode() in said, r
        assert len(t.rows("out" + tag)) == different
        a = r.summary["accumulators"]
        assert (a["words_seen"], a["groups"]) == (n, different), a


def case_keys_set_by_the_job(t):
    lines = [b"%d" % (i % 500) for i in range(3000)]
    t.file("in", b"\n".join(lines) + b"\n")
    r = t.ok("ops", "conf", "in", "out")
    assert "word hello, parallelism 5, other -" in r.out + r.err, r
    assert sorted(t.rows("out")) == sorted(set(lines))
    assert len([n for n in os.listdir(t.path("out")) if n.startswith("part-")]) == 5


def case_keys_set_by_the_job_count(t):
    """Not only do they read back: what they are for happens."""
    r = t.fails(1, "failed 2 times", "settings", "fail", "taskd.task.maxFailures", "2")
    assert r.summary["attempts"] == 2, r.summary
    t.fails(7, "ran longer than 0.3 s", "settings", "hang", "taskd.task.timeout", "300ms", "spark.task.maxFailures", "1")
    rows = "settings.rows=%d" % t.few(200000)
    plain = t.ok("settings", "sort", conf=[rows]).summary
    assert t.config.hostile or plain["spill_bytes"] == 0, plain
    for key, value in (("taskd.executor.memory", "4m"), ("spark.memory.fraction", "0.01")):
        s = t.ok("settings", "sort", key, value, conf=[rows]).summary
        assert s["spill_bytes"] > 0, "%s: %s" % (key, s)
    for codec in ("lz4", "zlib", "none"):
        s = t.ok("settings", "sort", "taskd.shuffle.compress", "true", "taskd.io.compression.codec", codec,
                 conf=[rows]).summary
        assert (s["shuffle_write_bytes"] < plain["shuffle_write_bytes"]) == (codec != "none") or t.config.hostile, s
    s = t.ok("settings", "sort", conf=["spark.shuffle.compress=true", rows]).summary
    assert s["shuffle_write_bytes"] < plain["shuffle_write_bytes"] or t.config.hostile, s
    for key, value in (("my.own", "nothing"), ("spark.executor.memory", "1g"), ("taskd.shuffle.spill", "true")):
        r = t.ok("settings", "read", key)
        assert "it is " + value in r.out + r.err, r
    t.fails(3, ['td_conf: no configuration key is named "taskd.exectuor.memory"', "Did you mean taskd.executor.memory?"],
            "settings", "read", "taskd.exectuor.memory")
    t.fails(3, ["settings.c:", "--executor-memory", "before the program runs"], "settings", "sort", "spark.executor.memory",
            "64m", master="local-cluster[1,1,1100]")


def case_sort_by_key_is_stable(t):
    lines = words_of(7, t.few(5000))
    t.file("in", "\n".join(lines) + "\n")
    want = [b"%d\t%s" % (len(w), w.encode()) for w in sorted((w for line in lines for w in line.split()), key=len)]
    for master, memory, tag in ways(t):
        run(t, "sortkey", "in", "out" + tag, master, memory)
        assert t.rows("out" + tag) == want, tag


def case_the_least_memory(t):
    """1 MiB for two runners is allowed: it works, slowly."""
    lines = words_of(8, 2000)
    t.file("in", "\n".join(lines) + "\n")
    t.ok("wordcount", "in", "out", opts=["--executor-memory", "1m"])
    count = collections.Counter(w for line in lines for w in line.split())
    assert sorted(t.rows("out")) == sorted(("%s\t%d" % p).encode() for p in count.items())
    t.fails(3, "executor-memory", "wordcount", "in", "out2", opts=["--executor-memory", "1000"])


def case_spilling_sort_of_100_mb(t):
    if t.config.hostile or t.config.sanitized:
        raise Skip("takes too long in this build")
    r = random.Random(10)
    block = [b"%x %s\n" % (r.getrandbits(r.choice((8, 40, 64))), b"y" * r.randint(0, 80)) for _ in range(100000)]
    with open(t.path("in"), "wb") as f:
        for i in range(20):
            f.writelines(line[i % 9:] if len(line) > 10 else line for line in block)
    size = os.path.getsize(t.path("in"))
    p = subprocess.run(["sort", "-S", "200M", "in"], cwd=t.dir, env={"LC_ALL": "C", "TMPDIR": t.dir}, stdout=subprocess.PIPE,
                       check=True)
    want = hashlib.md5(p.stdout).hexdigest()
    for master, memory in (("local[2]", "64m"), ("local[1]", "16m")):
        out = "out" + memory
        res = t.ok("sort", "in", out, 5, master=master, opts=["--executor-memory", memory])
        h = hashlib.md5()
        for name in sorted(os.listdir(t.path(out))):
            if name.startswith("part-"):
                with open(os.path.join(t.path(out), name), "rb") as f:
                    h.update(f.read())
        assert h.hexdigest() == want, "%s %s: other bytes than sort(1)" % (master, memory)
        assert res.summary["spill_bytes"] > size / 2, res.summary
        # Its runs are its map output: what is spilled beyond that was written again by a merge in passes.
        again = res.summary["spill_bytes"] - res.summary["shuffle_write_bytes"]
        assert again < 0 if memory == "64m" else again < size, res.summary
