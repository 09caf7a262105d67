#!/usr/bin/env python3
"""What people type on a cluster: doc/cluster.md command by command, on a real master and two real workers.

One cluster for all cases; each case is one function and leaves nothing running.
"""
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

BUILD = os.path.abspath(os.environ.get("top_builddir", "build"))
PATIENCE_S = 60


def sanitized_with():
    with open(os.path.join(BUILD, "Makefile")) as f:
        return [line for line in f if line.startswith("SAN_CFLAGS") and "-fsanitize" in line]


def sanitized():
    return bool(sanitized_with())


BAD_C = """
#include <taskd.h>
static bool
bad(td_task *t, td_str line)
{
    td_fail(t, "no luck");
    return false;
}
TD_FILTER(bad, str);
static int
job(td_job *j, int argc, char **argv)
{
    return td_save_text(td_filter(td_text_file(j, argv[1]), bad), argv[2]);
}
TD_PLUGIN("bad", "1", job);
"""


def hostile():
    with open(os.path.join(BUILD, "config.h")) as f:
        return "#define TASKD_HOSTILE 1" in f.read()


class Cluster:
    """A master and two workers, in a home of their own."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="taskd-verbs-")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("TASKD_", "XDG_"))}
        self.env["HOME"] = self.dir
        self.daemons = {}
        self.port = "0"
        self.master = None
        self.start_master()
        for i in (1, 2):
            self.start_worker(i)
        with open(self.path("in.txt"), "w") as f:
            for i in range(20000):
                f.write("the cat %d sat %d\n" % (i % 97, i % 1009))

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self, name, *args):
        log = open(self.path(name + ".log"), "ab")
        self.daemons[name] = subprocess.Popen([os.path.join(BUILD, "taskd")] + list(args), stdout=log, stderr=log,
                                              stdin=subprocess.DEVNULL, env=self.env, cwd=self.dir)
        log.close()

    def start_master(self):
        fifo = self.path("url")
        if os.path.exists(fifo):
            os.unlink(fifo)
        os.mkfifo(fifo)
        self.start("master", "master", "--host", "127.0.0.1", "--port", self.port, "--dir", self.path("m"),
                   "--url-file", fifo)
        with open(fifo) as f:
            self.master = f.read().strip()
        self.port = self.master.rsplit(":", 1)[1]
        self.env["TASKD_MASTER"] = self.master

    def start_worker(self, i):
        self.start("worker%d" % i, "worker", self.master, "--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--dir",
                   self.path("w%d" % i))

    def popen(self, *args, stderr=subprocess.PIPE):
        return subprocess.Popen([os.path.join(BUILD, args[0])] + [str(a) for a in args[1:]], stdout=subprocess.PIPE,
                                stderr=stderr, stdin=subprocess.DEVNULL, env=self.env, cwd=self.dir, text=True)

    def run(self, *args, status=0):
        p = self.popen(*args)
        out, err = p.communicate(timeout=PATIENCE_S)
        assert p.returncode == status, (args, p.returncode, out, err)
        return out, err

    def submit(self, *args, status=0):
        return self.run("taskd-submit", "--executor-memory", "256m", "--driver-memory", "64m", *args, status=status)

    def module(self, name):
        return os.path.join(BUILD, "examples", name + ".so")

    def rows(self, out):
        rows = []
        for name in sorted(os.listdir(self.path(out))):
            if name.startswith("part-"):
                with open(os.path.join(self.path(out), name)) as f:
                    rows += f.readlines()
        return sorted(rows)

    def list(self):
        return json.loads(self.run("taskd", "list", "--json")[0])

    def stop(self):
        for p in self.daemons.values():
            p.send_signal(signal.SIGTERM)
        for p in self.daemons.values():
            p.wait(timeout=PATIENCE_S)
        shutil.rmtree(self.dir)


def until(what, test):
    """Asks again until it is so; each question is a process, so this is no busy loop."""
    timer = threading.Event()
    for _ in range(300):
        value = test()
        if value:
            return value
        timer.wait(0.05)
    raise AssertionError("never: " + what)


def case_the_workers_come(c):
    until("two workers", lambda: len([w for w in c.list()["workers"] if w["alive"]]) == 2)
    out, _ = c.run("taskd", "list")
    assert out.startswith("WORKER ") and out.count("127.0.0.1") == 2 and "0/1" in out, out
    worker = c.list()["workers"][0]["worker"]
    out, _ = c.run("taskd", "status", worker)
    assert "cores        0 of 1 in use" in out and "glibc" in out, out


def case_both_modes_give_the_same(c):
    c.submit("--master", "local[2]", c.module("wordcount"), "in.txt", "local")
    c.submit(c.module("wordcount"), "in.txt", "client")
    _, err = c.submit("--deploy-mode", "cluster", c.module("wordcount"), c.path("in.txt"), c.path("cluster"))
    assert err.startswith("taskd: submitted as driver-"), err
    assert c.rows("local") == c.rows("client") == c.rows("cluster")
    assert len(c.rows("local")) > 1000


def case_the_exit_status_is_the_jobs(c):
    for mode in ("client", "cluster"):
        _, err = c.submit("--deploy-mode", mode, c.module("wordcount"), status=2)
        assert "usage: wordcount INPUT OUTPUT" in err, err
        _, err = c.submit("--deploy-mode", mode, c.module("wordcount"), c.path("in.txt"), c.path("client"), status=6)
        assert "exists already" in err, err
        _, err = c.submit("--deploy-mode", mode, c.module("wordcount"), c.path("none"), c.path("none.out"), status=1)
        assert "none" in err and not os.path.exists(c.path("none.out")), err


def case_detach_wait_status_logs(c):
    out, err = c.submit("--deploy-mode", "cluster", "--detach", "--name", "a b", "-v", c.module("wordcount"),
                        c.path("in.txt"), c.path("detached"))
    driver = out.strip()
    assert driver.startswith("driver-") and not err, (out, err)
    out, err = c.run("taskd", "wait", driver)
    assert not out and not err, (out, err)
    d = json.loads(c.run("taskd", "status", "--json", driver)[0])
    assert d["state"] == "FINISHED" and d["exit_status"] == 0 and d["name"] == "a b" and d["tries"] == 1, d
    a = json.loads(c.run("taskd", "status", "--json", d["app_id"])[0])
    assert a["state"] == "FINISHED" and a["driver"] == driver, a
    out, _ = c.run("taskd-submit", "--status", driver)
    assert "FINISHED" in out, out
    out, err = c.run("taskd", "logs", driver)
    assert "application a b" in err, (out, err)
    assert c.run("taskd", "logs", "-f", d["app_id"]) == (out, err)
    c.run("taskd", "wait", d["app_id"])
    assert c.rows("detached") == c.rows("local")


def slow(c, out, *options, **kw):
    """A job that lasts: very many small tasks."""
    if not os.path.exists(c.path("big.txt")):
        words = 150000 if hostile() else 600000 if sanitized() else 3000000  # hostile: each row is a spill of its own
        with open(c.path("big.txt"), "w") as f:
            f.write("".join("word%d " % (i % 50021) + ("\n" if i % 9 == 0 else "") for i in range(words)))
    return c.popen("taskd-submit", "--executor-memory", "256m", "--driver-memory", "64m", "--deploy-mode", "cluster",
                   "--conf", "taskd.files.maxPartitionBytes=8k", *options, c.module("wordcount"), c.path("big.txt"),
                   c.path(out), **kw)


def running(c):
    return [d for d in c.list()["drivers"] if d["state"] == "RUNNING" and d["app_id"]]


def case_interrupt_ends_it(c):
    p = slow(c, "interrupted")
    driver = until("a running driver", lambda: running(c))[0]["driver"]
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=PATIENCE_S)
    assert p.returncode == 130, (p.returncode, err)
    assert "interrupted: ending " + driver in err and driver + " was killed" in err, err
    until("free cores", lambda: not sum(w["cores_used"] for w in c.list()["workers"]))
    until("no output", lambda: not os.path.exists(c.path("interrupted")))


def case_hang_up_leaves_it(c):
    p = slow(c, "left")
    driver = until("a running driver", lambda: running(c))[0]["driver"]
    p.send_signal(signal.SIGHUP)
    _, err = p.communicate(timeout=PATIENCE_S)
    assert p.returncode == 129 and driver + " goes on" in err, (p.returncode, err)
    assert running(c)
    out, _ = c.run("taskd", "kill", driver)
    assert out.strip(), out
    c.run("taskd", "wait", driver, status=json.loads(c.run("taskd", "status", "--json", driver)[0])["exit_status"] or 1)
    out, _ = c.run("taskd-submit", "--kill", driver)
    assert "over already" in out, out


def driver_pid(c, driver):
    for pid in os.listdir("/proc"):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                words = f.read().replace(b"\0", b" ")
            if words.startswith(b"taskd driver") and driver.encode() in words:
                return int(pid)
        except (OSError, ValueError):
            pass
    return None


def case_a_supervised_driver_starts_again(c):
    p = slow(c, "supervised", "--supervise")
    driver = until("a running driver", lambda: running(c))[0]["driver"]
    os.kill(until("its process", lambda: driver_pid(c, driver)), signal.SIGKILL)
    out, err = p.communicate(timeout=2 * PATIENCE_S)
    assert p.returncode == 0, (p.returncode, out, err)
    d = json.loads(c.run("taskd", "status", "--json", driver)[0])
    assert d["supervise"] and d["tries"] == 2, d
    assert os.path.exists(c.path("supervised/_SUCCESS"))
    p = slow(c, "alone")
    driver = until("a running driver", lambda: running(c))[0]["driver"]
    os.kill(until("its process", lambda: driver_pid(c, driver)), signal.SIGKILL)
    out, err = p.communicate(timeout=PATIENCE_S)
    assert p.returncode == 137 and driver + " " in err, (p.returncode, out, err)


def case_kill_a_part(c):
    """One attempt: it runs again.  A job: the action fails, and with it this application."""
    p = slow(c, "parts")
    app = until("a running driver", lambda: running(c))[0]["app_id"]
    out, _ = c.run("taskd", "kill", "--task", "0.0.0", app)
    assert "its driver was asked" in out, out
    assert p.poll() is None
    began = time.monotonic()
    c.run("taskd", "kill", "--job", "1", app)
    _, err = p.communicate(timeout=PATIENCE_S)
    assert p.returncode == 130 and "cancelled" in err, (p.returncode, err)
    assert time.monotonic() - began < 4, time.monotonic() - began
    _, err = c.run("taskd", "kill", "--stage", "0", app, status=1)
    assert app in err, err
    _, err = c.run("taskd", "kill", "--task", "0.x", app, status=2)
    assert "3.17.0" in err, err


def case_kill_of_a_client_mode_application_is_told(c):
    """Its submitter ends at once, and says who ended it."""
    for progress in ("plain", "json"):
        p = slow(c, "client-killed", "--deploy-mode", "client", "--progress", progress)
        app = until("it runs", lambda: [a for a in c.list()["applications"] if a["state"] == "RUNNING"])[0]["app_id"]
        out, _ = c.run("taskd", "kill", app)
        assert out == app + " is killed\n", out
        _, err = p.communicate(timeout=PATIENCE_S)
        assert p.returncode == 130 and err.count("killed by request") >= 1, (p.returncode, err)
        assert progress == "json" or "error: " in err, err
        assert not os.path.exists(c.path("client-killed"))


def case_logs_are_json_lines(c):
    """What a driver tells and what the daemons log: one object a line, and one id through all of them."""
    with open(c.path("bad.c"), "w") as f:
        f.write(BAD_C)
    cc = [os.path.join(os.environ.get("top_srcdir", "."), "sdk/taskd-cc"), c.path("bad.c"), "-o", c.path("bad.so")]
    subprocess.run(cc + (["--asan"] if "address" in "".join(sanitized_with()) else []), check=True)
    _, err = c.submit("--progress", "json", c.path("bad.so"), "in.txt", c.path("bad.out"), status=1)
    lines = [json.loads(x) for x in err.splitlines()]
    apps = {x["app"] for x in lines}
    assert len(apps) == 1, apps
    app = apps.pop()
    assert app in [a["app_id"] for a in c.list()["applications"]], app
    failed = [x for x in lines if x["event"] == "task_failed"]
    assert len(failed) >= 4 and {x["attempt"] for x in failed} >= {0, 1, 2, 3}, failed
    for x in failed:
        assert x["stage"] == 0 and x["partition"] == 0 and "no luck" in x["err"] and x["level"] == "warn", x
    told = set()
    for name in c.daemons:
        with open(c.path(name + ".log")) as f:
            for line in f.read().splitlines():
                if not line.startswith("taskd://"):  # the master's first word, on standard output
                    x = json.loads(line)
                    assert {"ts", "level", "role", "host", "event", "message"} <= set(x), x
                    assert x["role"] == name.rstrip("12"), x
                    if x.get("state") == "FINISHED":
                        assert "err" not in x, x
                    if x.get("app") == app:
                        told.add(x["role"])
    assert told == {"master", "worker"}, told


def case_a_terminal_sees_the_work(c):
    """In cluster mode, too: one line that is written over, and gone in the end."""
    at, terminal = pty.openpty()
    p = slow(c, "watched", stderr=terminal)
    os.close(terminal)
    text = b""
    while True:
        try:
            piece = os.read(at, 65536)
        except OSError:  # the other side is closed
            break
        text += piece
    os.close(at)
    assert p.wait(PATIENCE_S) == 0, text
    lines = text.split(b"\r\x1b[K")
    assert len([x for x in lines if b" tasks, " in x and b"MiB/s" in x]) >= 2, text
    assert lines[-1] == b"" and b"\n[" not in text, text[-300:]


def case_the_master_comes_back(c):
    p = slow(c, "survived")
    until("a running driver", lambda: running(c))
    c.daemons["master"].kill()
    c.daemons["master"].wait()
    c.start_master()
    _, err = p.communicate(timeout=2 * PATIENCE_S)
    assert p.returncode == 0, (p.returncode, err)
    assert "the master is away" in err and "the master is back" in err, err
    assert os.path.exists(c.path("survived/_SUCCESS"))


def case_what_is_not_there(c):
    for verb in ("status", "wait", "logs", "kill"):
        _, err = c.run("taskd", verb, "driver-nothing", status=1)
        assert "driver-nothing" in err and "taskd list" in err, err
    _, err = c.run("taskd", "list", "--master", "taskd://127.0.0.1:1", status=5)
    assert "can't be reached" in err, err
    with open(c.path("token"), "w") as f:
        f.write("f" * 64)
    os.chmod(c.path("token"), 0o600)
    _, err = c.run("taskd", "list", "-c", "taskd.authenticate.secretFile=" + c.path("token"), status=6)
    assert "refused" in err and "f" * 16 not in err, err
    os.chmod(c.path("token"), 0o644)
    _, err = c.run("taskd", "list", "-c", "taskd.authenticate.secretFile=" + c.path("token"), status=3)
    assert "may be read by others" in err, err


def case_local_cluster(c):
    c.run("taskd-submit", "--master", "local-cluster[2,1,256]", "--executor-memory", "256m", c.module("wordcount"), "in.txt",
          "local-cluster")
    assert c.rows("local-cluster") == c.rows("local")


def main():
    cases = [(n[5:], f) for n, f in globals().items() if n.startswith("case_")]
    wanted = sys.argv[1:]
    bad = 0
    c = Cluster()
    try:
        for name, case in cases:
            if wanted and name not in wanted:
                continue
            try:
                case(c)
                print("ok   " + name, flush=True)
            except Exception as e:  # the next case may tell more
                bad += 1
                print("FAIL %s: %r" % (name, e), flush=True)
        if bad:
            for name in sorted(c.daemons):
                with open(c.path(name + ".log")) as f:
                    print("---- %s\n%s" % (name, "".join(f.readlines()[-15:])))
    finally:
        c.stop()
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
