"""Files that rot, vanish or find no room (checks C15, C17)."""
import glob
import os
import subprocess

import e2e
from cluster import LONG, FaultCase, Ticks


def map_outputs(c, t):
    return glob.glob(t.path("worker-*") + "/app-*/blocks/s*-p*-a*")


def harm_blocks(t, how, repeat):
    """A job with two shuffles; how(path) is done to map outputs as soon as they are there."""
    c = t.cluster()
    text = t.text(8 << 20)
    t.reference("two", 3000, text)
    harmed = 0
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
        assert job.wait() == 0, job.text()
        t.check("out-%d" % n, job.text(), "two", 3000, text)
    assert harmed, "nothing was harmed: the jobs were too quick"
    print("  %d files harmed" % harmed)


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


def case_disk_full(t: FaultCase):
    """Workers with 16 MB: the job fails in a sentence that names the folder, and leaves nothing."""
    if os.geteuid() != 0:
        raise e2e.Skip("mounting a tmpfs needs root")
    for i in range(2):
        d = t.path("worker-%d" % i)
        os.makedirs(d)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "none", d], check=True)
    try:
        c = t.cluster(memory="64m")
        text = t.text(64 << 20)
        job = c.job("work", "sort", 1, text, t.path("out"), opts=["--executor-memory", "32m"])
        status = job.wait()
        assert status == 1, job.text()
        assert "No space left on device" in job.text() and "worker-" in job.text(), job.text()
        t.no_output("out")
        t.close()
    finally:
        for i in range(2):
            subprocess.run(["umount", "-l", t.path("worker-%d" % i)], check=False)
