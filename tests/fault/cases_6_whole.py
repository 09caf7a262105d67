"""The whole thing at once: two hosts with certificates, four programs, both deploy modes, and both hosts harmed."""
import random

import e2e
from cluster import LONG, FaultCase, Ticks
from netns import Net


def inputs(t):
    r = random.Random(7)
    t.text(t.few(6 << 20))
    with open(t.path("log.txt"), "w") as f:
        for i in range(60000):
            f.write("2026-01-31T12:%02d:%02dZ %d %d %d /p/%d\n" % (i // 60 % 60, i % 60, r.randrange(200),
                                                               r.choice((200, 200, 200, 404, 500, 503)), r.randrange(100000), i))
    with open(t.path("names.txt"), "w") as f:
        for i in range(200):
            f.write("%d,service-%d\n" % (i, i))


JOBS = (
    ("wordcount", lambda t, out: (t.path("in.txt"), out), ()),
    ("logerrors", lambda t, out: (t.path("log.txt"), t.path("names.txt"), out), ()),
    ("work", lambda t, out: ("distinct", 2000, t.path("in.txt"), out), ()),
    ("sort", lambda t, out: (t.path("in.txt"), out), ("--executor-memory", "4m")),
)


def case_two_hosts_harmed_in_both_modes(t: FaultCase):
    if not Net.possible():
        raise e2e.Skip("network namespaces need root and iproute2")
    with Net(["a", "b"]) as net:
        inputs(t)
        want = {}
        for name, args, opts in JOBS:
            t.ok(name, *args(t, t.path("want-" + name)), master="local[1]", opts=opts)
            want[name] = sorted(t.rows("want-" + name))
        c = t.cluster(net=net, tls=t.certificates(net), cores=2)
        harm = {"killed": 0, "cut": 0}
        for n in range(5 if LONG else 1):
            for mode in ("client", "cluster"):
                for name, args, opts in JOBS:
                    out = "%s-%s-%d" % (name, mode, n)
                    job = c.job(name, *args(t, t.path(out)), mode=mode,
                                opts=[*opts, "--supervise"] if mode == "cluster" else opts,
                                conf=["taskd.task.maxFailures=1000", "taskd.stage.maxConsecutiveAttempts=1000"])
                    for k in Ticks(t.random, 0.4, 1.2, job.running):
                        if k % 2:
                            host = t.random.choice("ab")
                            net.down(host)
                            for _ in Ticks(t.random, 0.2, 0.8, job.running):
                                break
                            net.up(host)
                            harm["cut"] += 1
                        elif k < 4:
                            i = t.random.randrange(2)
                            c.workers[i].kill()
                            c.start_worker(i)
                            harm["killed"] += 1
                    assert job.wait() == 0, "%s in %s mode: %s" % (name, mode, job.text()[-3000:])
                    assert sorted(t.rows(out)) == want[name], "%s in %s mode gave other rows" % (name, mode)
        print("  %d jobs, %s" % (len(JOBS) * 2 * (5 if LONG else 1), harm))
        t.close()
