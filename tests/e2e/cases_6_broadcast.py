"""Broadcasts: the right bytes everywhere, built once a process, nothing left, and clear errors."""
import os
import re
import struct
import subprocess

from run import BUILD, Skip

MASTERS = ("local[1]", "local[2]")


def sum_of(data):
    """What tests/e2e/modules/broadcast.c computes."""
    mask, a, b = 2 ** 64 - 1, 0, 0
    n = len(data) // 8 * 8
    for (w,) in struct.iter_unpack("<Q", data[:n]):
        a = (a + w) & mask
        b = (b + a) & mask
    b = (b + sum(data[n:])) & mask
    return a ^ ((b << 1) & mask)


def built(r):
    """Process ids of the builds."""
    return re.findall(r"built in (\d+)", r.out + r.err)


def case_bytes_of_a_file(t):
    for n, size in enumerate((0, 1, 4095, 4096, 4097, (1 << 20) + 5)):
        data = bytes(i * 31 % 251 for i in range(size))
        t.file("data%d" % n, data)
        for i, m in enumerate(MASTERS):
            out = "out%d-%d" % (n, i)
            r = t.ok("broadcast", "bytes", "data%d" % n, 12, out, master=m)
            assert t.rows(out) == [b"%d" % sum_of(data)] * 12, (size, t.rows(out))
            pids = built(r)
            assert len(pids) == len(set(pids)) <= i + 1, "built twice in a process: %s" % r
            assert r.summary["accumulators"]["used"] == 12, r.summary


def case_a_hundred_megabytes(t):
    size = 3000001 if t.config.hostile or t.config.sanitized else 104857601
    for i, m in enumerate(MASTERS):
        r = t.ok("broadcast", "big", size, 20, master=m)
        said = r.out + r.err
        wanted = re.search(r"wanted (\d+)", said).group(1)
        assert "20 sums %s\n" % wanted in said, r
        assert len(built(r)) == len(set(built(r))) <= i + 1, r


def case_a_file_that_changes(t):
    """What counts is what was in it when the broadcast was made: the job writes over it behind that."""
    data = b"a" * 100000 + b"b"
    t.file("data", data)
    t.ok("broadcast", "changes", "data", 2, "out")
    assert t.rows("out") == [b"%d" % sum_of(data)] * 2
    with open(t.path("data"), "rb") as f:
        assert f.read() == b"other"


def case_values_and_their_end(t):
    for m in MASTERS:
        r = t.ok("broadcast", "rounds", 4, master=m)
        said = r.out + r.err
        for k in range(4):
            assert "round %d: some mapped before, 0 mapped behind" % k in said, r
        # each process that built a value gave it up
        assert sorted(built(r)) == sorted(re.findall(r"dropped 7 in (\d+)", said)), r
        assert len(built(r)) >= 4, r


def case_broadcasts_that_go_wrong(t):
    for m in MASTERS:
        def fails(how, *words):
            r = t.fails(1, words[0], "broadcast", how, master=m)
            for w in words:
                assert w in r.err, "%r is not said: %s" % (w, r)
            return r
        fails("FAIL", 'the build of broadcast "table" (broadcast.c:', 'failed at broadcast.c:', 'the table begins with "FAIL"',
              "td_get in use()", "failed 4 times")
        fails("NULL", 'the build of broadcast "table" (broadcast.c:', "returned NULL")
        fails("CRASHxxx", "signal 11 in summed_build() at broadcast.c:", 'in the build of broadcast "table"')
        fails("EXIT", "called exit(3) in summed_build() at broadcast.c:", 'in the build of broadcast "table"')
        r = fails("early", 'broadcast "table" (broadcast.c:', "had no value when this dataset was made", "task ")
        assert r.summary["failed_attempts"] <= 2, "no attempt can mend that: %s" % r.summary
        fails("gone", 'broadcast "table" (broadcast.c:', "it was destroyed")
        fails("missing", 'td_broadcast_file of "table": opening "there/is/no/such/file": No such file')


def case_a_folder_is_no_broadcast(t):
    os.mkdir(t.path("folder"))
    t.fails(1, "is not a regular file", "broadcast", "bytes", "folder", 2, "out")
    t.no_output("out")


class Cluster:
    """A master and workers on addresses of this machine that taskd takes for hosts of their own."""

    def __init__(self, t, hosts):
        self.t, self.daemons = t, []
        self.env = t.environment()
        master = self.daemon("master", "--host", "127.0.0.1", "--port", "0", "--dir", t.path("master"))
        self.url = master.stdout.readline().decode().strip()
        assert self.url.startswith("taskd://"), self.url
        for i, host in enumerate(hosts):
            self.daemon("worker", self.url, "--host", host, "--cores", "1", "--memory", "1g", "--dir", t.path("w%d" % i))

    def daemon(self, role, *args):
        with open(self.t.path("%s-%d.log" % (role, len(self.daemons))), "wb") as log:
            p = subprocess.Popen([os.path.join(BUILD, "taskd-" + role)] + list(args), cwd=self.t.dir, env=self.env,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        self.daemons.append(p)
        return p

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for p in reversed(self.daemons):
            p.terminate()
        for p in self.daemons:
            p.wait(10)
            p.stdout.close()

    def submit(self, *args, opts=()):
        words = self.t.command(*args, master=self.url, opts=opts)
        return subprocess.run(words, cwd=self.t.dir, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=100, text=True)


def case_broadcasts_across_hosts(t):
    if not os.path.exists(os.path.join(BUILD, "taskd-master")):
        raise Skip("built without the cluster's daemons")
    data = os.urandom(100001 if t.config.hostile or t.config.sanitized else 30000001)
    t.file("data", data)
    with Cluster(t, ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.3")) as c:
        for mode in ("client", "cluster"):
            r = c.submit("broadcast", "bytes", t.path("data"), 16, t.path("out-" + mode), opts=["--deploy-mode", mode])
            assert r.returncode == 0, r.stdout
            assert t.rows("out-" + mode) == [b"%d" % sum_of(data)] * 16, mode
            pids = re.findall(r"built in (\d+)", r.stdout)
            assert len(pids) == len(set(pids)), "built twice in a process: " + r.stdout
        r = c.submit("broadcast", "CRASHxxx")
        assert r.returncode == 1 and 'in the build of broadcast "table"' in r.stdout, r.stdout
        r = c.submit("broadcast", "gone")
        assert r.returncode == 1 and "it was destroyed" in r.stdout, r.stdout
    left = [os.path.join(d, f) for d, _, files in os.walk(t.dir) for f in files if re.match(r"b\d+(\.part)?$", f)]
    assert not left, "copies are left behind: %s" % left
    t.nothing_left(10)


def case_a_worker_dies_with_a_broadcast(t):
    if not os.path.exists(os.path.join(BUILD, "taskd-master")):
        raise Skip("built without the cluster's daemons")
    data = os.urandom(100001 if t.config.hostile or t.config.sanitized else 30000001)
    t.file("data", data)
    with Cluster(t, ("127.0.0.1", "127.0.0.2", "127.0.0.3")) as c:
        words = t.command("broadcast", "bytes", t.path("data"), 60, t.path("out"), master=c.url)
        p = subprocess.Popen(words, cwd=t.dir, env=c.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
        said = ""
        while "built in" not in said:  # one host has it, others are at it
            line = p.stdout.readline()
            assert line, "it ended early: " + said
            said += line
        c.daemons[2].kill()
        said += p.communicate(timeout=100)[0]
        assert p.returncode == 0, said
        assert t.rows("out") == [b"%d" % sum_of(data)] * 60
    t.nothing_left(10)
