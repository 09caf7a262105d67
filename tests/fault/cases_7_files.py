"""What goes along with a job (--files): once to each host, and on from where it was when the link broke."""
import glob
import hashlib
import os

import e2e
from cluster import FaultCase, pause
from netns import Net
from proxy import Proxy

SIZE = 24 << 20


def big(t, name):
    data = t.random.randbytes(SIZE)
    t.file(name, data)
    return hashlib.sha256(data).hexdigest()


def arrived(t, worker, digest):
    """Its bytes in that worker's cache."""
    with open(t.path("%s/blobs/%s" % (worker, digest)), "rb") as f:
        return hashlib.sha256(f.read()).hexdigest() == digest


def case_files_travel_once_a_host(t: FaultCase):
    if not Net.possible():
        raise e2e.Skip("network namespaces need root and iproute2")
    with Net(["a", "b"]) as net:
        text = t.text(1 << 20)
        digest = big(t, "big.bin")
        c = t.cluster(net=net, tls=t.certificates(net), cores=2)

        def received(host):
            with open("/sys/class/net/%s/statistics/tx_bytes" % net.cable(host)) as f:
                return int(f.read())
        for n, mode in enumerate(("client", "cluster", "client")):
            before = {h: received(h) for h in net.hosts}
            rounds = 0 if n else 200000  # the first lasts until both hosts have all of it, and have looked at it
            job = c.job("work", "distinct", rounds, text, t.path("out-%d" % n), mode=mode, conf=["taskd.task.maxFailures=100"],
                        opts=["--files", t.path("big.bin"), "--executor-cores", "1", "--executor-memory", "128m",
                              "--driver-memory", "64m"])
            assert job.wait() == 0, job.text()
            for h in net.hosts:
                got = received(h) - before[h]
                if n == 0:
                    assert SIZE <= got < SIZE * 1.25, "%s got %d bytes for a file of %d" % (h, got, SIZE)
                else:
                    assert got < SIZE // 4, "%s has the file and got %d bytes" % (h, got)
        assert arrived(t, "worker-0", digest) and arrived(t, "worker-1", digest)
        t.close()


def case_submission_is_cut(t: FaultCase):
    """The link to the master is cut while the client puts a file there: each time it goes on, and nothing goes twice."""
    text = t.text(1 << 20)
    c = t.cluster(workers=1, cores=2)
    proxy = Proxy((c.host, c.port))
    try:
        digest = big(t, "big.bin")
        c.url = "taskd://" + proxy.address()
        job = c.job("work", "distinct", 0, text, t.path("out"), mode="cluster",
                    opts=["--files", t.path("big.bin"), "--executor-memory", "128m", "--driver-memory", "64m"])
        cuts = 0
        for part in (SIZE // 4, SIZE // 2, SIZE * 3 // 4):
            while job.running() and proxy.passed["up"] < part:
                pause(0.002)
            if job.running() and not glob.glob(t.path("master/blobs/" + digest)):
                proxy.cut()
                cuts += 1
        assert job.wait() == 0, job.text()
        up = proxy.passed["up"]
    finally:
        proxy.close()
    assert cuts, "it was too quick to be cut"
    back = job.text().count("the master is back")
    assert back == cuts or t.config.tsan and back > cuts, job.text()  # too slow to answer in time, it may be given up, too
    assert SIZE <= up < SIZE + (cuts + 1) * (4 << 20), "%d bytes went up for a file of %d, %d cuts" % (up, SIZE, cuts)
    assert arrived(t, "worker-0", digest)
    t.check("out", job.text(), "distinct", 0, text)
    print("  %d cuts, %.2f times its size went up" % (cuts, up / SIZE))
