"""The master of a standalone cluster: it dies and comes back, shares cores, restarts drivers, says why one waits."""
import os
import select
import signal
import subprocess
import time

from run import BUILD


class Cluster:
    """A master and workers on loopback, in the case's folder."""

    def __init__(self, t, workers=2, cores=2, options=()):
        self.t, self.options, self.url, self.workers = t, list(options), None, []
        self.start_master()
        for i in range(workers):
            self.start_worker("w%d" % i, cores)

    def daemon(self, *words):
        with open(self.t.path("daemons.log"), "ab") as log:
            return subprocess.Popen([os.path.join(BUILD, words[0]), *words[1:]], cwd=self.t.dir,
                                    env=self.t.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start_master(self):
        fifo = self.t.path("url")
        if os.path.exists(fifo):
            os.unlink(fifo)
        os.mkfifo(fifo)
        port = self.url.rsplit(":", 1)[1] if self.url else "0"
        self.master = self.daemon("taskd-master", "--port", port, "--dir", self.t.path("master"), "--url-file", fifo,
                                  *self.options)
        with open(fifo) as f:
            self.url = f.read().strip()

    def kill_master(self):
        self.master.kill()
        self.master.wait()

    def start_worker(self, name, cores):
        self.workers.append(self.daemon("taskd-worker", "--dir", self.t.path(name), "--cores", str(cores), "--memory",
                                        "4g", self.url))
        return self.workers[-1]

    def submit(self, *args, **kw):
        return self.t.start(self.t.command(*args, master=self.url, **kw))

    def list(self):
        p = subprocess.run([os.path.join(BUILD, "taskd-client"), "list", "--master", self.url], cwd=self.t.dir,
                           env=self.t.environment(), capture_output=True, text=True, timeout=20)
        assert p.returncode == 0, p.stderr
        return p.stdout

    def log(self):
        with open(self.t.path("daemons.log"), errors="replace") as f:
            return f.read()

    def wait_log(self, words, times=1, within=15):
        """Waits until the daemons' log has said these words so often."""
        end = time.monotonic() + within
        while self.log().count(words) < times:
            assert time.monotonic() < end, "nobody says %r: %s" % (words, self.log()[-3000:])
            select.select([], [], [], 0.02)

    def end(self):
        for p in [self.master] + self.workers:
            if p.poll() is None:
                p.send_signal(signal.SIGCONT)
                p.terminate()
        for p in [self.master] + self.workers:
            p.wait(10)


def finish(p, status=0, within=60):
    out, err = p.communicate(timeout=within)
    assert p.returncode == status, "exit %s\n%s\n%s" % (p.returncode, out.decode(), err.decode())
    return err.decode()


def words(t, name="in.txt", lines=200000):
    return t.file(name, "".join("%d quick brown fox %d\n" % (i % 997, i) for i in range(t.few(lines))))


def reference(t, text):
    t.ok("wordcount", text, t.path("want"))
    return sorted(t.rows("want"))


def killed_under(t, mode):
    text = words(t)
    want = reference(t, text)
    c = Cluster(t)
    job = c.submit("wordcount", text, t.path("out"), conf=["taskd.files.maxPartitionBytes=32k"],
                   opts=["--deploy-mode", mode, "--executor-cores", "1"])
    c.wait_log('"event":"executor_granted"')
    kills = 0
    while kills < 3 and job.poll() is None:
        c.kill_master()
        c.start_master()
        kills += 1
        c.wait_log("registered with the master", times=2 * (kills + 1))
    finish(job)
    assert kills >= 1
    assert sorted(t.rows("out")) == want
    began = time.monotonic()
    finish(c.submit("wordcount", text, t.path("after")))
    assert time.monotonic() - began < 5 or t.config.asan
    assert sorted(t.rows("after")) == want
    c.end()


def case_master_killed_client(t):
    """A running job does not need the master; afterwards a new one works."""
    killed_under(t, "client")


def case_master_killed_cluster(t):
    """Nor does one whose driver runs on a worker, and who waits for it hears of its end."""
    killed_under(t, "cluster")


def case_master_killed_while_empty(t):
    """What was accepted when there were no workers runs when there are some."""
    text = words(t, lines=2000)
    want = reference(t, text)
    c = Cluster(t, workers=0)
    job = c.submit("wordcount", text, t.path("out"), opts=["--deploy-mode", "cluster"])
    c.wait_log('"state":"SUBMITTED"')
    c.kill_master()
    c.start_master()
    c.start_worker("late", 2)
    finish(job)
    assert sorted(t.rows("out")) == want
    c.end()


def case_master_says_why(t):
    text = words(t, lines=2000)
    c = Cluster(t, workers=0)
    job = c.submit("wordcount", text, t.path("out"))
    c.wait_log("waits: there are no workers")
    assert "there are no workers" in c.list()
    c.start_worker("small", 1)
    finish(job)
    job = c.submit("wordcount", text, t.path("out2"), opts=["--executor-cores", "4", "--executor-memory", "8g"])
    c.wait_log("asked 4 cores/8 GiB; the largest worker has 1 core/4 GiB on host 127.0.0.1")
    job.terminate()
    job.communicate(timeout=10)
    c.wait_log('"event":"app_over"', times=2)
    c.end()


def case_master_two_masters(t):
    """A folder has one master."""
    c = Cluster(t, workers=0)
    second = c.daemon("taskd-master", "--port", "0", "--dir", t.path("master"))
    assert second.wait(20) == 6
    assert "another master has" in c.log()
    c.end()
