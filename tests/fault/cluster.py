"""A standalone cluster of real processes on this host, and cases that harm it.  See run.py."""
import collections
import os
import random
import re
import select
import signal
import subprocess
import threading
import time

import e2e

LONG = bool(os.environ.get("FAULT_LONG"))
SEED = int(os.environ.get("FAULT_SEED", "1"))


def processes():
    """pid -> (parent, argv as one line, state) of all that live."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/cmdline" % name, "rb") as f:
                    line = f.read().replace(b"\0", b" ").decode(errors="replace").strip()
                with open("/proc/%s/stat" % name) as f:
                    name_of, stat = f.read().split("(", 1)[1].rsplit(")", 1)
                stat = stat.split()
                if name_of.startswith("taskd-runner/"):
                    line = name_of
                if stat[0] != "Z":
                    found[int(name)] = (int(stat[1]), line, stat[0])
            except OSError:
                pass
    return found


def below(root, table=None):
    """All descendants of a process."""
    table = table or processes()
    kids = collections.defaultdict(list)
    for pid, (parent, _, _) in table.items():
        kids[parent].append(pid)
    todo, out = [root], []
    while todo:
        for k in kids[todo.pop()]:
            out.append(k)
            todo.append(k)
    return out


def pause(seconds):
    select.select([], [], [], seconds)


class Daemon:
    """A master or a worker."""

    def __init__(self, case, name, words, prefix=(), env=None):
        self.case, self.name, self.words, self.prefix, self.env = case, name, words, list(prefix), env
        self.log = case.path(name + ".log")
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.prefix + self.words, cwd=self.case.dir, env=self.case.environment(self.env),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.case.own.add(self.process.pid)
        return self

    @property
    def pid(self):
        return self.process.pid

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))

    def said(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def signal(self, signo):
        os.kill(self.process.pid, signo)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self, within=5):
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(within)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("%s did not end on SIGTERM within %d s" % (self.name, within))
        return self.process.returncode


class Cluster:
    """A master and workers.  hosts: a netns.Net whose hosts the workers live on, else all on loopback."""

    def __init__(self, case, workers=2, cores=1, memory="1g", net=None, master_at=None, tls=None, proxy=None, apart=False,
                 local=None):
        self.case, self.cores, self.memory, self.net, self.tls, self.proxy = case, cores, memory, net, tls, proxy
        self.host = (net.hosts[master_at] if master_at else net.here) if net else "127.0.0.1"
        self.master_prefix = net.run(master_at, []) if net and master_at else []
        self.local = local  # --local-dirs of the workers
        self.apart = apart  # on loopback, each worker takes itself for a host of its own
        self.port = 0
        self.url = None
        self.master = None
        self.workers = [None] * workers
        self.names = list(net.hosts) if net else []
        self.start_master()
        for i in range(workers):
            self.start_worker(i)

    def role(self, verb, *words):
        return [os.path.join(e2e.BUILD, "taskd-" + verb), *words]

    def environment(self, host):
        return dict(self.tls(host), TASKD_DRIVER_HOST=host) if self.tls else {}

    def start_master(self):
        """The first time on any port; again on the same one, with what it had written down."""
        told = self.case.path("master.url")
        if os.path.exists(told):
            os.unlink(told)
        words = self.role("master", "--host", self.host, "--port", str(self.port), "--dir", self.case.path("master"),
                          "--url-file", told)
        self.master = Daemon(self.case, "master", words, self.master_prefix, self.environment(self.host)).start()
        end = time.monotonic() + 20
        while not os.path.exists(told):
            assert self.master.process.poll() is None, "the master ended: " + self.master.said()[-2000:]
            assert time.monotonic() < end, "the master does not say where it listens: " + self.master.said()[-2000:]
            pause(0.01)
        with open(told) as f:
            self.real_url = f.read().strip()
        self.port = int(self.real_url.rsplit(":", 1)[1])
        self.url = self.real_url
        if self.proxy:
            self.proxy.target = (self.host, self.port)
            self.url = "taskd://" + self.proxy.address()

    def start_worker(self, i):
        name = self.names[i] if self.net else None
        host = self.net.hosts[name] if self.net else "127.0.0.%d" % (2 + i if self.apart else 1)
        words = self.role("worker", self.url, "--host", host, "--cores", str(self.cores), "--memory", self.memory,
                          "--dir", self.case.path("worker-%d" % i), *(["--local-dirs", self.local] if self.local else []))
        prefix = self.net.run(name, []) if self.net else ()
        self.workers[i] = Daemon(self.case, "worker-%d" % i, words, prefix, self.environment(host)).start()

    def submit_words(self, module, *args, mode="client", conf=(), opts=(), summary=None):
        opts = ["--deploy-mode", mode, *opts]
        conf = ["taskd.files.maxPartitionBytes=256k", *conf]  # tasks enough to lose some
        return self.case.command(module, *args, master=self.url, conf=conf, opts=opts, summary=summary)

    def job(self, module, *args, **kw):
        """Starts one in the background."""
        return Job(self.case, self.submit_words(module, *args, **kw), self.environment(self.net.here if self.net else self.host))

    def executors(self):
        """pids of taskd executor processes of this cluster, and of their runners."""
        table = processes()
        mine = [p for w in self.workers if w and w.process.poll() is None for p in below(w.pid, table)]
        ex = [p for p in mine if table[p][1].startswith("taskd executor")]
        runners = [p for p in mine if re.match(r"taskd-runner/\d", table[p][1])]
        return ex, runners

    def drivers(self):
        """pids of drivers on its workers."""
        table = processes()
        return [p for w in self.workers for p in below(w.pid, table) if table[p][1].startswith("taskd driver")]

    def close(self):
        trouble = []
        for d in [w for w in self.workers if w] + [self.master]:
            try:
                d.signal(signal.SIGCONT)
            except (ProcessLookupError, AttributeError):
                pass
            try:
                status = d.end()
                if status not in (0, -signal.SIGKILL, -signal.SIGTERM, 143):
                    trouble.append("%s ended with %s: %s" % (d.name, status, d.said()[-1500:]))
            except AssertionError as e:
                trouble.append(str(e))
        assert not trouble, "; ".join(trouble)


class FaultCase(e2e.Case):
    """A case with clusters, proxies and a reference result."""

    def __init__(self, name, config):
        super().__init__(name, config)
        self.random = random.Random("%s/%d" % (name, SEED))
        self.to_close = []
        self.references = {}
        self.own = set()  # processes that somebody waits for

    def cluster(self, **kw):
        c = Cluster(self, **kw)
        self.to_close.append(c)
        return c

    def start(self, words, env=None, **kw):
        p = super().start(words, env, **kw)
        self.own.add(p.pid)
        return p

    def reap(self):
        """Orphans of what was killed are children of ours (subreaper); the dead ones take up numbers of processes."""
        table = "/proc/self/task/%d/children" % os.getpid()
        with open(table) as f:
            pids = [int(p) for p in f.read().split()]
        for pid in pids:
            if pid not in self.own:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass

    def nothing_left(self, within=e2e.LEFT_BEHIND_S):
        if not self.to_close:  # while a cluster runs there is a lot
            super().nothing_left(within)

    def close(self):
        errors = []
        for c in reversed(self.to_close):
            try:
                c.close()
            except AssertionError as e:
                errors.append(str(e))
        self.to_close = []
        assert not errors, "\n".join(errors)

    def verb(self, c, *words):
        """Exit status and output of `taskd WORDS` for the master of c."""
        p = subprocess.run([os.path.join(e2e.BUILD, "taskd-client"), *words, "--master", c.url], cwd=self.dir, text=True,
                           env=self.environment(c.environment(c.host)), capture_output=True, timeout=30)
        return p.returncode, p.stdout + p.stderr

    def application(self, c):
        """The id of one that runs, or None."""
        return next((x.split()[0] for x in self.verb(c, "list")[1].splitlines() if " RUNNING " in x), None)

    def certificates(self, net):
        """A CA and a certificate for each host; returns what gives the words for one."""
        d = self.path("tls")
        taskd = os.path.join(e2e.BUILD, "taskd")
        subprocess.run([taskd, "cert", "init", "--dir", d], check=True, capture_output=True, env=self.environment())
        for host in [net.here, *net.hosts.values()]:
            subprocess.run([taskd, "cert", "issue", "--host", host, "--dir", d], check=True, capture_output=True,
                           env=self.environment())
        return lambda host: {"TASKD_SSL_CA": "%s/%s/ca.pem" % (d, host), "TASKD_SSL_CERT": "%s/%s/node.pem" % (d, host),
                             "TASKD_SSL_KEY": "%s/%s/node.key" % (d, host)}

    def text(self, n_bytes, name="in.txt"):
        """Lines of words, few of them common and many rare; the same for a seed."""
        r = random.Random("text/%d" % SEED)
        words = ["w%x" % int(r.paretovariate(0.7)) for _ in range(20000)]
        words = [w if len(w) < 40 else w[:40] for w in words]
        path, size = self.path(name), 0
        with open(path, "w") as f:
            while size < n_bytes:
                line = " ".join(r.choices(words, k=r.randrange(1, 24))) + "\n"
                f.write(line)
                size += len(line)
        return path

    def output(self, name):
        return b"\n".join(self.rows(name))

    def reference(self, shape, rounds, path):
        """(bytes, accumulators) of the job in local[1], undisturbed."""
        key = (shape, path)
        if key not in self.references:
            out = "reference-%d" % len(self.references)
            r = self.ok("work", shape, 1, path, self.path(out), master="local[1]")
            self.references[key] = (self.whole(out), self.accumulators(r.err))
        return self.references[key]

    def whole(self, out):
        """Rows of all parts; for hash partitioned results in any number of parts, sorted."""
        return sorted(self.rows(out))

    @staticmethod
    def accumulators(err):
        found = re.findall(r"lines \d+ words \d+ longest \d+", err)
        return found[-1] if found else None

    @classmethod
    def sums(cls, err):
        """The same as numbers."""
        return [int(n) for n in re.findall(r"\d+", cls.accumulators(err) or "0 0 0")]

    def check(self, out, said, shape, rounds, path):
        rows, sums = self.reference(shape, rounds, path)
        got = self.whole(out)
        assert got == rows, "%s: %d rows, %d are right; the first wrong one: %s" % (
            shape, len(got), len(rows), next(((a, b) for a, b in zip(got, rows) if a != b), "at the end"))
        assert self.accumulators(said) == sums, "accumulators: %s, not %s" % (self.accumulators(said), sums)


class Job:
    """A job that runs in the background; its output is read by threads, so it never waits for us."""

    def __init__(self, case, words, env=None):
        self.p = case.start(words, env)
        self.out, self.err = b"", b""
        self.threads = [threading.Thread(target=self._read, args=(n,), daemon=True) for n in ("stdout", "stderr")]
        for t in self.threads:
            t.start()

    def _read(self, which):
        f = getattr(self.p, which)
        while True:
            data = f.read1(65536)
            if not data:
                return
            if which == "stdout":
                self.out += data
            else:
                self.err += data

    def running(self):
        return self.p.poll() is None

    def wait(self, timeout=120):
        try:
            self.p.wait(timeout)
        except subprocess.TimeoutExpired:
            self.p.kill()
            raise AssertionError("the job did not end in %d s: %s" % (timeout, self.err.decode(errors="replace")[-3000:]))
        for t in self.threads:
            t.join(10)
        return self.p.returncode

    def text(self):
        return self.out.decode(errors="replace") + self.err.decode(errors="replace")


class Ticks:
    """for _ in Ticks(seed, 0.2, 0.6, while_true): a turn every so often, as long as the condition holds."""

    def __init__(self, rnd, least, most, while_true):
        self.random, self.least, self.most, self.while_true = rnd, least, most, while_true

    def __iter__(self):
        n = 0
        while self.while_true():
            end = time.monotonic() + self.random.uniform(self.least, self.most)
            while self.while_true() and time.monotonic() < end:
                pause(min(0.02, max(0, end - time.monotonic())))
            if self.while_true():
                yield n
                n += 1
