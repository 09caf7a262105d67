"""Files that rot, vanish, find no room or come out otherwise the second time (checks C4, C15, C17)."""
import contextlib
import glob
import json
import os
import shutil
import subprocess
import time

import e2e
from cluster import LONG, FaultCase, Ticks, pause


def map_outputs(c, t):
    return glob.glob(t.path("worker-*") + "/app-*/blocks/s*-p*-a*")


def harm_blocks(t, how, repeat):
    """A job with two shuffles; how(path) is done to map outputs as soon as they are there."""
    c = t.cluster()
    text = t.text(8 << 20)
    t.reference("two", 3000, text)
    harmed, right, bad = 0, 0, []
    for n in range(repeat):
        job = c.job("work", "two", 3000, text, t.path("out-%d" % n),
                                    conf=["taskd.stage.maxConsecutiveAttempts=1000"])
        seen, left = set(), 6
        for _ in Ticks(t.random, 0.02, 0.1, lambda: left and job.running()):
            new = [p for p in map_outputs(c, t) if p not in seen]
            if not new:
                continue
            seen.update(new)
            try:
                victim = t.random.choice(new)
                if os.path.getsize(victim) > 200:
                    how(victim)
                    left -= 1
                    harmed += 1
            except FileNotFoundError:
                pass
        try:
            assert job.wait() == 0, job.text()
            t.check("out-%d" % n, job.text(), "two", 3000, text)
            right += 1
        except AssertionError as e:
            bad.append(str(e)[-1500:])
    print("  %d of %d jobs right, %d files harmed" % (right, repeat, harmed))
    assert harmed, "nothing was harmed: the jobs were too quick"
    assert not bad, "\n".join(bad)


def case_map_output_bit_flipped(t: FaultCase):
    def flip(path):
        size = os.path.getsize(path)
        fd = os.open(path, os.O_RDWR)
        at = t.random.randrange(size)
        byte = os.pread(fd, 1, at)
        os.pwrite(fd, bytes([byte[0] ^ (1 << t.random.randrange(8))]), at)
        os.close(fd)
    harm_blocks(t, flip, 50 if LONG else 4)


def case_map_output_cut(t: FaultCase):
    harm_blocks(t, lambda p: os.truncate(p, t.random.randrange(os.path.getsize(p))), 20 if LONG else 2)


def case_map_output_removed(t: FaultCase):
    harm_blocks(t, os.unlink, 20 if LONG else 2)


def used(path):
    s = os.statvfs(path)
    return (s.f_blocks - s.f_bfree) * s.f_frsize


@contextlib.contextmanager
def small_disks(t, size="16m"):
    """The folders of two workers on disks of that size."""
    if os.geteuid() != 0:
        raise e2e.Skip("mounting a tmpfs needs root")
    for i in range(2):
        d = t.path("worker-%d" % i)
        os.makedirs(d)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%s,mode=700" % size, "none", d], check=True)
    try:
        yield
    finally:
        for i in range(2):
            subprocess.run(["umount", "-l", t.path("worker-%d" % i)], check=False)


def case_disk_full_beside_another(t: FaultCase):
    """C17: what does not fit beside a worker's folder goes to its other local one, is served from there to the other host, and
    is removed with the application, also by a worker that was killed and started again."""
    spare = t.path("spare")
    with small_disks(t, "2m" if t.config.hostile else "16m"):
        c = t.cluster(memory="64m", apart=True, local="/proc/nowhere," + spare)  # of which one can't be used
        text = t.text(t.few(64 << 20))
        t.reference("sort", 1, text)
        job = c.job("work", "sort", 1, text, t.path("out"), opts=["--executor-memory", "32m"])
        most, killed = 0, False
        while job.running():
            there = glob.glob(spare + "/worker-*/app-*/s*-p*-a*")
            most = max(most, len(there))
            if len(there) > t.few(100) and not killed:
                c.workers[0].kill()
                c.start_worker(0)
                killed = True
            pause(0.02)
        assert job.wait() == 0, job.text()
        t.check("out", job.text(), "sort", 1, text)
        assert killed and most > t.few(100), most
        end = time.monotonic() + 5
        def left():
            return [f for w in os.listdir(spare) for f in os.listdir(os.path.join(spare, w))]
        while time.monotonic() < end and left():
            pause(0.05)
        assert not left(), "the application's files are still there"
        assert "/proc/nowhere" in c.workers[1].said() and "is not used" in c.workers[1].said()
        t.close()


def case_disk_full(t: FaultCase):
    """C17: workers with 16 MB: the job fails in a sentence that names the folder, and leaves nothing."""
    with small_disks(t):
        c = t.cluster(memory="64m")
        text = t.text(64 << 20)
        job = c.job("work", "sort", 1, text, t.path("out"), opts=["--executor-memory", "32m"])
        status = job.wait()
        assert status == 1, job.text()
        assert "No space left on device" in job.text() and "worker-" in job.text(), job.text()
        t.no_output("out")
        end = time.monotonic() + 5
        while time.monotonic() < end and max(used(t.path("worker-%d" % i)) for i in range(2)) > 1 << 20:
            pause(0.05)
        assert all(used(t.path("worker-%d" % i)) <= 1 << 20 for i in range(2)), "what filled the disks is still there"
        t.close()


def case_fickle_map_runs_again(t: FaultCase):
    """C4: a map whose rows are others each time runs again when half of its readers are done."""
    c = t.cluster(cores=2)
    lines, repeat = 40000, 100 if LONG else 6
    t.file("in.txt", "".join("line %d\n" % i for i in range(lines)))
    ends = {"undisturbed": 0, "rolled back": 0, "aborted": 0}
    for n in range(repeat):
        out = t.path("out-%d" % n)
        summary = t.path("summary-%d" % n)
        job = c.job("fickle", t.path("in.txt"), out, 60000, summary=summary,
                    conf=["taskd.files.maxPartitionBytes=16k"])
        done, want = 0, t.random.randrange(9)
        while job.running() and not map_outputs(c, t):
            pause(0.005)
        while job.running() and done < want:
            pause(0.005)
            done = len(glob.glob(out + "/part-*"))
        i = t.random.randrange(2)
        c.workers[i].kill()
        c.start_worker(i)
        status = job.wait()
        if status == 0:
            rows = t.rows(out)
            assert len(rows) == len(set(rows)) == lines, "%d rows, %d of them different, of %d lines: rows of two attempts are mixed" % (
                len(rows), len(set(rows)), lines)
            with open(summary) as f:
                s = json.load(f)
                ends["rolled back" if s["attempts"] > s["tasks"] else "undisturbed"] += 1
        else:
            assert "stage" in job.text() and "other rows" in job.text(), job.text()
            t.no_output(out)
            ends["aborted"] += 1
        shutil.rmtree(out, ignore_errors=True)
    print("  %d jobs: %s; mixed: 0" % (repeat, ", ".join("%s %d" % e for e in ends.items())))
    assert ends["aborted"] + ends["rolled back"] > 0


def steady(t, where, disturb=lambda c, job, out: None):
    """A job of two stages, 4 MB in 64 kB pieces; gives its summary when its rows are right."""
    c = t.cluster(cores=2)
    lines = 40000
    t.file("in.txt", "".join("%s%098d\n" % ("x" if i > lines // 2 else "0", i) for i in range(lines)))
    out, summary = t.path("out"), t.path("summary")
    job = c.job("fickle", t.path("in.txt"), out, 30000, where, conf=["taskd.files.maxPartitionBytes=64k"], summary=summary)
    disturb(c, job, out)
    assert job.wait() == 0, job.text()
    assert len(set(t.rows("out"))) == len(t.rows("out")) == lines
    with open(summary) as f:
        return json.load(f)


def case_one_output_lost(t: FaultCase):
    """Lineage: of 62 map outputs one vanishes while they are read; that one runs again, and those who missed it."""
    def lose(c, job, out):
        while job.running() and len(glob.glob(out + "/part-*")) < 3:
            pause(0.005)
        os.unlink(t.random.choice(map_outputs(c, t)))
    s = steady(t, "", lose)
    print("  %d tasks, %d attempts" % (s["tasks"], s["attempts"]))
    assert s["tasks"] < s["attempts"] <= s["tasks"] + 1 + 2 * 4, s


def case_bad_worker_is_avoided(t: FaultCase):
    """Whatever runs on one of the workers fails: it is left alone soon, and the job ends well."""
    s = steady(t, "/worker-0/")
    print("  %d tasks, %d attempts failed" % (s["tasks"], s["failed_attempts"]))
    assert 0 < s["failed_attempts"] <= 8, s
