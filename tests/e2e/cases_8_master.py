"""The master of a standalone cluster: it dies and comes back, shares cores, restarts drivers, says why one waits."""
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import time

from run import BUILD, Skip


class Cluster:
    """A master and workers on loopback, in the case's folder."""

    def __init__(self, t, workers=2, cores=2, options=()):
        self.t, self.options, self.url, self.workers = t, list(options), None, []
        self.daemon_prefix = []
        self.start_master()
        for i in range(workers):
            self.start_worker("w%d" % i, cores)

    def daemon(self, *words):
        with open(self.t.path("daemons.log"), "ab") as log:
            return subprocess.Popen([*self.daemon_prefix, os.path.join(BUILD, words[0]), *words[1:]], cwd=self.t.dir,
                                    env=self.t.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start_master(self):
        """False: it died before it listened."""
        fifo = self.t.path("url")
        if os.path.exists(fifo):
            os.unlink(fifo)
        os.mkfifo(fifo)
        port = self.url.rsplit(":", 1)[1] if self.url else "0"
        self.master = self.daemon("taskd-master", "--port", port, "--dir", self.t.path("master"), "--url-file", fifo,
                                  *self.options)
        fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        line, end = "", time.monotonic() + 20
        while not line.endswith("\n") and self.master.poll() is None:
            assert time.monotonic() < end, self.log()[-3000:]
            select.select([fd], [], [], 0.02)
            try:
                line += os.read(fd, 1000).decode()
            except BlockingIOError:
                pass
        os.close(fd)
        self.url = line.strip() or self.url
        return bool(line)

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
            assert p.wait(10) in (0, -signal.SIGKILL), self.log()[-3000:]
        assert "Sanitizer" not in self.log(), self.log()[-6000:]


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
    c.wait_log("registered with the master", times=2)  # both: the next master is waited for by this count
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
    assert time.monotonic() - began < 5 or t.config.sanitized
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


def hangs(t, c, name, **kw):
    """A job whose tasks never end, and cost nothing."""
    text = t.file("poison.txt", "POISON\n" * 64)
    return c.submit("bad", "stop", "-", text, t.path(name), "16", conf=["taskd.files.maxPartitionBytes=32"], **kw)


def case_master_shares_fairly(t):
    """Who comes late gets half, when it has waited for three seconds."""
    text = words(t, lines=2000)
    c = Cluster(t, workers=2, cores=2)
    first = hangs(t, c, "never", opts=["--executor-cores", "1"])
    c.wait_log('"event":"executor_granted"', times=4)
    second = c.submit("wordcount", text, t.path("out"), opts=["--executor-cores", "1"])
    c.wait_log("all 4 cores are held by")
    finish(second)
    assert first.poll() is None
    gone = [x for x in c.log().splitlines() if '"event":"executor_gone"' in x and "given up for application" in x]
    assert len(gone) == 2, gone
    first.terminate()
    first.communicate(timeout=10)
    c.end()


def case_master_fifo(t):
    text = words(t, lines=2000)
    c = Cluster(t, workers=1, cores=2, options=["--scheduler", "fifo"])
    first = hangs(t, c, "never")
    c.wait_log('"event":"executor_granted"')
    second = c.submit("wordcount", text, t.path("out"))
    c.wait_log("all 2 cores are held by")
    first.terminate()
    first.communicate(timeout=10)
    finish(second)
    assert "given up" not in c.log()
    c.end()


def case_master_driver_killed(t):
    """What a dead driver had is free at once; one that is supervised starts again, the one of a killed submission not."""
    text = words(t, lines=2000)
    c = Cluster(t, workers=2, cores=2)
    job = hangs(t, c, "never")
    c.wait_log('"event":"executor_granted"', times=2)
    c.wait_log("runs as process", times=2)
    job.kill()
    job.wait()
    began = time.monotonic()
    finish(c.submit("wordcount", text, t.path("out")))
    assert time.monotonic() - began < 5 or t.config.sanitized
    c.wait_log('"state":"LOST"')

    job = hangs(t, c, "never2", opts=["--deploy-mode", "cluster", "--supervise"])
    for n in 1, 2:
        c.wait_log("driver 0 runs as process", times=n)
        c.wait_log('"event":"app_registered"', times=2 + n)
        line = [x for x in c.log().splitlines() if "driver 0 runs as process" in x][-1]
        os.kill(int(line.rsplit("process ", 1)[1].split('"')[0]), signal.SIGKILL)
        c.wait_log('"state":"RELAUNCHING"', times=n)
    c.wait_log("driver 0 runs as process", times=3)
    c.wait_log('"event":"app_registered"', times=5)
    name = [x for x in c.log().splitlines() if '"state":"SUBMITTED"' in x][-1].split('"driver":"')[1].split('"')[0]
    p = subprocess.run([os.path.join(BUILD, "taskd"), "kill", "--master", c.url, name], cwd=t.dir,
                       env=t.environment(), capture_output=True, text=True, timeout=20)
    assert p.returncode == 0, p.stderr
    finish(job, status=137)
    c.wait_log('"state":"KILLED"')
    finish(c.submit("wordcount", text, t.path("out2")))
    c.end()


def case_master_worker_lost(t):
    """A worker that is killed, then one that only freezes: the job goes on with what is left."""
    text = words(t)
    want = reference(t, text)
    c = Cluster(t, workers=3, cores=1)
    job = c.submit("wordcount", text, t.path("out"), conf=["taskd.files.maxPartitionBytes=32k"])
    c.wait_log("runs as process", times=3)
    c.workers[0].kill()
    c.wait_log('"event":"worker_lost"', within=5)
    c.workers[1].send_signal(signal.SIGSTOP)
    c.wait_log('"event":"worker_lost"', times=2, within=7)
    c.workers[1].send_signal(signal.SIGCONT)
    c.wait_log("registered with the master", times=4)
    finish(job)
    assert sorted(t.rows("out")) == want
    c.end()


def case_master_frozen(t):
    """A master that stands still until all have hung up harms nobody when it goes on."""
    c = Cluster(t, workers=2, cores=1)
    job = hangs(t, c, "never", opts=["--executor-cores", "1"])
    c.wait_log("runs as process", times=2)
    c.master.send_signal(signal.SIGSTOP)
    c.wait_log("lost the master", times=2, within=10)
    c.master.send_signal(signal.SIGCONT)
    c.wait_log("registered with the master", times=4)
    finish_later = time.monotonic() + 6
    while time.monotonic() < finish_later:
        select.select([], [], [], 0.5)
        assert "WAITING" not in c.list() and job.poll() is None
    assert '"event":"worker_lost"' not in c.log() and '"event":"app_over"' not in c.log(), c.log()[-3000:]
    assert '"event":"executor_gone"' not in c.log(), c.log()[-3000:]
    job.terminate()
    job.communicate(timeout=10)
    c.end()


def case_master_relays_output(t):
    """Each byte once: to one who reads late, and under a master that dies in between."""
    n = 100000 if t.config.tsan else 600000
    want = b"".join(b"line %d of what a driver has to say\n" % i for i in range(n))
    c = Cluster(t, workers=1, cores=2)
    for kills in 0, 2:
        job = c.submit("loud", n, opts=["--deploy-mode", "cluster"])
        if kills == 0:
            c.wait_log('"state":"FINISHED"', times=2)  # its application, and the driver
        out = bytearray()
        while piece := os.read(job.stdout.fileno(), 1 << 20):
            out += piece
            if kills and len(out) > len(want) // 4 * kills:
                kills -= 1
                c.kill_master()
                c.start_master()
        assert job.wait(20) == 0, job.stderr.read()
        assert out == want, "%d bytes of %d" % (len(out), len(want))
        assert b"that was all" in job.stderr.read()
        job.stdout.close()
        job.stderr.close()
    c.end()


def case_master_killed_at_each_write(t):
    """The n-th write or sync of a master kills it, n = 1, 2 ...: what was accepted is there once, and nothing by half."""
    if not shutil.which("strace"):
        raise Skip("there is no strace")
    text = words(t, lines=100)
    points = 0
    for n in range(1, 200):
        shutil.rmtree(t.path("master"), ignore_errors=True)
        c = Cluster(t, workers=0)  # a journal that is there already, and a port
        c.kill_master()
        inject = "inject=pwrite64,fdatasync,fsync,ftruncate:signal=SIGKILL:when=%d" % n
        c.daemon_prefix = ["strace", "-D", "-f", "-qq", "-o", t.path("strace.log"), "-e", "trace=pwrite64,fdatasync,fsync,ftruncate",
                           "-e", inject]
        listens = c.start_master()
        job = c.submit("wordcount", text, t.path("out"), opts=["--deploy-mode", "cluster", "--detach"])
        c.daemon_prefix = []
        while listens and job.poll() is None and c.master.poll() is None:
            select.select([], [], [], 0.01)
        killed = c.master.poll() is not None
        if killed:
            points += 1
            c.start_master()
        finish(job)
        if not killed:
            c.kill_master()  # nothing is said at the end
            c.start_master()
        assert c.list().count("driver-") == 1, "killed at %d: %s" % (n, c.list())
        c.end()
        if not killed:
            break
    assert points >= 10, points


def case_figures(t):
    """cpu_s and peak_memory_bytes are of executors and their runners, too: also of attempts that died, and of a job that
    is over before anything is said in its course."""
    c = Cluster(t, workers=2, cores=1)
    file = t.path("figures.json")

    def run(*args):
        finish(t.start(t.command("burn", *args, master=master, summary=file, opts=["--executor-memory", "512m"])))
        with open(file) as f:
            s = json.load(f)
        return s["cpu_s"], s["peak_memory_bytes"] / (1 << 20)

    for n, master in enumerate(("local[2]", "local-cluster[2,1,1024]", c.url)):
        idle, _ = run(2, 0, 0)  # what the processes themselves cost
        cpu, memory = run(2, 400, 40)
        assert 0.8 <= cpu < 0.8 + 2 * idle + 0.5, (master, cpu, idle)
        assert t.config.sanitized or 80 <= memory < 200, (master, memory)
        cpu, memory = run(1, 60, 20)
        assert 0.06 <= cpu < 0.06 + 2 * idle + 0.5 and (t.config.sanitized or memory >= 20), (master, cpu, memory)
        cpu, _ = run(2, 150, 1, t.path("died-%d" % n))
        assert 0.6 <= cpu < 0.6 + 3 * idle + 0.5, (master, cpu, idle)
    err = finish(c.submit("burn", 2, 150, 1, opts=["--deploy-mode", "cluster", "--progress", "json"]))
    end = next(e for e in map(json.loads, err.splitlines()) if e["event"] == "app_end")
    assert 300000 <= end["cpu_us"] < 300000 + 2e6 * idle + 500000, end
    c.end()


def listens(port):
    """Does somebody on this host, at an IPv4 address?"""
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return any(r[3] == "0A" and int(r[1].rsplit(":", 1)[1], 16) == port for r in rows)


def case_bulk_ports(t):
    """Where master and driver serve files can be set, for a firewall; a port that is taken is said with its key."""
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    master_port, driver_port = [h.getsockname()[1] for h in holders]
    own = {"master": "taskd.master.blobs.port=%d" % master_port,
           "driver": "taskd.driver.blockManager.port=%d" % driver_port}
    text = words(t, lines=20000)
    taken = "taskd.master.blobs.port): starting the bulk server: listening on 127.0.0.1:%d: Address already in use"
    with open(t.path("taken"), "w+") as said:
        p = subprocess.run([os.path.join(BUILD, "taskd-master"), "--port", "0", "--dir", t.path("no-master"), "--conf",
                            own["master"]], env=t.environment(), stdout=said, stderr=said, timeout=20)
        said.seek(0)
        err = said.read()
    assert p.returncode == 1 and taken % master_port in err, err
    holders[0].close()
    c = Cluster(t, workers=1, options=("--conf", own["master"]))
    assert listens(master_port)
    err = finish(c.submit("wordcount", text, t.path("none"), conf=[own["driver"]]), status=1)
    taken = "taskd.driver.blockManager.port): starting the bulk server: listening on 127.0.0.1:%d: Address already in use"
    assert taken % driver_port in err, err
    holders[1].close()
    for mode in "client", "cluster":
        job = c.submit("wordcount", text, t.path(mode), opts=["--deploy-mode", mode],
                       conf=[own["driver"].replace("taskd.", "spark.", 1)])
        seen = False
        while job.poll() is None and not seen:
            seen = listens(driver_port)
        finish(job)
        assert seen, "the driver did not listen on port %d" % driver_port
    assert t.rows("client") == t.rows("cluster")
    c.end()
