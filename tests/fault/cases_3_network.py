"""Networks that stop, go one way, or are slow (check C20): hosts are network namespaces."""
import os

import e2e
from cluster import FaultCase, Ticks
from netns import Net


def hosts(names):
    if not Net.possible():
        raise e2e.Skip("network namespaces need root and iproute2")
    return Net(names)


def partitioned(t, harm, mend, seconds, shape="two"):
    """harm() once both executors work; mend() after so many seconds (None: never)."""
    with hosts(["a", "b"]) as net:
        c = t.cluster(net=net, tls=t.certificates(net))
        text = t.text(8 << 20)
        t.reference(shape, 6000, text)
        job = c.job("work", shape, 6000, text, t.path("out"))
        for _ in Ticks(t.random, 0.05, 0.05, job.running):
            if len(c.executors()[0]) == 2:
                break
        assert job.running(), job.text()
        harm(net)
        if seconds is not None:
            for _ in Ticks(t.random, seconds, seconds, job.running):
                break
        mend(net)
        assert job.wait() == 0, job.text()
        t.check("out", job.text(), shape, 6000, text)
        t.close()


def case_host_gone_3_s(t: FaultCase):
    partitioned(t, lambda n: n.down("b"), lambda n: n.up("b"), 3)


def case_host_gone_for_ever(t: FaultCase):
    partitioned(t, lambda n: n.down("b"), lambda n: None, None)


def case_one_way(t: FaultCase):
    """b's packets to the driver's side go nowhere."""
    partitioned(t, lambda n: n.silence("b"), lambda n: n.heal("b"), 8)


def case_hosts_apart(t: FaultCase):
    """The two workers don't see each other for a while: fetches fail, the driver sees both."""
    partitioned(t, lambda n: (n.blackhole("a", "b"), n.blackhole("b", "a")), lambda n: n.heal("a") or n.heal("b"), 6)


def case_flapping(t: FaultCase):
    with hosts(["a", "b"]) as net:
        c = t.cluster(net=net, tls=t.certificates(net))
        text = t.text(8 << 20)
        t.reference("words", 6000, text)
        job = c.job("work", "words", 6000, text, t.path("out"))
        for n in Ticks(t.random, 0.3, 1.5, job.running):
            net.down("b") if n % 2 == 0 else net.up("b")
        net.up("b")
        assert job.wait() == 0, job.text()
        t.check("out", job.text(), "words", 6000, text)
        t.close()
