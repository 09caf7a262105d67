"""Networks that stop, go one way, or are slow (check C20): hosts are network namespaces."""
import os
import subprocess
import time
import types

import e2e
from cluster import LONG, SEED, FaultCase, Ticks
from netns import Net
from proxy import Proxy

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


HARMS = {
    "slow": lambda p: setattr(p, "delay", 0.02) or setattr(p, "jitter", 0.05),
    "lossy": lambda p: setattr(p, "loss", 0.2),
    "flipping": lambda p: setattr(p, "flip", 1e-3),
    "duplicating": lambda p: setattr(p, "duplicate", 0.2),
    "cutting": lambda p: p.cut(),
    "one way": lambda p: p.stop("up"),
    "dead": lambda p: p.stop(),
}


def case_bad_wire_to_the_master(t: FaultCase):
    """Everybody comes to the master by the proxy: a submission ends right whatever the wire does; TLS sees what is turned
    or said twice, and the link is made again."""
    here = types.SimpleNamespace(here="127.0.0.1", hosts={})
    p = Proxy(("127.0.0.1", 1), seed=SEED)
    t.to_close.append(p)
    c = t.cluster(tls=t.certificates(here), proxy=p)
    text, n, harmed = t.text(2 << 20), 0, []
    t.reference("words", 3000, text)
    for name, harm in HARMS.items():
        before, asking = p.harmed, []
        job = c.job("work", "words", 3000, text, t.path("out-%d" % n), mode="cluster", opts=["--supervise"])
        for k in Ticks(t.random, 0.2, 0.6, job.running):
            harm(p) if k % 3 == 0 else p.heal()
            asking.append(t.start([os.path.join(e2e.BUILD, "taskd-client"), "list", "--master", c.url], c.environment(c.host)))
        p.heal()
        assert job.wait() == 0, "%s: exit %d: %s" % (name, job.p.returncode, job.text())
        t.check("out-%d" % n, job.text(), "words", 3000, text)
        n += 1
        for q in asking:  # there was to be something to harm; what they were told does not matter
            q.communicate(timeout=30)
        harmed.append("%s %d" % (name, p.harmed - before))
    print("  pieces harmed: " + ", ".join(harmed))
    assert p.harmed, "nothing was harmed"
