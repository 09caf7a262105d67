"""The command line and the configuration, as far as a whole job shows it."""
import json
import os
import subprocess

MASTERS = ("local[1]", "local[2]")


def case_keys_that_are_refused(t):
    t.file("in.txt", "a\n")
    for conf, words in (
        ("taskd.executor.memroy=1g", ['"taskd.executor.memroy"', "Did you mean taskd.executor.memory?"]),
        ("spark.speculation=true", ["spark.speculation", "not built yet"]),
        ("spark.dynamicAllocation.enabled=true", ["dynamicAllocation.enabled", "not built yet"]),
        ("taskd.task.maxFailures=0", "0 is not between"),
        ("taskd.executor.memory=much", '"much" is not a size'),
        ("nonsense", "is not key=value"),
    ):
        t.fails(3, words, "copy", "in.txt", "out", conf=[conf])
        t.no_output("out")
    t.fails(3, "maxFailures", "copy", "in.txt", "out", env={"TASKD_TASK_MAX_FAILURES": "x"})


def case_keys_that_are_accepted(t):
    t.file("in.txt", "a\n")
    t.file("my.conf", "spark.serializer  org.apache.spark.serializer.KryoSerializer\nspark.shuffle.spill true\n")
    t.ok("copy", "in.txt", "out", conf=["spark.speculation=false", "spark.executor.memory=64m", "my.own.key=1"],
         opts=["--properties-file", "my.conf", "--name", "a name"])
    assert t.rows("out") == [b"a"]


def case_masters(t):
    t.file("in.txt", "a\n")
    for master in ("local[0]", "local[x]", "local[-1]", "nonsense", "local[", ""):
        t.fails(3, "master", "copy", "in.txt", "out", master=master)
    for master in ("spark://", "taskd://h:x", "local-cluster[2,1]", "yarn", "k8s://x"):
        r = t.run("copy", "in.txt", "out", master=master)
        assert r.status == 3 and master in r.err, r
    for i, master in enumerate(("local", "local[1]", "local[3]", "local[*]")):
        t.ok("copy", "in.txt", "out%d" % i, master=master)


def case_usage(t):
    t.fails(2, "nosuch", "copy", "in.txt", "out", opts=["--nosuch"])
    t.fails(2, "usage: copy INPUT OUTPUT", "copy", "in.txt")
    t.fails(2, "usage: copy INPUT OUTPUT", "copy")
    r = t.ok("copy", opts=["--help"])
    assert "--executor-memory" in r.out, r
    for what in ("--help", "--version"):
        with open("/dev/full", "w") as full:
            p = subprocess.run(t.command("copy", opts=[what]), env=t.environment(), stdout=full, stderr=subprocess.PIPE, text=True)
        assert p.returncode == 1 and p.stderr == "taskd-submit: writing to standard output: No space left on device\n", p


def case_dry_run(t):
    t.file("in.txt", "a\n")
    r = t.ok("copy", "in.txt", "out", opts=["--dry-run"])
    assert not os.path.exists(t.path("out")), r
    t.fails(4, "is not a module", t.file("x.so", "text"), "in.txt", "out", opts=["--dry-run"])


def case_summary(t):
    t.file("in.txt", "a b\nc\n")
    keys = ("app_id state exit_code wall_s cpu_s input_bytes input_records output_records shuffle_write_bytes spill_bytes "
            "peak_memory_bytes splits tasks attempts failed_attempts accumulators").split()
    for i, m in enumerate(MASTERS):
        s = t.ok("wordcount", "in.txt", "out%d" % i, master=m).summary
        assert not [k for k in keys if k not in s], s
        assert (s["state"], s["exit_code"], s["input_bytes"], s["input_records"], s["output_records"], s["splits"]) == \
            ("SUCCEEDED", 0, 6, 2, 3, 1), s
        assert s["failed_attempts"] == 0 and s["attempts"] == s["tasks"] >= 2 and s["accumulators"] == {}, s
        assert 0 < s["wall_s"] < 60 and 0 < s["cpu_s"] < 60 and s["peak_memory_bytes"] > 100000, s
        s = t.fails(1, "POISON", "bad", "segv", "-", t.file("p", "POISON\n"), "bad%d" % i, master=m,
                    conf=["taskd.task.maxFailures=3"]).summary
        assert (s["state"], s["exit_code"], s["attempts"], s["failed_attempts"]) == ("FAILED", 1, 3, 3), s
        assert s["accumulators"].get("lines", 0) == 0, "a failed attempt counted: %s" % s
    t.file("in2.txt", "a\n")
    r = t.run("copy", "in2.txt", "last", opts=["--summary", "/proc/nowhere/s.json"])
    assert r.status != 0 and "/proc/nowhere/s.json" in r.err, r


def case_progress(t):
    t.file("in.txt", "a b\nc\n" * 1000)
    r = t.ok("wordcount", "in.txt", "out1", opts=["--progress", "none"])
    assert r.err == "", r
    r = t.ok("wordcount", "in.txt", "out2", opts=["--progress", "json"])
    lines = [json.loads(line) for line in r.err.splitlines()]
    for x in lines:
        assert x["role"] == "driver" and x["host"] and x["app"] == r.summary["app_id"], x
        assert {"ts", "level", "event", "message"} < set(x), x
    assert [x["event"] for x in lines].count("app_start") == 1, lines
    r = t.ok("wordcount", "in.txt", "out3", opts=["--verbose"])
    assert "wordcount" in r.err, r


def case_job_status(t):
    t.file("in.txt", "a\n")
    t.fails(1, "", "bad", "job-3", "-", "in.txt", "out")
    t.fails(2, "", "bad", "job-2", "-", "in.txt", "out")
    t.fails(1, ["signal 11", "job() at bad.c:"], "bad", "job-segv", "-", "in.txt", "out")
    t.fails(1, "exit(0)", "bad", "job-exit", "-", "in.txt", "out")
    t.no_output("out")
