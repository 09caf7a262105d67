#!/usr/bin/env python3
"""tests/worker_cluster.py [CASE...] -- workers as processes, with a real master and real jobs, on loopback.

What every case also asserts: nothing outlives a worker for 3 s, and no folder but its own keeps anything.
"""
import filecmp
import glob
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SRC = os.path.abspath(os.environ.get("top_srcdir", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")))
BUILD = os.path.abspath(os.environ.get("top_builddir", "build"))
GONE_S, JOB_S = 3.0, 120


def fail(what):
    raise AssertionError(what)


def processes(mark):
    """{pid: title} of those whose environment holds the mark; zombies are somebody's to reap, not alive."""
    found = {}
    for d in glob.glob("/proc/[0-9]*"):
        try:
            with open(d + "/environ", "rb") as f:
                if mark.encode() not in f.read():
                    continue
            with open(d + "/stat") as f:
                if f.read().rsplit(")", 1)[1].split()[0] in "ZX":
                    continue
            with open(d + "/cmdline", "rb") as f:
                found[int(os.path.basename(d))] = f.read().split(b"\0")[0].decode(errors="replace")
        except OSError:
            pass
    return found


class Daemon:
    """A process that logs JSON lines on stderr."""

    def __init__(self, world, name, *args):
        self.log = os.path.join(world.dir, "%s-%d.log" % (os.path.basename(name), world.count()))
        self.mark = "TASKD_TEST_DAEMON=%s" % self.log
        env = dict(world.env, TASKD_TEST_DAEMON=self.log)
        with open(self.log, "wb") as log:
            self.p = subprocess.Popen([os.path.join(BUILD, name), *args], env=env, stderr=log, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL)

    def lines(self):
        with open(self.log, errors="replace") as f:
            return f.read().splitlines()

    def says(self, words):
        return [x for x in self.lines() if words in x]

    def until(self, words, n=1, seconds=20):
        wait_for(lambda: len(self.says(words)) >= n or self.p.poll() is not None, seconds,
                 "%s does not say %r:\n%s" % (self.log, words, "\n".join(self.lines()[-20:])))
        if len(self.says(words)) < n:
            fail("%s ended:\n%s" % (self.log, "\n".join(self.lines()[-20:])))

    def kill(self, signo=signal.SIGKILL):
        if self.p.poll() is None:
            self.p.send_signal(signo)
        self.p.wait(timeout=20)
        wait_for(lambda: not processes(self.mark), GONE_S, "left behind: %s" % processes(self.mark))


def wait_for(cond, seconds, what):
    end = time.monotonic() + seconds
    nothing = select.epoll()
    while not cond():
        if time.monotonic() > end:
            fail(what() if callable(what) else what)
        nothing.poll(0.02)
    nothing.close()


class World:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="taskd-workers-")
        self.mark = "TASKD_TEST_WORLD=%s" % os.path.basename(self.dir)
        self.env = dict(os.environ, TASKD_LIBEXEC=BUILD, HOME=self.dir, XDG_CONFIG_HOME=self.dir + "/conf",
                        TASKD_TEST_WORLD=os.path.basename(self.dir))
        self.n = 0
        self.daemons = []
        self.input = os.path.join(self.dir, "in")
        os.mkdir(self.input)
        rnd = random.Random(7)
        with open(os.path.join(self.input, "a.txt"), "w") as f:
            for _ in range(100000):
                f.write("w%d w%d and more words\n" % (rnd.randrange(5000), rnd.randrange(70)))

    def count(self):
        self.n += 1
        return self.n

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def master(self, port=0):
        url = self.path("url")
        if os.path.exists(url):
            os.unlink(url)
        m = Daemon(self, "taskd-master", "--port", str(port), "--dir", self.path("master"), "--url-file", url)
        self.daemons.append(m)
        wait_for(lambda: os.path.exists(url) or m.p.poll() is not None, 20, "the master does not listen")
        with open(url) as f:
            self.url = f.read().strip()
        return m

    def worker(self, name, cores=2):
        w = Daemon(self, "taskd-worker", "--dir", self.path(name), "--cores", str(cores), "--memory", "4g", self.url)
        w.dir = self.path(name)
        self.daemons.append(w)
        w.until("registered with the master")
        return w

    def submit(self, out, *more, module="wordcount"):
        return subprocess.Popen([os.path.join(BUILD, "taskd-submit"), "--master", self.url,
                                 "--conf", "taskd.files.maxPartitionBytes=16k", *more,
                                 os.path.join(BUILD, "examples", module) + ".so", self.input, self.path(out)],
                                env=self.env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def finish(self, job, status=0):
        out, err = job.communicate(timeout=JOB_S)
        if job.returncode != status:
            fail("exit status %s, not %s:\n%s\n%s" % (job.returncode, status, out[-3000:], err[-3000:]))
        return out, err

    def same(self, out):
        local = self.path("local")
        if not os.path.exists(local):
            subprocess.run([os.path.join(BUILD, "taskd-submit"), "--master", "local[2]", "--conf",
                            "taskd.files.maxPartitionBytes=16k", os.path.join(BUILD, "examples/wordcount.so"), self.input,
                            local], check=True, env=self.env, timeout=JOB_S, stderr=subprocess.DEVNULL)
        a, b = sorted(os.listdir(local)), sorted(os.listdir(self.path(out)))
        if sum(os.path.getsize(os.path.join(local, x)) for x in a) == 0:
            fail("nothing was counted")

        def rows(d, names):
            return sorted(x for n in names if n.startswith("part-") for x in open(os.path.join(d, n)))
        if rows(local, a) != rows(self.path(out), b):
            fail("other rows than a local run gives")

    def applications(self, w):
        """Folders of applications and drivers, in a worker's folder that holds nothing else."""
        names = set(os.listdir(w.dir)) - {"lock", "worker-id", "blobs"}
        return sorted(x for x in names if not x.startswith(".gone-"))

    def executors(self, w):
        return {p: t for p, t in processes(w.mark).items() if t.startswith("taskd executor ")}

    def end(self):
        for d in reversed(self.daemons):
            d.kill(signal.SIGKILL)
            if d.says("Sanitizer"):
                fail("\n".join(d.lines()))
        wait_for(lambda: not processes(self.mark), GONE_S, lambda: "left behind: %s" % processes(self.mark))
        shutil.rmtree(self.dir)


def case_job(w):
    """A job on two workers; when it is over, nothing of it is left."""
    w.master()
    a, b = w.worker("a"), w.worker("b")
    w.finish(w.submit("out"))
    w.same("out")
    for x in (a, b):
        wait_for(lambda: not w.applications(x) and len(processes(x.mark)) == 1, GONE_S,
                 lambda: "left in %s: %s %s" % (x.dir, w.applications(x), processes(x.mark)))
        if not x.says("runs as process"):
            fail("%s ran nothing" % x.dir)


def case_options(w):
    """What can't be right is refused with a sentence, before anything is started."""
    url, loose = "taskd://127.0.0.1:1", w.path("loose")
    os.mkdir(loose)
    os.chmod(loose, 0o777)
    for status, words, line in [
            (2, "no master is given", []),
            (2, "more than one master", [url, url]),
            (2, '"--frob" is not an option', ["--frob", url]),
            (2, '"--cores" needs a value', ["--cores"]),
            (2, '--cores: "0" is no number from 1', ["--cores", "0", url]),
            (2, '--memory: "8x" is no size', ["--memory", "8x", url]),
            (2, '--port: "70000" is no number', ["--port", "70000", url]),
            (2, "is no master's URL", ["127.0.0.1:7077"]),
            (3, "/nowhere/ca.pem", ["--tls-ca", "/nowhere/ca.pem", "--dir", w.path("x"), url]),
            (6, "may be written by others", ["--dir", loose, url]),
            (6, "TLS", ["--host", "0.0.0.0", "--dir", w.path("x"), url])]:
        r = subprocess.run([os.path.join(BUILD, "taskd-worker"), *line], env=w.env, capture_output=True, text=True, timeout=20)
        if r.returncode != status or words not in r.stderr or not r.stderr.startswith("taskd worker: "):
            fail("%s: exit status %d: %s" % (line, r.returncode, r.stderr))
    r = subprocess.run([os.path.join(BUILD, "taskd-worker"), "--help"], capture_output=True, text=True, timeout=20)
    if r.returncode or "--memory SIZE" not in r.stdout:
        fail("--help: %s" % r.stdout)
    # a master with another token says so, and the worker ends
    w.master()
    w.env["XDG_CONFIG_HOME"] = w.path("other")
    os.makedirs(w.path("other", "taskd"))
    with open(os.open(w.path("other", "taskd", "token"), os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
        f.write("0123456789abcdef0123456789abcdef")
    r = subprocess.run([os.path.join(BUILD, "taskd-worker"), "--dir", w.path("b"), w.url], env=w.env, capture_output=True,
                       text=True, timeout=20)
    if r.returncode != 6 or "the master refuses this worker" not in r.stderr:
        fail("another token: exit status %d: %s" % (r.returncode, r.stderr))


def case_full(w):
    """A work folder without room: the error names it, and nothing of the attempt stays."""
    small = w.path("a")
    os.mkdir(small)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", small],
                                           stderr=subprocess.DEVNULL).returncode:
        print("    skipped: no mount here")
        return
    try:
        w.master()
        a = w.worker("a")
        with open(w.path("big.csv"), "w") as f:
            f.write("x" * 4000000)
        job = w.submit("out", "--files", w.path("big.csv"))
        a.until("No space left on device", seconds=30)
        told = next((x for x in job.stderr if "No space left" in x), None)
        job.send_signal(signal.SIGTERM)
        job.communicate(timeout=30)
        if not told or "big.csv" not in told:
            fail("the submitter reads: %r" % told)
        wait_for(lambda: not w.applications(a), GONE_S, lambda: "left: %s" % w.applications(a))
        a.kill()
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def case_killed(w):
    """kill -9 of a worker amid a job: its processes go with it, the job gives the same bytes on the other one."""
    w.master()
    a, b = w.worker("a"), w.worker("b")
    job = w.submit("out", "--conf", "taskd.task.maxFailures=20")
    a.until("runs as process")
    wait_for(lambda: glob.glob(w.path("a", "*", "blocks", "s*")) or job.poll() is not None, 60, "no map output")
    a.kill()
    w.finish(job)
    w.same("out")
    # back in its folder: the same worker, nothing of the old job
    with open(w.path("a", "worker-id")) as f:
        name = f.read()
    a = w.worker("a")
    if not a.says(name):
        fail("the worker has another id")
    wait_for(lambda: not w.applications(a), 10, lambda: "left: %s" % w.applications(a))


def case_returns(w):
    """A worker that is killed and comes back while the application lives is used again."""
    w.master()
    a = w.worker("a")
    job = w.submit("out", "--conf", "taskd.task.maxFailures=20")
    a.until("runs as process")
    a.kill()
    a = w.worker("a")
    a.until("runs as process", seconds=60)
    w.finish(job)
    w.same("out")


def case_silent(w):
    """Idle workers that are killed leave neither process nor port nor file outside their folders."""
    before = set(os.listdir("/tmp")) | set(os.listdir("/dev/shm"))
    w.master()
    a = w.worker("a")
    message = json.loads(a.says("shuffle service on")[0])["message"]
    host, port = message.rsplit(" ", 1)[1].rsplit(":", 1)
    with open("/proc/%d/status" % a.p.pid) as f:
        rss = [int(x.split()[1]) for x in f if x.startswith("VmRSS")][0]
    print("    idle worker: %.1f MB" % (rss / 1024))
    socket.create_connection((host, int(port)), timeout=5).close()
    a.kill()
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
        fail("the port is still open")
    except ConnectionRefusedError:
        pass
    b = w.worker("b")
    b.kill(signal.SIGTERM)
    if b.p.returncode != 0:
        fail("exit status %d after SIGTERM" % b.p.returncode)
    left = {x for x in set(os.listdir("/tmp")) | set(os.listdir("/dev/shm")) if "taskd" in x} - before
    if left - {os.path.basename(w.dir)}:
        print("    others' perhaps: %s" % left)
    for d in "ab":
        if set(os.listdir(w.path(d))) != {"lock", "worker-id", "blobs"}:
            fail("left: %s" % os.listdir(w.path(d)))


def case_master_returns(w):
    """The master is killed amid a job and comes back: the job goes on, the worker registers again."""
    m = w.master()
    a = w.worker("a")
    job = w.submit("out")
    a.until("runs as process")
    port = int(w.url.rsplit(":", 1)[1])
    m.kill()
    w.master(port)
    a.until("registered with the master", 2)
    w.finish(job)
    w.same("out")
    wait_for(lambda: not w.applications(a), 15, lambda: "left: %s" % w.applications(a))


def case_unreachable(w):
    """Executors that could not call their driver are not started, and the submitter reads why."""
    w.master()
    a = w.worker("a")
    job = w.submit("out", "--conf", "taskd.driver.host=127.0.0.1", "--conf", "taskd.driver.bindAddress=127.0.0.2")
    a.until("can't reach the driver at 127.0.0.1:", seconds=30)
    if a.says("runs as process"):
        fail("it was started all the same")
    told = next((x for x in job.stderr if "can't reach the driver at 127.0.0.1:" in x), None)
    job.send_signal(signal.SIGTERM)
    job.communicate(timeout=30)
    if not told:
        fail("the submitter was not told")


def case_driver_killed(w):
    """kill -9 of a driver on a worker: the cluster is free at once, and --supervise starts another one."""
    w.master()
    a = w.worker("a")
    for supervise in (False, True):
        job = w.submit("out%d" % supervise, "--deploy-mode", "cluster", *(["--supervise"] if supervise else []))
        wait_for(lambda: w.executors(a), 20, "no executor")
        drivers = [p for p, t in processes(a.mark).items() if t.startswith("taskd driver ")]
        os.kill(drivers[0], signal.SIGKILL)
        if supervise:
            w.finish(job)
            w.same("out1")
            a.until("driver 0 runs as process", 3)
        else:
            out, err = job.communicate(timeout=30)
            if job.returncode == 0 or "signal 9" not in err:
                fail("exit status %d: %s" % (job.returncode, err))
        wait_for(lambda: len(processes(a.mark)) == 1, 5, lambda: "left behind: %s" % processes(a.mark))


SLOW_C = """
#include <time.h>
#include <taskd.h>
static void
slow(td_task *t, td_str line, td_out_str *out)
{
    struct timespec ts = { 0, 10000000 };

    nanosleep(&ts, NULL); /* that is the work */
    td_emit(out, line);
}
TD_FLAT_MAP(slow, str, str);
static int
job(td_job *j, int argc, char **argv)
{
    return td_save_text(td_flat_map(td_text_file(j, argv[1]), slow), argv[2]);
}
TD_PLUGIN("slow", "1", job);
"""


def case_frozen(w):
    """A worker is stopped (SIGSTOP): noticed within 5 s, its work done by the other; when it goes on, it cleans up."""
    with open(w.path("slow.c"), "w") as f:
        f.write(SLOW_C)
    subprocess.run([os.path.join(SRC, "sdk/taskd-cc"), w.path("slow.c"), "-o", w.path("slow.so")], check=True)
    lines = ["line %06d and more\n" % i for i in range(1000)]
    with open(os.path.join(w.input, "a.txt"), "w") as f:
        f.write("".join(lines))
    m = w.master()
    a, b = w.worker("a"), w.worker("b")
    job = w.submit("out", "--conf", "taskd.files.maxPartitionBytes=1k", module=w.path("slow"))
    for x in (a, b):
        x.until("runs as process")
    a.p.send_signal(signal.SIGSTOP)
    m.until("worker_lost", seconds=6)
    w.finish(job)
    if "".join(open(x).read() for x in sorted(glob.glob(w.path("out", "part-*")))) != "".join(lines):
        fail("other lines")
    if [p for p in processes(a.mark) if p != a.p.pid and p in w.executors(a)]:
        print("    its executors live on until it does")
    a.p.send_signal(signal.SIGCONT)
    a.until("registered with the master", 2)
    wait_for(lambda: len(processes(a.mark)) == 1 and not w.applications(a), GONE_S,
             lambda: "left behind: %s %s" % (processes(a.mark), w.applications(a)))


TALK_C = """
#include <stdio.h>
#include <taskd.h>
static int
job(td_job *j, int argc, char **argv)
{
    for (int i = 0; i < 500000; i++)
        printf("%015d\\n", i);
    fflush(stdout);
    fputs("the end\\n", stderr);
    return 7; /* a main that fails: 1 */
}
TD_PLUGIN("talk", "1", job);
"""


def case_output(w):
    """8 MB of a driver's output come through worker and master, whole and in order, and its exit status."""
    with open(w.path("talk.c"), "w") as f:
        f.write(TALK_C)
    subprocess.run([os.path.join(SRC, "sdk/taskd-cc"), w.path("talk.c"), "-o", w.path("talk.so")], check=True)
    m = w.master()
    a = w.worker("a")
    out, err = w.finish(w.submit("out", "--deploy-mode", "cluster", module=w.path("talk")), 1)
    if out != "".join("%015d\n" % i for i in range(500000)):
        fail("other output: %d bytes, ends with %r" % (len(out), out[-40:]))
    if "the end" not in err:
        fail("no standard error: %r" % err)
    for d in (m, a):
        with open("/proc/%d/status" % d.p.pid) as f:
            rss = [int(x.split()[1]) for x in f if x.startswith("VmHWM")][0]
        print("    %s: at most %.1f MB" % (os.path.basename(d.log), rss / 1024))


def case_ends_alone(w):
    """A driver that ends while there is no master: its exit status is told to the next one, and told once."""
    m = w.master()
    a = w.worker("a")
    job = w.submit("out", "--deploy-mode", "cluster", "--supervise", "--conf", "taskd.files.maxPartitionBytes=4k")
    wait_for(lambda: w.executors(a) or job.poll() is not None, 20, "no executor")
    m.kill()
    a.until("driver 0 ended", seconds=60)
    for i in range(2):
        m = w.master(int(w.url.rsplit(":", 1)[1]))
        a.until("registered with the master", 2 + i)
        if i == 0:
            w.finish(job)
            w.same("out")
            m.kill()
    if len(a.says("driver 0 runs as process")) != 1:
        fail("it was started again")


FILES_C = """
#include <stdio.h>
#include <string.h>
#include <taskd.h>
int from_library(void);
static void
look(td_task *t, td_str line, td_out_str *out)
{
    static const char *const names[] = { "lookup.csv", "env/deep/it.txt" };
    char p[64];

    for (int i = 0; i < 2; i++) {
        FILE *f = fopen(names[i], "r");
        if (!f) {
            td_fail(t, "no %s", names[i]);
            return;
        }
        size_t n = fread(p, 1, sizeof p, f);
        fclose(f);
        td_emit(out, ((td_str){ p, n }));
    }
    snprintf(p, sizeof p, "library %d", LIBRARY);
    td_emit(out, td_cstr(p));
}
TD_FLAT_MAP(look, str, str);
static int
job(td_job *j, int argc, char **argv)
{
    return td_save_text(td_flat_map(td_text_file(j, argv[1]), look), argv[2]);
}
TD_PLUGIN("files", "1", job);
"""


def build_files(w, library):
    """A module that reads --files and --archives by their names and, perhaps, calls a library of --libs."""
    with open(w.path("files.c"), "w") as f:
        f.write(FILES_C)
    with open(w.path("lib.c"), "w") as f:
        f.write("int from_library(void); int from_library(void) { return 42; }\n")
    with open(w.path("lookup.csv"), "w") as f:
        f.write("a,b")
    os.makedirs(w.path("tree", "deep"))
    with open(w.path("tree", "deep", "it.txt"), "w") as f:
        f.write("unpacked")
    subprocess.run(["tar", "-czf", w.path("env.tar.gz"), "-C", w.path("tree"), "deep"], check=True)
    cc = [os.path.join(SRC, "sdk/taskd-cc"), w.path("files.c"), "-o", w.path("files.so")]
    if library:
        subprocess.run(["cc", "-shared", "-fPIC", "-Wl,-soname,libfrom.so.1", w.path("lib.c"), "-o", w.path("libfrom.so.1")],
                       check=True)
        subprocess.run(cc + ["-DLIBRARY=from_library()", "-L" + w.dir, "-l:libfrom.so.1"], check=True)
    else:
        subprocess.run(cc + ["-DLIBRARY=42"], check=True)
    shutil.rmtree(w.input)
    os.mkdir(w.input)
    with open(os.path.join(w.input, "one.txt"), "w") as f:
        f.write("one line\n")


def files_job(w, *more):
    w.master()
    w.worker("a")
    job = w.submit("out", "--files", w.path("lookup.csv"), "--archives", w.path("env.tar.gz") + "#env", *more,
                   module=w.path("files"))
    w.finish(job)
    got = "".join(open(x).read() for x in sorted(glob.glob(w.path("out", "part-*"))))
    if got != "a,b\nunpacked\nlibrary 42\n":
        fail("the job found %r" % got)


def case_files(w):
    """Files and archives are there under their names in the tasks' working folder, as in Spark."""
    build_files(w, False)
    files_job(w)


def case_files_cluster(w):
    """The same in cluster mode: they go by the master to the driver's worker."""
    build_files(w, False)
    files_job(w, "--deploy-mode", "cluster")


def case_library(w):
    """A library of --libs resolves what the module needs."""
    build_files(w, True)
    files_job(w, "--libs", w.path("libfrom.so.1"))


ONLY_C = """
#include <time.h>
#include <taskd.h>
int only(void);
static void
slow(td_task *t, td_str line, td_out_str *out)
{
    struct timespec ts = { 0, 10000000 };

    nanosleep(&ts, NULL); /* that is the work */
    if (only() == 7)
        td_emit(out, line);
}
TD_FLAT_MAP(slow, str, str);
static int
job(td_job *j, int argc, char **argv)
{
    return td_save_text(td_flat_map(td_text_file(j, argv[1]), slow), argv[2]);
}
TD_PLUGIN("only", "1", job);
"""


def case_unfit(w):
    """A host that comes when a job runs, and can't run its module: the job goes on without it, and hears why."""
    with open(w.path("only.c"), "w") as f:
        f.write("int only(void); int only(void) { return 7; }\n")
    os.mkdir(w.path("lib"))
    subprocess.run(["cc", "-shared", "-fPIC", "-Wl,-soname,libonly.so.1", w.path("only.c"), "-o", w.path("lib/libonly.so.1")],
                   check=True)
    with open(w.path("job.c"), "w") as f:
        f.write(ONLY_C)
    subprocess.run([os.path.join(SRC, "sdk/taskd-cc"), w.path("job.c"), "-o", w.path("job.so"), "-L" + w.path("lib"),
                    "-l:libonly.so.1"], check=True)
    lines = ["line %06d and more\n" % i for i in range(400)]
    with open(os.path.join(w.input, "a.txt"), "w") as f:
        f.write("".join(lines))
    w.master()
    without = w.env
    w.env = dict(without, LD_LIBRARY_PATH=w.path("lib"))
    job = w.submit("out", "--conf", "taskd.files.maxPartitionBytes=1k", "--executor-cores", "1", module=w.path("job"))
    wait_for(lambda: '"WAITING"' in subprocess.run([os.path.join(BUILD, "taskd"), "list", "--json", "--master", w.url],
                                                  env=w.env, capture_output=True, text=True).stdout, 20, "no application")
    a = w.worker("a", cores=1)
    a.until("runs as process")
    w.env = without
    b = w.worker("b", cores=1)
    b.until("needs libonly.so.1, this machine does not have it")
    _, err = w.finish(job)
    if "".join(open(x).read() for x in sorted(glob.glob(w.path("out", "part-*")))) != "".join(lines):
        fail("other lines")


def case_tls(w):
    """The same job when all links and fetches are mutual TLS."""
    cert = [os.path.join(BUILD, "taskd-cert")]
    subprocess.run(cert + ["init"], check=True, env=w.env, stdout=subprocess.DEVNULL)
    subprocess.run(cert + ["issue", "--host", "127.0.0.1", "--out", w.path("conf/taskd/tls")], check=True, env=w.env, stdout=subprocess.DEVNULL)
    w.master()
    a, b = w.worker("a"), w.worker("b")
    w.finish(w.submit("out"))
    w.same("out")


def case_secrets(w):
    """The cluster's token and applications' secrets: in files for their owner only, in no argument, environment, log or
    output, while jobs of both modes run."""
    m = w.master()
    a, b = w.worker("a"), w.worker("b")
    with open(os.path.join(BUILD, "config.h")) as f:
        piece = "16k" if "#define TASKD_HOSTILE 1" in f.read() else "2k"  # the jobs are slow enough
    jobs = [w.submit("out-" + mode, "-v", "--deploy-mode", mode, "--total-executor-cores", "1", "--executor-memory", "128m",
                     "--driver-memory", "64m", "--conf", "taskd.files.maxPartitionBytes=" + piece)
            for mode in ("client", "cluster")]

    def owned(x):
        return [p for p in glob.glob(os.path.join(x.dir, "app-*", "secret"))]
    wait_for(lambda: len({p.split("/")[-2] for x in (a, b) for p in owned(x)}) == 2 or all(j.poll() is not None for j in jobs),
             30, "not both applications run")
    files = [w.path("conf/taskd/token")] + owned(a) + owned(b)
    if len(files) < 3:
        fail("the jobs were too quick: %s" % files)
    secrets = []
    for path in files:
        if os.stat(path).st_mode & 0o7777 != 0o600:
            fail("mode %o: %s" % (os.stat(path).st_mode, path))
        with open(path, "rb") as f:
            secret = f.read().strip()
        secrets += [secret] if len(secret) == 64 else [secret, secret.hex().encode()]
    seen = 0
    for pid in processes(w.mark):
        for what in ("cmdline", "environ"):
            try:
                with open("/proc/%d/%s" % (pid, what), "rb") as f:
                    text = f.read()
            except OSError:
                continue
            seen += 1
            if any(x in text for x in secrets):
                fail("a secret is in the %s of process %d" % (what, pid))
    if seen < 20:  # master, workers, client, drivers, zygotes, executors, runners: each twice
        fail("only %d were looked at" % seen)
    said = [x for j in jobs for x in w.finish(j)] + ["\n".join(x.lines()) for x in (m, a, b)]
    for d in (a.dir, b.dir):
        for path in glob.glob(d + "/*/std*"):
            with open(path, errors="replace") as f:
                said.append(f.read())
    if any(x.decode(errors="replace") in text for x in secrets for text in said):
        fail("a secret is in a log")


def case_driver(w):
    """Cluster mode: the driver runs on a worker; its exit status and output come back."""
    w.master()
    a = w.worker("a")
    job = w.submit("out", "--deploy-mode", "cluster")
    w.finish(job)
    w.same("out")
    if not a.says("driver 0 runs as process"):
        fail("no driver ran there")


def main():
    cases = {k[5:]: f for k, f in globals().items() if k.startswith("case_")}
    bad = 0
    for name in sys.argv[1:] or cases:
        began = time.monotonic()
        w = World()
        try:
            cases[name](w)
            w.end()
            print("ok   %-16s %.1f s" % (name, time.monotonic() - began), flush=True)
        except (AssertionError, subprocess.SubprocessError, OSError) as e:
            bad += 1
            print("FAIL %-16s %s" % (name, e), flush=True)
            for d in w.daemons:
                print("  -- " + d.log)
                print("".join("  " + x + "\n" for x in d.lines()[-25:]))
            for d in w.daemons:
                try:
                    d.kill()
                except AssertionError:
                    pass
            if os.environ.get("KEEP"):
                print("  kept: " + w.dir)
            else:
                shutil.rmtree(w.dir, ignore_errors=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
