"""The examples and each operator, with results computed here."""
import collections
import gzip
import os
import random

MASTERS = ("local[1]", "local[2]")


def text(lines, words=5000, seed=1):
    """Zipf-like text."""
    r = random.Random(seed)
    vocabulary = ["".join(r.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(r.randint(1, 12))) for _ in range(words)]
    return "".join(" ".join(vocabulary[int(words ** r.random()) - 1] for _ in range(r.randint(0, 14))) + "\n"
                   for _ in range(lines))


def counted(data):
    """Words as taskd defines them: runs of bytes greater than 0x20."""
    table = bytes(b if b > 0x20 else 0x20 for b in range(256))
    return collections.Counter(data.translate(table).split(b" ")) - collections.Counter({b"": 10 ** 12})


def as_rows(counter):
    return sorted(k + b"\t" + str(v).encode() for k, v in counter.items())


def case_wordcount(t):
    data = text(20000).encode()
    t.file("in.txt", data)
    want = counted(data)
    want.pop(b"", None)
    for i, m in enumerate(MASTERS + ("local[*]", "local")):
        t.ok("wordcount", "in.txt", "out%d" % i, master=m)
        assert sorted(t.rows("out%d" % i)) == as_rows(want), m


def case_wordcount_of_a_directory_glob_and_gzip(t):
    parts = [text(300, seed=s).encode() for s in range(4)]
    for i, p in enumerate(parts[:3]):
        t.file("dir/%d.txt" % i, p)
    with gzip.open(t.path("dir/3.txt.gz"), "wb") as f:
        f.write(parts[3])
    t.file("dir/.hidden", "no no no\n")
    t.file("dir/_SUCCESS", "no no no\n")
    t.ok("wordcount", "dir", "out1")
    assert sorted(t.rows("out1")) == as_rows(counted(b"".join(parts)))
    t.ok("wordcount", "dir/[01].txt", "out2")
    assert sorted(t.rows("out2")) == as_rows(counted(parts[0] + parts[1]))
    t.ok("wordcount", "dir/3.txt.gz", "out3", master="local[1]")
    assert sorted(t.rows("out3")) == as_rows(counted(parts[3]))


def log_lines(n):
    r = random.Random(3)
    for i in range(n):
        kind = r.random()
        if kind < 0.01:
            yield "2026-01-31T12:00:00Z 17 503"
        elif kind < 0.02:
            yield "2026-01-31T12:00:00Z seven 503 100 /x"
        else:
            yield "2026-01-31T12:00:%02dZ %d %d %d /p/%d" % (i % 60, r.randint(0, 300), r.choice([200] * 20 + [404, 500, 503]),
                                                             r.randint(100, 9999999), r.randint(0, 99))


def case_logerrors(t):
    lines = list(log_lines(30000))
    t.file("log", "\n".join(lines) + "\n")
    names = {i: "name-%d of %s" % (i, "x" * (i % 50)) for i in range(250)}
    t.file("names", "".join("%d,%s\n" % (i, names[i]) for i in names) + "\n4095,last")
    errors, unknown, seen, us, bad = collections.Counter(), 0, 0, [], 0
    for line in lines:
        f = line.split(" ")
        if len(f) < 5 or not f[1].isdigit():
            bad += 1
            continue
        seen += 1
        us.append(int(f[3]))
        if int(f[2]) >= 500:
            unknown += int(f[1]) not in names
            errors[names.get(int(f[1]), "service " + f[1]).encode()] += 1
    for i, m in enumerate(MASTERS):
        r = t.ok("logerrors", "log", "names", "out%d" % i, master=m)
        assert t.rows("out%d" % i) == [b"%s\t%d" % (k, errors[k]) for k in sorted(errors)], "rows"
        a = r.summary["accumulators"]
        assert (a["requests"], a["errors"]) == (seen, sum(errors.values())), a
        assert (a["slowest_us"], a["fastest_us"]) == (max(us), min(us)), a
        assert abs(a["seconds"] - sum(us) * 1e-6) < 1e-9 * sum(us), a
        assert unknown and "%d errors (%d of unknown services) in %d requests" % (sum(errors.values()), unknown, seen) in r.err + r.out, r
        assert r.summary["state"] == "SUCCEEDED" and r.summary["exit_code"] == 0, r.summary
        assert r.summary["input_records"] == len(lines) and r.summary["output_records"] == len(errors), r.summary
        assert r.summary["bad_records"] == bad, r.summary


def case_logerrors_with_a_bad_table(t):
    t.file("log", "".join(line + "\n" for line in log_lines(1000)))
    t.file("names", "1,one\ntwo,2\n")
    t.fails(1, 'the build of broadcast "names" (logerrors.c:', "logerrors", "log", "names", "out")
    r = t.fails(1, 'line 2 is not "number,name": "two"', "logerrors", "log", "names", "out")
    assert "td_get in failures()" in r.err, r
    t.no_output("out")
    t.fails(1, 'td_broadcast_file of "names": opening "no"', "logerrors", "log", "no", "out")
    t.no_output("out")


def case_grep(t):
    lines = text(20000, seed=5).splitlines()
    lines[777] += " needle needle"
    lines[-1] = "needle"
    t.file("in.txt", "\n".join(lines))
    for i, m in enumerate(MASTERS):
        r = t.ok("grep", "needle", "in.txt", "out%d" % i, master=m)
        want = [line.encode() for line in lines if "needle" in line]
        assert t.rows("out%d" % i) == want
        assert r.summary["accumulators"]["matching_lines"] == len(want)
    t.fails(2, "usage: grep TEXT INPUT OUTPUT", "grep", "needle")


def case_sort(t):
    r = random.Random(9)
    lines = [bytes(r.choice(b"abc\x00\x80\xff xyz") for _ in range(r.randint(0, 30))) for _ in range(t.few(20000))]
    t.file("in.txt", b"".join(line + b"\n" for line in lines))
    for i, m in enumerate(MASTERS):
        t.ok("sort", "in.txt", "out%d" % i, master=m)
        assert t.rows("out%d" % i) == sorted(lines), m
        t.ok("sort", "in.txt", "parts%d" % i, 7, master=m)
        assert t.rows("parts%d" % i) == sorted(lines), m
    t.ok("sort", "in.txt", "down", conf=["sort.descending=true"])
    assert t.rows("down") == sorted(lines, reverse=True)


def case_copy(t):
    data = text(5000).encode()
    t.file("in.txt", data)
    for i, m in enumerate(MASTERS):
        r = t.ok("copy", "in.txt", "out%d" % i, master=m)
        assert b"\n".join(t.rows("out%d" % i)) + b"\n" == data
        assert r.summary["input_bytes"] == len(data), r.summary


def pairs(n, keys, seed=2):
    r = random.Random(seed)
    return [("k%d" % int(keys ** r.random()), r.randint(-10 ** 12, 10 ** 12)) for _ in range(n)]


def case_wide_operators(t):
    kv = pairs(t.few(20000), 3000)
    lines = ["%s %d" % p for p in kv]
    t.file("in.txt", "\n".join(lines) + "\n")
    groups = collections.defaultdict(list)
    for k, v in kv:
        groups[k].append(v)
    keyed = {
        "sum": sum, "min": min, "max": max, "count": len, "reduce": sum,
        "group": lambda v: "%d %d" % (len(v), v[0]),
    }
    for i, m in enumerate(MASTERS):
        for verb, f in keyed.items():
            t.ok("wide", verb, "in.txt", "%s%d" % (verb, i), master=m)
            want = sorted(("%s\t%s" % (k, f(v))).encode() for k, v in groups.items())
            assert sorted(t.rows("%s%d" % (verb, i))) == want, "%s in %s" % (verb, m)
        t.ok("wide", "distinct", "in.txt", "distinct%d" % i, master=m)
        assert sorted(t.rows("distinct%d" % i)) == sorted(k.encode() for k in groups)
        t.ok("wide", "union", "in.txt", "union%d" % i, master=m)
        assert sorted(t.rows("union%d" % i)) == sorted([k.encode() for k, _ in kv] * 2)
        t.ok("wide", "sort", "in.txt", "sort%d" % i, master=m)
        assert t.rows("sort%d" % i) == sorted(line.encode() for line in lines)
        t.ok("wide", "down", "in.txt", "down%d" % i, master=m)
        assert t.rows("down%d" % i) == sorted((line.encode() for line in lines), reverse=True)
        t.ok("wide", "sortkey", "in.txt", "sortkey%d" % i, master=m)
        want = [("%s\t%d" % p).encode() for p in sorted(kv, key=lambda p: p[0].encode())]
        assert t.rows("sortkey%d" % i) == want, "equal keys must keep their order in " + m


def case_same_bytes_with_any_number_of_runners(t):
    t.file("in.txt", "\n".join("%s %d" % p for p in pairs(t.few(30000), 5000)) + "\n")

    def parts(out):
        return [open(os.path.join(t.path(out), n), "rb").read() for n in sorted(os.listdir(t.path(out)))]

    for verb in ("sum", "group", "sortkey"):
        conf = ["taskd.default.parallelism=4"]
        for i, m in enumerate(("local[1]", "local[2]", "local[3]")):
            t.ok("wide", verb, "in.txt", "%s%d" % (verb, i), master=m, conf=conf)
        # the budget of a runner depends on their number, the rows must not
        assert sorted(b"".join(parts(verb + "0"))) == sorted(b"".join(parts(verb + "1")))
        t.ok("wide", verb, "in.txt", verb + "again", master="local[2]", conf=conf)
        assert parts(verb + "1") == parts(verb + "again"), verb + " gives other bytes when it runs again"


def case_spilling_changes_nothing(t):
    r = random.Random(8)
    t.file("in.txt", "".join("%d-%s %d\n" % (r.randrange(10 ** 5), "x" * 40, i) for i in range(2000 if t.config.hostile else 200000)))
    for verb in ("sum", "group", "distinct", "sortkey", "sort"):
        rows = {}
        for memory in ("1g", "8m"):
            out = "%s-%s" % (verb, memory)
            r = t.ok("wide", verb, "in.txt", out, opts=["--executor-memory", memory])
            rows[memory] = t.rows(out)
            if memory == "8m":
                assert r.summary["spill_bytes"] > 0, "%s did not spill: %s" % (verb, r.summary)
        assert sorted(rows["1g"]) == sorted(rows["8m"]), verb
        if verb.startswith("sort"):
            assert rows["1g"] == rows["8m"], verb


def case_actions(t):
    t.file("in.txt", "a\nb\nc\n")
    for i, m in enumerate(MASTERS):
        # The action that was refused fails the job, whatever its main returns.
        r = t.fails(6, "exists already", "actions", "in.txt", t.path("d%d" % i), master=m)
        said = r.out + r.err
        for line in ("count 100000", "seen 100000 most 99999", "reduce 9999900000", "seen again 100000", "take 5 last 8",
                     "collect 3 first a -1", "blocks 3", "refused: "):
            assert line in said, "%r is not said: %s" % (line, r)
        assert t.rows("d%d/text" % i) == [b"a", b"b", b"c"]
        assert r.summary["accumulators"]["seen"] == 100000, r.summary
