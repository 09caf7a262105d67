"""The master dies, and comes back or does not (check C12)."""
import signal
import time

from cluster import FaultCase, Ticks


def busy(t, c, job, executors):
    for _ in Ticks(t.random, 0.05, 0.05, job.running):
        if len(c.executors()[0]) >= executors:
            return
    raise AssertionError("the job ended before it had %d executors: %s" % (executors, job.text()))


def ended_well(job, within=120):
    status = job.wait(within)
    assert status == 0, "exit %d: %s" % (status, job.text())


def new_job(t, c, name, within=5):
    text = t.text(100000, "small.txt")
    began = time.monotonic()
    job = c.job("work", "words", 1, text, t.path(name))
    ended_well(job, 20)
    assert time.monotonic() - began <= within, "a new job took %.1f s" % (time.monotonic() - began)
    t.check(name, job.text(), "words", 1, text)


def case_sanity(t: FaultCase):
    c = t.cluster()
    new_job(t, c, "one")
    new_job(t, c, "two")


def case_master_killed_while_idle(t: FaultCase):
    c = t.cluster()
    new_job(t, c, "one")
    c.master.kill()
    c.start_master()
    new_job(t, c, "two")


def case_master_killed_while_a_job_runs(t: FaultCase):
    """The job does not notice; after the restart a new one works."""
    c = t.cluster()
    text = t.text(8 << 20)
    t.reference("two", 6000, text)
    job = c.job("work", "two", 6000, text, t.path("out"))
    busy(t, c, job, 2)
    before = sorted(c.executors()[0])
    c.master.kill()
    c.start_master()
    assert job.running(), job.text()
    assert sorted(c.executors()[0]) == before, "executors changed with the master"
    ended_well(job)
    t.check("out", job.text(), "two", 6000, text)
    new_job(t, c, "after")


def case_master_stays_away(t: FaultCase):
    """A running job needs no master."""
    c = t.cluster()
    text = t.text(8 << 20)
    t.reference("words", 4000, text)
    job = c.job("work", "words", 4000, text, t.path("out"))
    busy(t, c, job, 2)
    c.master.kill()
    ended_well(job)
    t.check("out", job.text(), "words", 4000, text)
    c.start_master()
    new_job(t, c, "after")


def case_master_killed_under_a_submission(t: FaultCase):
    """Cluster mode: what was accepted is run, and the one who waits for it hears of its end."""
    c = t.cluster(cores=2)
    text = t.text(4 << 20)
    t.reference("words", 4000, text)
    job = c.job("work", "words", 4000, text, t.path("out"), mode="cluster")
    busy(t, c, job, 1)
    c.master.kill()
    c.start_master()
    ended_well(job)
    t.check("out", job.text(), "words", 4000, text)


def case_master_restarts_again_and_again(t: FaultCase):
    c = t.cluster()
    text = t.text(8 << 20)
    t.reference("words", 20000, text)
    job = c.job("work", "words", 20000, text, t.path("out"))
    busy(t, c, job, 2)
    n = 0
    for n in Ticks(t.random, 0.2, 1.0, lambda: job.running() and n < 9):
        c.master.kill()
        c.start_master()
    assert n >= 1
    ended_well(job)
    t.check("out", job.text(), "words", 20000, text)
    new_job(t, c, "after")


def case_whole_cluster_killed(t: FaultCase):
    """The master and all workers at once, and all come back: the driver is still there, and gets new executors."""
    c = t.cluster()
    text = t.text(8 << 20)
    t.reference("two", 6000, text)
    job = c.job("work", "two", 6000, text, t.path("out"))
    busy(t, c, job, 2)
    for d in [c.master, *c.workers]:
        d.kill()
    c.start_master()
    for i in range(2):
        c.start_worker(i)
    ended_well(job)
    t.check("out", job.text(), "two", 6000, text)
    new_job(t, c, "after")


def case_master_frozen(t: FaultCase):
    c = t.cluster()
    text = t.text(4 << 20)
    t.reference("words", 4000, text)
    job = c.job("work", "words", 4000, text, t.path("out"))
    busy(t, c, job, 2)
    c.master.signal(signal.SIGSTOP)
    ended_well(job)
    c.master.signal(signal.SIGCONT)
    t.check("out", job.text(), "words", 4000, text)
    new_job(t, c, "after", within=10)
