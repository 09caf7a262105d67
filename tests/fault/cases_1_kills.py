"""Processes that die while jobs run: results and accumulators stay what they are (checks C1, C2, C3, C8, C10, C11, C13)."""
import collections
import glob
import os
import re
import shutil
import signal
import time

from cluster import LONG, SEED, FaultCase, Ticks, below, pause, processes

SHAPES = ("words", "two", "sort", "distinct", "table")
ROUNDS = 3000


def kill_one(t, c, kind):
    """Gives whether there was one."""
    if kind == "worker":
        i = t.random.randrange(len(c.workers))
        c.workers[i].kill()
        c.start_worker(i)
        return True
    pids = c.executors()[0 if kind == "executor" else 1]
    if not pids:
        return False
    pid = t.random.choice(pids)
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        same = pid in c.executors()[0 if kind == "executor" else 1]  # and not somebody who got its number meanwhile
        if same:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        return same
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)


def soak(t, weights, jobs, kills, least, most):
    """At least so many jobs, one after the other, until so many processes were killed, one every least to most seconds.
    Prints how many jobs gave the same bytes as local[1], and by how much the accumulators were wrong in all."""
    c = t.cluster()
    text = t.text(t.few(8 << 20))
    alone = {}
    for shape in SHAPES:
        t.reference(shape, ROUNDS, text)
        alone[shape], _ = timed(t, c, shape, text, "alone-" + shape)
    fds = c.master.fds()
    killed, done, identical, error, slow, bad = collections.Counter(), 0, 0, 0, [], []
    while done < jobs or killed.total() < kills:
        shape, out = SHAPES[done % len(SHAPES)], "out-%d" % done

        def disturb(job):
            for _ in Ticks(t.random, least, most, job.running):
                kind = t.random.choices(list(weights), weights.values())[0]
                killed[kind] += kill_one(t, c, kind)
        seconds, job = timed(t, c, shape, text, out, disturb)
        slow.append(seconds / alone[shape])
        done += 1
        rows, sums = t.reference(shape, ROUNDS, text)
        same = job.p.returncode == 0 and t.whole(out) == rows
        identical += same
        error += sum(abs(a - b) for a, b in zip(t.sums(job.text()), t.sums(sums))) if same else 0
        if not same:
            bad.append("seed %d, %s: exit %d: %s" % (SEED, out, job.p.returncode, job.text()[-1500:]))
        shutil.rmtree(t.path(out), ignore_errors=True)
    ended = time.monotonic()
    print("  seed %d: %d of %d jobs identical, %d killed (%s), accumulator error %d, slowed down %.1f times (median)" % (
        SEED, identical, done, killed.total(), ", ".join("%s %d" % k for k in sorted(killed.items())), error,
        sorted(slow)[done // 2]))
    assert identical == done and error == 0, "\n".join(bad)
    for _ in Ticks(t.random, 0.1, 0.1, lambda: c.master.fds() > fds):  # nothing of all these is left there
        assert time.monotonic() < ended + 5, "the master has %d descriptors, and had %d before" % (c.master.fds(), fds)


def timed(t, c, shape, text, out, disturb=None, rounds=ROUNDS):
    began = time.monotonic()
    job = c.job("work", shape, rounds, text, t.path(out),
                conf=["taskd.task.maxFailures=1000", "taskd.stage.maxConsecutiveAttempts=1000"])
    if disturb:
        disturb(job)
    job.wait()
    t.reap()
    return time.monotonic() - began, job


def case_soak(t: FaultCase):
    """C1, C3: runners, executors, and workers with their files."""
    soak(t, {"runner": 6, "executor": 2, "worker": 1}, 200 if LONG else 5, 1000 if LONG else 25, 0.1, 0.5)


def case_soak_of_runners(t: FaultCase):
    """C1, C3: as many of them as can be."""
    slower = 3 if t.config.hostile else 1  # an attempt must have time to end
    soak(t, {"runner": 1}, 3, 25, 0.05 * slower, 0.3 * slower)


def case_worker_killed_leaves_nothing(t: FaultCase):
    """C11: what a worker started does not outlive it; the job goes on elsewhere."""
    c = t.cluster()
    text = t.text(8 << 20)
    t.reference("words", 6000, text)
    alone, _ = timed(t, c, "words", text, "alone", rounds=6000)
    began = time.monotonic()
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
    assert time.monotonic() - began < 2 * alone + 8, "%.1f s, and %.1f s with two workers" % (time.monotonic() - began, alone)
    t.check("out", job.text(), "words", 6000, text)


def case_executor_hangs_and_returns(t: FaultCase):
    """C10, C2: a stopped executor is given up within 5 s; when it comes back, before or after, nothing counts twice."""
    c = t.cluster()
    text = t.text(8 << 20)
    t.reference("two", 6000, text)
    slowest = 0
    for n in range(20 if LONG else 1):
        job = c.job("work", "two", 6000, text, t.path("out-%d" % n))
        for _ in Ticks(t.random, 0.1, 0.5, job.running):
            if len(c.executors()[0]) == 2:
                break
        assert job.running(), job.text()
        victim = t.random.choice(c.executors()[0])
        os.kill(victim, signal.SIGSTOP)
        began = time.monotonic()
        goes_on = began + (t.random.uniform(0.5, 5) if n % 2 else 30)
        while job.running() and victim in c.executors()[0] and time.monotonic() < goes_on:
            pause(0.02)
        took = time.monotonic() - began
        if n % 2 == 0 and job.running():
            assert took < 5, "a frozen executor was not given up in %.1f s" % took
            slowest = max(slowest, took)
        try:
            os.kill(victim, signal.SIGCONT)
        except ProcessLookupError:
            pass
        assert job.wait() == 0, job.text()
        t.check("out-%d" % n, job.text(), "two", 6000, text)
    print("  %d frozen, given up after %.1f s at most" % (n + 1, slowest))


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


def case_driver_killed_while_it_writes(t: FaultCase):
    """C13: parts are there, others are being written, in both modes: 5 s later nothing of the output is, nor an executor."""
    c = t.cluster(cores=2)
    t.file("in.txt", "".join("line %d\n" % i for i in range(40000)))
    slowest, killed = 0, 0
    for n in range(40 if LONG else 6):
        out, mode = t.path("out-%d" % n), ("client", "cluster")[n % 2]
        job = c.job("fickle", t.path("in.txt"), out, 60000, mode=mode)
        want = t.random.randrange(1, 8)
        while len(glob.glob(out + "/part-*")) < want:
            assert job.running(), job.text()
            pause(0.005)
        os.kill(job.p.pid if mode == "client" else c.drivers()[0], signal.SIGKILL)
        began = time.monotonic()
        while os.path.exists(out) or any(c.executors()):
            if os.path.exists(out + "/_SUCCESS"):  # it was quicker, and all of it is there
                assert len(glob.glob(out + "/part-*")) == 16
                break
            assert time.monotonic() < began + 5, "5 s after its driver: %s, %s" % (c.executors(), glob.glob(out + "/*"))
            pause(0.02)
        else:
            killed += 1
            slowest = max(slowest, time.monotonic() - began)
            assert job.wait() != 0
            assert not os.path.exists(out), "somebody still wrote: %s" % glob.glob(out + "/**")
        job.wait()
    print("  %d drivers killed, everything was gone after %.2f s at most" % (killed, slowest))
    assert killed


def case_driver_supervised(t: FaultCase):
    """C13: a driver that was submitted with --supervise is started again and finishes."""
    c = t.cluster(cores=2)
    text = t.text(8 << 20)
    t.reference("words", 10000, text)
    job = c.job("work", "words", 10000, text, t.path("out"), mode="cluster", opts=["--supervise"])
    killed = False
    for _ in Ticks(t.random, 0.1, 0.1, job.running):
        drivers = c.drivers()
        if not killed and drivers and len(c.executors()[0]) >= 1:
            os.kill(drivers[0], signal.SIGKILL)
            killed = True
            break
    assert killed, job.text()
    assert job.wait() == 0, job.text()
    t.check("out", job.text(), "words", 10000, text)


def driver_of(t, c, job, ready):
    """pid of the driver of the only submission and its worker, once ready() is true."""
    found = []
    for _ in Ticks(t.random, 0.002, 0.002, job.running):
        if not found:
            table = processes()
            found = [(p, w) for w in c.workers for p in below(w.pid, table) if table[p][1].startswith("taskd driver")]
        elif ready():
            return found[0]
    raise AssertionError("the job ended before it could be harmed: " + job.text())


def parts(t, out):
    return [n for n in os.listdir(t.path(out)) if n.startswith("part-")] if os.path.exists(t.path(out)) else []


def finished_by(t, out):
    """The number of the try, from 0, that has finished an output."""
    with open(t.path(out) + "/_SUCCESS") as f:
        return int(re.fullmatch(r"driver-\d+-\d+\.(\d+)\n", f.read()).group(1))


def cut_off(t, comes_back):
    """A supervised driver and its worker are frozen while parts are put, so nobody removes them.  Another try makes the
    output anew; when the frozen ones come back, they change nothing.  comes_back(job): the moment."""
    c = t.cluster(cores=2, memory="2g")
    text = t.text(8 << 20)
    t.reference("words", 3000, text)
    job = c.job("work", "words", 3000, text, t.path("out"), mode="cluster", opts=["--supervise"],
                conf=["taskd.default.parallelism=2000"])  # so that putting them takes a while
    driver, worker = driver_of(t, c, job, lambda: parts(t, "out"))
    frozen = [worker.pid, driver, *below(driver)]
    for pid in (worker.pid, driver):
        os.kill(pid, signal.SIGSTOP)
    assert job.running() and parts(t, "out") and not os.path.exists(t.path("out") + "/_SUCCESS"), job.text()
    comes_back(job)
    for pid in (driver, worker.pid):
        os.kill(pid, signal.SIGCONT)
    end = time.monotonic() + 20
    while any(p in processes() for p in frozen[1:]):
        assert time.monotonic() < end, "20 s after it came back the old driver is there: %s" % job.text()
        pause(0.05)
    assert job.wait() == 0, job.text()
    t.check("out", job.text(), "words", 3000, text)
    assert finished_by(t, "out") >= 1
    left = [n for n in os.listdir(t.dir) if n.startswith("out") and n != "out"]
    assert not left, left


def case_driver_cut_off_comes_back_late(t: FaultCase):
    """C10, C13: when the other try has finished."""
    cut_off(t, lambda job: job.wait())


def case_driver_cut_off_comes_back_meanwhile(t: FaultCase):
    """C10, C13: when the other try works on the same output."""
    def other_try_writes(job):
        for _ in Ticks(t.random, 0.02, 0.02, job.running):
            there = os.listdir(t.path("out")) if os.path.exists(t.path("out")) else []
            if any(n.startswith("_temporary.") and not n.endswith(".0") for n in there):
                return
        raise AssertionError("no other try has begun: " + job.text())
    cut_off(t, other_try_writes)


def case_driver_killed_in_second_action(t: FaultCase):
    """C13: what the first action of the earlier try has finished is not in the way of the next try."""
    c = t.cluster(cores=2)
    text = t.text(2 << 20)
    t.reference("both", 6000, text)
    job = c.job("work", "both", 6000, text, t.path("out"), mode="cluster", opts=["--supervise"])
    driver, _ = driver_of(t, c, job, lambda: os.path.exists(t.path("out")))
    assert finished_by(t, "out-first") == 0
    os.kill(driver, signal.SIGKILL)
    assert job.wait() == 0, job.text()
    t.check("out", job.text(), "both", 6000, text)
    assert t.whole("out-first") == t.whole("reference-0-first")
    assert finished_by(t, "out") == finished_by(t, "out-first") >= 1


def case_failed_job_leaves_nothing(t: FaultCase):
    """What a job that failed has written is removed while others of its tasks still begin to write."""
    c = t.cluster(cores=2)
    t.file("in.txt", "".join("POISON\n" if i % 500 == 250 else "line %d\n" % i for i in range(3000)))
    for n in range(100 if LONG else 25):
        out = "out-%d" % n
        job = c.job("bad", "fail", "-", t.path("in.txt"), t.path(out), 400, conf=["taskd.task.maxFailures=1"])
        assert job.wait() == 1 and "on purpose" in job.text(), job.text()
        t.no_output(out)


def case_cancelled(t: FaultCase):
    """C8: what is killed is gone within 2 s: loops, loops that hear no signal, jobs of 10,000 tasks; as an application,
    a job, a stage or an attempt."""
    c = t.cluster()
    t.file("loop.txt", "POISON\n" * 4)
    t.file("many.txt", "".join("line %d\n" % i for i in range(60000)))
    programs = (("bad", "loop", "-", t.path("loop.txt")), ("bad", "signals", "-", t.path("loop.txt")),
                ("work", "words", 20000, t.path("many.txt")))
    parts = ((), ("--job", "1"), ("--stage", "0"), ("--task", "0.0.0"))
    slowest, kills = 0.0, 100 if LONG else 12
    for n in range(kills):
        program, part = programs[n % 3], parts[n % 4]
        args = [*program, t.path("out-%d" % n)] + (["4"] if program[0] == "bad" else [])
        job = c.job(*args, conf=["taskd.files.maxPartitionBytes=64"] if program[0] == "work" else ())
        app = None
        while not (app and c.executors()[1]):
            assert job.running(), job.text()
            app = t.application(c)
        pause(t.random.uniform(0.1, 0.4))
        before = c.executors()
        began = time.monotonic()
        status, said = t.verb(c, "kill", app, *part)
        assert status == 0 or part[:1] == ("--task",) and program[0] == "work", said
        if part[:1] == ("--task",):
            if program[0] == "bad":  # the runner of the attempt is gone; the task runs again
                while set(before[1]) <= set(c.executors()[1]):
                    assert time.monotonic() < began + 10, "the runner of an attempt that was killed is there after 10 s"
                    pause(0.005)
                slowest = max(slowest, time.monotonic() - began)
            began = time.monotonic()
            t.verb(c, "kill", app)
        while any(c.executors()):
            assert time.monotonic() < began + 10, "10 s after `kill %s` there is %s" % (" ".join(part), c.executors())
            pause(0.005)
        slowest = max(slowest, time.monotonic() - began)
        assert job.wait() != 0, job.text()
    print("  %d killed, the slowest was gone after %.2f s" % (kills, slowest))
    assert slowest <= (4 if t.config.sanitized else 2), slowest
