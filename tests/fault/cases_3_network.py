"""Networks that stop, go one way, or are slow (check C20): hosts are network namespaces."""
import os
import subprocess
import time

import e2e
from cluster import LONG, FaultCase, Ticks
from netns import Net

NEW_JOB_S = 5  # within which a new job works after a partition


def hosts(names):
    if not Net.possible():
        raise e2e.Skip("network namespaces need root and iproute2")
    return Net(names)


def start(t, c, shape, rounds, text, out):
    """A job whose two executors work."""
    job = c.job("work", shape, rounds, text, t.path(out))
    for _ in Ticks(t.random, 0.05, 0.05, job.running):
        if len(c.executors()[0]) == 2:
            break
    assert job.running(), job.text()
    return job


def workers(t, c):
    """How many the master has."""
    p = subprocess.run([os.path.join(e2e.BUILD, "taskd-client"), "list", "--master", c.url], cwd=t.dir, capture_output=True,
                       env=t.environment(c.environment(c.net.here)), text=True, timeout=20)
    assert p.returncode == 0, p.stderr
    return p.stdout.count(" ALIVE ")


def partitioned(t, harm, seconds, shape="two"):
    """harm(net) once both executors work; healed after so many seconds (None: never).  The job's bytes are right, and
    NEW_JOB_S after the healing (or, without one, after the job) a new job has worked; with all workers, if it healed."""
    with hosts(["a", "b", "m"]) as net:
        c = t.cluster(net=net, tls=t.certificates(net), master_at="m")
        text, small = t.text(8 << 20), t.text(100000, "small.txt")
        t.reference(shape, 6000, text)
        t.reference("words", 1, small)
        job = start(t, c, shape, 6000, text, "out")
        began = time.monotonic()
        harm(net)
        if seconds is not None:
            for _ in Ticks(t.random, seconds, seconds, lambda: time.monotonic() < began + seconds):
                break
            net.heal()
            healed = time.monotonic()
        assert job.wait() == 0, job.text()
        if seconds is None:
            healed = time.monotonic()
        else:
            for _ in Ticks(t.random, 0.1, 0.1, lambda: workers(t, c) < 2):
                assert time.monotonic() < healed + NEW_JOB_S, "%d s after the healing a worker is not back" % NEW_JOB_S
        t.check("out", job.text(), shape, 6000, text)
        began = time.monotonic()
        job = c.job("work", "words", 1, small, t.path("after"))
        assert job.wait() == 0, job.text()
        took = time.monotonic() - began
        t.check("after", job.text(), "words", 1, small)
        assert took < NEW_JOB_S, "a new job took %.1f s" % took
        net.heal()
        t.close()


PARTITIONS = {
    "executor_driver": lambda net: net.part("b", "here"),
    "worker_master": lambda net: net.part("b", "m"),
    "one_way": lambda net: net.lose("b", "here"),
}


def partition(harm, seconds):
    return lambda t: partitioned(t, harm, seconds)


# C20: nine cases, `tests/fault/run.py 'partition_*'` with FAULT_LONG=1.
for name, cut in PARTITIONS.items():
    for after, heals in (("3_s", 3), ("30_s", 30), ("never", None)):
        if LONG or heals != 30:
            globals()["case_partition_%s_%s" % (name, after)] = partition(cut, heals)


def case_host_gone(t: FaultCase):
    """Its cable is pulled, and put back."""
    partitioned(t, lambda net: net.down("b"), None)


def case_hosts_apart(t: FaultCase):
    """The two workers don't see each other for a while: fetches fail, the driver sees both."""
    partitioned(t, lambda net: net.part("a", "b"), 6)


def case_flapping(t: FaultCase):
    with hosts(["a", "b"]) as net:
        c = t.cluster(net=net, tls=t.certificates(net))
        text = t.text(8 << 20)
        t.reference("words", 6000, text)
        job = start(t, c, "words", 6000, text, "out")
        for n in Ticks(t.random, 0.3, 1.5, job.running):
            net.down("b") if n % 2 == 0 else net.up("b")
        net.up("b")
        assert job.wait() == 0, job.text()
        t.check("out", job.text(), "words", 6000, text)
        t.close()
