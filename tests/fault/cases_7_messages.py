"""What processes say to each other comes twice, late, in the wrong order or not at all: every kind of item of
lib/proto/control.proto, between real processes (checks C22, C2).  relay.c stands between them."""
import collections
import glob
import os
import random
import signal
import subprocess
import time

import e2e
from cluster import LONG, SEED, FaultCase, Ticks, below, pause, processes

HOWS = ("twice", "late", "swapped", "dropped")
# What may end a job that is about to begin: who can't greet the master is told so.
TOLD = {"hello": ("greeted twice", "can't be reached"), "app_hello": ("one link is for one application",),
        "cancel": ("cancelled",)}
# What the end of the output has overtaken is not printed: streams keep their order, and nobody counts the pieces.
CANT_BE = {("output", "swapped")}


class Relay:
    """Between a cluster and its master; see relay.c."""

    def __init__(self, case):
        self.case = case
        self.cluster = case.cluster(workers=0, apart=True)
        self.p = subprocess.Popen([PROGRAM, self.cluster.url.split("://")[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True, bufsize=1)
        self.cluster.url = "taskd://" + self.p.stdout.readline().strip()
        case.to_close.append(self)
        self.cluster.workers = [None, None]
        for i in range(2):
            self.cluster.start_worker(i)

    def order(self, kind, how, skip=0):
        """Gives whether the order before this one was done."""
        self.p.stdin.write("%s %s %d\n" % (kind, how, skip))
        done = False
        while True:
            line = self.p.stdout.readline().strip()
            assert line, "the relay ended"
            if line == "ok":
                return done
            done = True

    def close(self):
        self.p.stdin.close()
        assert self.p.wait(5) == 0, "the relay ended with %d" % self.p.returncode


PROGRAM = os.path.join(e2e.BUILD, "tests/fault/relay")


def kinds():
    try:
        return subprocess.run([PROGRAM, "--kinds"], capture_output=True, text=True, check=True).stdout.split()
    except FileNotFoundError:  # not built
        return []


class World:
    """A cluster behind a relay, and the jobs that make it talk."""

    def __init__(self, t):
        self.t = t
        self.relay = Relay(t)
        self.c = self.relay.cluster
        self.text = t.text(4 << 20)
        t.reference("table", ROUNDS, self.text)

        self.told = ()

    def out(self):
        self.t.runs += 1
        return "out-%d" % self.t.runs

    def finish(self, job, out):
        status = job.wait(60)
        if status and self.told and any(words in job.text() for words in self.told):
            return
        assert status == 0, "exit %s: %s" % (status, job.text()[-3000:])
        self.t.check(out, job.text(), "table", ROUNDS, self.text)

    def start(self, out, **kw):
        return self.c.job("work", "table", ROUNDS, self.text, self.t.path(out),
                          conf=["taskd.task.maxFailures=100", "taskd.stage.maxConsecutiveAttempts=100"], **kw)

    def plain(self):
        """A job in client mode; a runner and an executor of it are killed."""
        out = self.out()
        job = self.start(out)
        kills = 0
        for _ in Ticks(self.t.random, 0.05, 0.2, job.running):
            victims = self.c.executors()[0 if kills == 1 else 1]
            if victims and kills < 2:
                try:
                    os.kill(self.t.random.choice(victims), signal.SIGKILL)
                    kills += 1
                except ProcessLookupError:
                    pass
        self.finish(job, out)

    def late_workers(self):
        """A job that waits, as there are no workers yet."""
        for w in self.c.workers:
            w.kill()
        out = self.out()
        job = self.start(out)
        for _ in Ticks(self.t.random, 0.3, 0.3, job.running):
            break
        for i in range(2):
            self.c.start_worker(i)
        self.finish(job, out)

    def rotten(self):
        """A map output vanishes while it is needed: what has gone is made again."""
        out, seen = self.out(), set()
        job = self.start(out)
        while job.running() and len(seen) < 3:
            for path in glob.glob(self.t.path("worker-*") + "/app-*/blocks/s*-p*-a*"):
                if path not in seen:
                    seen.add(path)
                    try:
                        os.truncate(path, 10)
                    except FileNotFoundError:
                        pass
            pause(0.01)
        self.finish(job, out)

    def submission(self):
        """A job in cluster mode."""
        out = self.out()
        self.finish(self.start(out, mode="cluster"), out)

    def no_runners(self):
        """What makes an executor's runners is killed: that executor can't go on, and says so."""
        out, kills = self.out(), 0
        job = self.start(out)
        while job.running():
            executors, runners = self.c.executors()
            table = processes()
            for pid in [p for e in executors for p in below(e, table) if table[p][1].endswith("--zygote")]:
                if runners and not kills:
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
            pause(0.01)
        assert kills, job.text()
        self.finish(job, out)

    def stranger(self):
        """Somebody shows the token of another cluster; then others work as before."""
        token = self.t.file("other.token", "00" * 32)
        os.chmod(token, 0o600)
        status, said = self.verb("list", "--conf", "taskd.authenticate.secretFile=" + token)
        assert status == 6 and "wrong token" in said or status == 5 and "connection" in said, "exit %d: %s" % (status, said)
        out = self.out()
        self.finish(self.start(out), out)

    def verb(self, *words):
        p = subprocess.run([os.path.join(e2e.BUILD, "taskd-client"), *words, "--master", self.c.url], cwd=self.t.dir,
                           env=self.t.environment(), capture_output=True, text=True, timeout=30)
        return p.returncode, p.stdout + p.stderr

    def verbs(self):
        """Somebody looks, and kills a job; who asks may be told that the connection was lost, and asks again; and what the
        driver was asked is lost with its link."""
        out = self.out()
        job = self.c.job("work", "table", 100 * ROUNDS, self.text, self.t.path(out))
        app = None
        for _ in Ticks(self.t.random, 0.05, 0.05, job.running):
            status, said = self.verb("list")
            assert status == 0 or (status == 5 and "lost" in said), "exit %d: %s" % (status, said)
            app = next((x.split()[0] for x in said.splitlines() if " RUNNING " in x), None)
            if app and self.c.executors()[1]:
                break
        assert app, job.text()
        status, said = self.verb("kill", app, "--job", "1")
        if status == 5:
            status, said = self.verb("kill", app, "--job", "1")
        assert status == 0 or "runs now" in said, "exit %d: %s" % (status, said)
        began = time.monotonic()
        while job.running() and time.monotonic() < began + 20:
            pause(0.05)
            if self.told and time.monotonic() > began + 3:
                self.verb("kill", app, "--job", "1")
        assert job.wait(1) != 0, job.text()
        self.t.no_output(out)


ROUNDS = 1500
SCENES = {World.rotten: "remove", World.late_workers: "worker_hello worker_welcome waiting hello granted start_executor app_welcome want",
          World.submission: "blob_put blob_state submit_driver submitted follow output start_driver child_output follow_child",
          World.no_runners: "executor_failed", World.stranger: "refused",
          World.verbs: "status_request status kill_request answer cancel kill"}
SCENE = {k: f for f, names in SCENES.items() for k in names.split()}
OFTEN = ("launch", "done")
AFTERWARDS = ("stop_child", "forget_app", "app_end")


def times(hows):
    return ["%s %d times" % (h, n) if n > 1 else h for h, n in collections.Counter(hows).items()]


def message(kind):
    """The four harms of one kind of item."""
    def case(t: FaultCase):
        w, good, absent, bad = World(t), [], [], []
        for how in HOWS * (25 if LONG and kind == "done" else 1):  # C2: a hundred successes that nobody heard in time
            if (kind, how) in CANT_BE:
                continue
            skip = t.random.randrange(12) if kind in OFTEN else 0
            w.relay.order(kind, how, skip)
            w.told = TOLD.get(kind, ())
            try:
                SCENE.get(kind, World.plain)(w)
                pause(1 if kind in AFTERWARDS else 0)
                (good if w.relay.order("hello", "pass") else absent).append(how)
            except AssertionError as e:
                bad.append("%s %s %d: %s" % (kind, how, skip, str(e)[-1500:]))
                t.close()
                w = World(t)
        print("  %s: right when it came %s%s" % (kind, ", ".join(times(good)), "; was not said: " + ", ".join(absent) if absent else ""))
        assert not bad, "\n".join(bad)
        assert not absent
    return case


# C22: `tests/fault/run.py 'message_*'` with FAULT_LONG=1 has all of them; without, these and some that the seed chooses.
ALWAYS = ["done", "launch"]
SAID = kinds()
for name in SAID if LONG else ALWAYS + random.Random(SEED).sample(SAID, min(2, len(SAID))):
    globals()["case_message_" + name] = message(name)
