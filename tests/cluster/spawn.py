#!/usr/bin/env python3
"""Driver and executors as processes of their own, over gRPC on loopback, without master and worker (cluster/spawn.h).

The same jobs give the same bytes as in local mode, whatever is killed meanwhile, and nothing is left behind.
"""
import filecmp
import glob
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(os.environ.get("top_builddir", "build"))
DRIVER = os.path.join(BUILD, "tests/cluster/driver")
SUBMIT = os.path.join(BUILD, "taskd-submit")
LEFT_BEHIND_S = 2.0
JOB_S = 120


def processes(mark):
    """Pids whose command line or environment says that they belong to this run."""
    found = []
    for d in glob.glob("/proc/[0-9]*"):
        try:
            with open(d + "/environ", "rb") as f:
                if mark.encode() in f.read():
                    found.append(int(os.path.basename(d)))
        except OSError:
            pass
    return found


def name_of(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return f.read().split(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""


class World:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="taskd-cluster-")
        self.input = os.path.join(self.dir, "in")
        os.mkdir(self.input)
        rnd = random.Random(7)
        with open(os.path.join(self.input, "a.txt"), "w") as f:
            for _ in range(200000):
                f.write("w%d w%d and more words\n" % (rnd.randrange(5000), rnd.randrange(70)))
        self.n = 0

    def module(self, name):
        return os.path.join(BUILD, "examples", name + ".so")

    def job(self, program, master, out, env=None, more=()):
        return [program, "--master", master, "--conf", "taskd.files.maxPartitionBytes=16k", *more,
                self.module("wordcount"), self.input, out]

    def local(self):
        out = os.path.join(self.dir, "local")
        subprocess.run(self.job(SUBMIT, "local[2]", out), check=True, timeout=JOB_S)
        return out

    def start(self, env=None, more=()):
        self.n += 1
        self.work = os.path.join(self.dir, "work%d" % self.n)
        self.out = os.path.join(self.dir, "out%d" % self.n)
        os.mkdir(self.work)
        line = self.job(DRIVER, "taskd://127.0.0.1:7077", self.out, more=[
            "--conf", "taskd.driver.host=127.0.0.1", "--total-executor-cores", "2", "--executor-cores", "1",
            "--progress", "json", "--verbose", *more])
        return subprocess.Popen(line, env=dict(os.environ, TASKD_LIBEXEC=BUILD, SPAWN_DIR=self.work, **(env or {})),
                                stderr=subprocess.PIPE, text=True)

    def executors(self):
        return [p for p in processes("SPAWN_DIR=" + self.work) if name_of(p).startswith("taskd executor")]

    def nothing_left(self):
        end = time.monotonic() + LEFT_BEHIND_S
        while (left := processes("SPAWN_DIR=" + self.work)) and time.monotonic() < end:
            time.sleep(0.02)
        assert not left, "left behind: " + ", ".join("%d %s" % (p, name_of(p)) for p in left)


def same(a, b):
    names = sorted(os.listdir(a))
    assert names == sorted(os.listdir(b)), (names, os.listdir(b))
    match, differ, bad = filecmp.cmpfiles(a, b, names, shallow=False)
    assert not differ and not bad, (differ, bad)


def finish(w, p, expected, text=""):
    text += p.stderr.read()
    assert p.wait(timeout=JOB_S) == 0, text[-3000:]
    same(expected, w.out)
    w.nothing_left()
    return text


def case_same_bytes(w, expected):
    finish(w, w.start(), expected)


def event_of(line):
    """The event that a line tells of; --verbose prints other lines, too."""
    return json.loads(line).get("event") if line.startswith("{") else None


def until_tasks(p, n):
    """Reads events until n tasks have ended."""
    text = ""
    while n:
        line = p.stderr.readline()
        assert line, "the driver ended early:\n" + text[-2000:]
        text += line
        n -= event_of(line) == "task_end"
    return text


def killed(w, expected, env=None):
    """An executor dies in the middle of the maps, another in the middle of the reduces."""
    p = w.start(env)
    text = until_tasks(p, 20)
    os.kill(w.executors()[0], signal.SIGKILL)
    text += until_tasks(p, 150)
    os.kill(w.executors()[-1], signal.SIGKILL)
    text = finish(w, p, expected, text)
    events = [event_of(line) for line in text.splitlines()]
    # the second may have died before it said who it is: then it was never there
    assert events.count("executor_lost") >= 1 and events.count("executor_added") >= 3, text[-3000:]


def case_killed_executors(w, expected):
    killed(w, expected)


def case_other_hosts(w, expected):
    """Each executor says that it is on a host of its own: map outputs go through the bulk server."""
    finish(w, w.start({"SPAWN_REMOTE": "1", "SPAWN_KEEP": "1"}), expected)


def case_killed_on_other_hosts(w, expected):
    killed(w, expected, {"SPAWN_REMOTE": "1", "SPAWN_KEEP": "1"})


def case_results_of_other_hosts(w, expected):
    """collect and take: the driver's main reads results that are elsewhere."""
    said = []
    os.makedirs(os.path.join(w.dir, "a")), os.makedirs(os.path.join(w.dir, "b"))
    module = os.path.join(BUILD, "tests/e2e/modules/actions.so")
    p = subprocess.run([SUBMIT, "--master", "local[2]", module, w.input, os.path.join(w.dir, "a")],
                       stderr=subprocess.PIPE, text=True, timeout=JOB_S)
    said.append([line for line in p.stderr.splitlines() if line.split(" ")[0] in ("collect", "take", "reduce", "seen")])
    w.n += 1
    w.work = os.path.join(w.dir, "work%d" % w.n)
    os.mkdir(w.work)
    q = subprocess.run([DRIVER, "--master", "taskd://127.0.0.1:7077", "--conf", "taskd.driver.host=127.0.0.1",
                        "--total-executor-cores", "2", "--executor-cores", "1", module, w.input,
                        os.path.join(w.dir, "b")], stderr=subprocess.PIPE, text=True, timeout=JOB_S,
                       env=dict(os.environ, TASKD_LIBEXEC=BUILD, SPAWN_DIR=w.work, SPAWN_REMOTE="1", SPAWN_KEEP="1"))
    said.append([line for line in q.stderr.splitlines() if line.split(" ")[0] in ("collect", "take", "reduce", "seen")])
    assert q.returncode == p.returncode and said[0] == said[1] and len(said[0]) > 3, (p.stderr, q.stderr)
    w.nothing_left()


def case_killed_with_kept_files(w, expected):
    killed(w, expected, {"SPAWN_KEEP": "1"})


def case_stopped_then_killed_driver(w, expected):
    p = w.start()
    until_tasks(p, 10)
    p.kill()
    p.wait()
    w.nothing_left()


def case_interrupted(w, expected):
    p = w.start()
    until_tasks(p, 10)
    p.send_signal(signal.SIGINT)
    text = p.stderr.read()
    assert p.wait(timeout=JOB_S) == 130, text[-3000:]
    assert not os.path.exists(w.out), "a job that was interrupted left " + w.out
    w.nothing_left()


def main():
    if "#define TASKD_HOSTILE 1" in open(os.path.join(BUILD, "config.h")).read():
        return 77  # constants so small that this takes minutes; the same paths run in local mode
    w, failed = World(), 0
    try:
        expected = w.local()
        for name, case in sorted(globals().items()):
            if not name.startswith("case_") or (sys.argv[1:] and name[5:] not in sys.argv[1:]):
                continue
            began = time.monotonic()
            try:
                case(w, expected)
                print("ok   %s (%.1f s)" % (name[5:], time.monotonic() - began), flush=True)
            except Exception as e:
                failed += 1
                print("FAIL %s: %s" % (name[5:], e), flush=True)
                for pid in processes("SPAWN_DIR=" + w.work):
                    os.kill(pid, signal.SIGKILL)
    finally:
        shutil.rmtree(w.dir, ignore_errors=True)
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
