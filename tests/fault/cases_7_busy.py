"""Processes that hardly get a processor are slow, not dead: no false alarm while every core has more to do than it can."""
import json
import os
import signal
import time

import e2e
from cluster import LONG, FaultCase
from netns import Net

ALARMS = ('"worker_lost"', "lost the master", '"peer_refused"')


def case_no_false_death(t: FaultCase):
    """Two hosts, both cores saturated for 10 minutes (short form: 15 s) by programs that only count; jobs meanwhile."""
    if not Net.possible():
        raise e2e.Skip("network namespaces need root and iproute2")
    seconds, text, jobs, tasks = 600 if LONG else 15, t.text(8 << 20), 0, 0
    t.reference("two", 500, text)
    with Net(["a", "b"]) as net:
        c = t.cluster(net=net, tls=t.certificates(net))
        burners = [t.start(["sh", "-c", "while :; do :; done"]) for _ in range(2 * os.cpu_count())]
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                summary = t.path("job-%d.json" % jobs)
                job = c.job("work", "two", 500, text, t.path("out"), summary=summary)
                assert job.wait(300) == 0, job.text()
                t.check("out", job.text(), "two", 500, text)
                os.rename(t.path("out"), t.path("out-%d" % jobs))
                with open(summary) as f:
                    s = json.load(f)
                assert s["failed_attempts"] == 0 and s["attempts"] == s["tasks"] and s["refused_messages"] == 0, s
                jobs, tasks = jobs + 1, tasks + s["tasks"]
            for d in [c.master, *c.workers]:
                said = [line for line in d.said().splitlines() if any(a in line for a in ALARMS)]
                assert not said, "%s: %s" % (d.name, said[:5])
        finally:
            for b in burners:
                b.send_signal(signal.SIGKILL)
                b.communicate()
        print("  %d s with %d burners: %d jobs, %d tasks, none lost" % (seconds, len(burners), jobs, tasks))
        t.close()
