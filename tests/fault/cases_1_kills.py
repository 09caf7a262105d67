"""Processes that die while jobs run: results and accumulators stay what they are (checks C1, C3, C6, C8, C10, C11, C13)."""
import os
import signal
import time

from cluster import LONG, SEED, FaultCase, Ticks, below, pause, processes

SHAPES = ("words", "two", "sort", "distinct")


def soak(t, c, kinds, jobs, least, most, rounds, size):
    """jobs one after the other, something killed every least to most seconds; returns how many were killed."""
    text = t.text(size)
    for shape in SHAPES[:jobs]:
        t.reference(shape, rounds, text)
    kills = {k: 0 for k in kinds}
    for n in range(jobs):
        shape, out = SHAPES[n % len(SHAPES)], "out-%d" % n
        job = c.job("work", shape, rounds, text, t.path(out), mode="client",
                                    conf=["taskd.task.maxFailures=1000", "taskd.stage.maxConsecutiveAttempts=1000"])
        for _ in Ticks(t.random, least, most, job.running):
            kind = t.random.choice(kinds)
            executors, runners = c.executors()
            if kind == "worker":
                i = t.random.randrange(len(c.workers))
                c.workers[i].kill()
                c.start_worker(i)
            else:
                pids = executors if kind == "executor" else runners
                if not pids:
                    continue
                try:
                    os.kill(t.random.choice(pids), signal.SIGKILL)
                except ProcessLookupError:
                    continue
            kills[kind] += 1
        status = job.wait()
        assert status == 0, "seed %d, %s, after %s: exit %d: %s" % (SEED, shape, kills, status, job.text()[-3000:])
        t.check(out, job.text(), shape, rounds, text)
    print("  %d jobs, killed: %s" % (jobs, kills))
    return sum(kills.values())


def case_kill_runners(t: FaultCase):
    """C1, C3: runners."""
    soak(t, t.cluster(), ["runner"], 200 if LONG else 4, 0.05, 0.25, 3000, 8 << 20)


def case_kill_executors(t: FaultCase):
    """C1, C3: whole executors; their files are still there."""
    soak(t, t.cluster(), ["executor"], 200 if LONG else 4, 0.3, 1.0, 3000, 8 << 20)


def case_kill_everything(t: FaultCase):
    """C1, C3: runners, executors, and workers with their files."""
    soak(t, t.cluster(), ["runner", "runner", "executor", "worker"], 200 if LONG else 4, 0.3, 1.2, 4000, 8 << 20)


def case_worker_killed_leaves_nothing(t: FaultCase):
    """C11: what a worker started does not outlive it; the job goes on elsewhere."""
    c = t.cluster()
    text = t.text(8 << 20)
    t.reference("words", 6000, text)
    job = c.job("work", "words", 6000, text, t.path("out"))
    for _ in Ticks(t.random, 0.1, 0.1, job.running):
        if len(c.executors()[0]) == 2:
            break
    assert job.running(), job.text()
    mine = below(c.workers[0].pid)
    assert mine
    c.workers[0].kill()
    end = time.monotonic() + 3
    while time.monotonic() < end and any(p in processes() for p in mine):
        pause(0.05)
    left = [processes()[p] for p in mine if p in processes()]
    assert not left, "3 s after their worker: %s" % left
    assert job.wait() == 0, job.text()
    t.check("out", job.text(), "words", 6000, text)


def case_executor_hangs_and_returns(t: FaultCase):
    """C10: a stopped executor is given up within 5 s; when it comes back nobody listens to it."""
    c = t.cluster()
    text = t.text(8 << 20)
    t.reference("two", 6000, text)
    job = c.job("work", "two", 6000, text, t.path("out"))
    for _ in Ticks(t.random, 0.1, 0.1, job.running):
        if len(c.executors()[0]) == 2:
            break
    assert job.running(), job.text()
    victim = t.random.choice(c.executors()[0])
    os.kill(victim, signal.SIGSTOP)
    began = time.monotonic()
    while job.running() and victim in c.executors()[0] and time.monotonic() < began + 10:
        pause(0.05)
    assert not job.running() or time.monotonic() - began < 6, "a frozen executor was not given up in %.1f s" % (
        time.monotonic() - began)
    try:
        os.kill(victim, signal.SIGCONT)
    except ProcessLookupError:
        pass
    assert job.wait() == 0, job.text()
    t.check("out", job.text(), "two", 6000, text)


def case_driver_killed(t: FaultCase):
    """C13: with its driver everything of an application is gone within 5 s, and nothing looks like a result."""
    c = t.cluster()
    text = t.text(8 << 20)
    job = c.job("work", "words", 20000, text, t.path("out"))
    for _ in Ticks(t.random, 0.1, 0.1, job.running):
        if len(c.executors()[0]) == 2:
            break
    assert job.running(), job.text()
    os.kill(job.p.pid, signal.SIGKILL)
    job.wait()
    end = time.monotonic() + 5
    while time.monotonic() < end and (c.executors()[0] or c.executors()[1]):
        pause(0.05)
    assert c.executors() == ([], []), "5 s after its driver: %s" % (c.executors(),)
    assert not os.path.exists(t.path("out") + "/_SUCCESS")
    assert not [n for n in os.listdir(t.path("out")) if n.startswith("part-")] if os.path.exists(t.path("out")) else True
    again = c.job("work", "words", 1, text, t.path("out2"))
    assert again.wait(20) == 0, again.text()


def case_driver_supervised(t: FaultCase):
    """C13: a driver that was submitted with --supervise is started again and finishes."""
    c = t.cluster(cores=2)
    text = t.text(8 << 20)
    t.reference("words", 10000, text)
    job = c.job("work", "words", 10000, text, t.path("out"), mode="cluster", opts=["--supervise"])
    killed = False
    for _ in Ticks(t.random, 0.1, 0.1, job.running):
        drivers = [p for p, (_, line, _) in processes().items() if line.startswith("taskd driver")]
        if not killed and drivers and len(c.executors()[0]) >= 1:
            os.kill(drivers[0], signal.SIGKILL)
            killed = True
            break
    assert killed, job.text()
    assert job.wait() == 0, job.text()
    t.check("out", job.text(), "words", 10000, text)


def case_failed_job_leaves_nothing(t: FaultCase):
    """What a job that failed has written is removed while others of its tasks still begin to write."""
    c = t.cluster(cores=2)
    t.file("in.txt", "".join("POISON\n" if i % 500 == 250 else "line %d\n" % i for i in range(3000)))
    for n in range(100 if LONG else 25):
        out = "out-%d" % n
        job = c.job("bad", "fail", "-", t.path("in.txt"), t.path(out), 400, conf=["taskd.task.maxFailures=1"])
        assert job.wait() == 1 and "on purpose" in job.text(), job.text()
        t.no_output(out)
