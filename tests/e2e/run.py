#!/usr/bin/env python3
"""Whole jobs from end to end: taskd-submit as a user calls it, on real files, with good and with hostile modules.

    tests/e2e/run.py                all cases        tests/e2e/run.py -l         their names
    tests/e2e/run.py grep 'crash_*' some of them     tests/e2e/run.py -k ...     keep the folders

Each case is a function case_* in cases_*.py; it gets a Case and asserts.  It runs in a folder of its own, and when
it is over there must be no process, no scratch file and no shared memory of its jobs left: that is part of
every case.  Expected results are computed here in Python, independently of taskd.

Environment: top_srcdir, top_builddir (set by `make check`).
"""
import ctypes
import fnmatch
import glob
import importlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
SRC = os.path.abspath(os.environ.get("top_srcdir", os.path.join(HERE, "..", "..")))
BUILD = os.path.abspath(os.environ.get("top_builddir", os.path.join(SRC, "build")))
LEFT_BEHIND_S = 2.0  # how long after the submitter's end its last process may live
PR_SET_CHILD_SUBREAPER = 36


class Skip(Exception):
    """Raised by a case that can't run here; the text says why."""


class Result:
    """What one taskd-submit did."""

    def __init__(self, status, out, err, summary, seconds):
        self.status, self.out, self.err, self.summary, self.seconds = status, out, err, summary, seconds

    def __str__(self):
        return "exit %s\n--- stdout\n%s\n--- stderr\n%s" % (self.status, self.out[-3000:], self.err[-3000:])


class Config:
    """How this tree was built."""

    def __init__(self):
        with open(os.path.join(BUILD, "config.h")) as f:
            text = f.read()
        self.hostile = "#define TASKD_HOSTILE 1" in text
        with open(os.path.join(BUILD, "config.status")) as f:
            flags = f.read()
        self.asan, self.tsan = "-fsanitize=address" in flags, "-fsanitize=thread" in flags
        self.sanitized = self.asan or self.tsan


class Case:
    """One case: a folder, and ways to run jobs in it."""

    def __init__(self, name, config):
        self.name, self.config = name, config
        self.dir = tempfile.mkdtemp(prefix="taskd-e2e-")
        self.scratch = os.path.join(self.dir, "scratch")
        os.mkdir(self.scratch)
        os.chmod(self.dir, 0o755)
        self.shm = set(os.listdir("/dev/shm"))
        self.runs = 0

    def few(self, n):
        """n, but less in a hostile build, where nearly each row is a spill of its own."""
        return n // 20 if self.config.hostile else n

    def path(self, name):
        return os.path.join(self.dir, name)

    def file(self, name, data):
        """Writes a file (bytes or str) and gives its path."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())
        return path

    def module(self, name):
        """A module of examples/ or tests/e2e/modules/."""
        for d in ("examples", "tests/e2e/modules", "tests/modules", "tests/fault/modules"):
            path = os.path.join(BUILD, d, name + ".so")
            if os.path.exists(path):
                return path
        raise AssertionError("there is no module " + name)

    def command(self, module, *args, master="local[2]", conf=(), opts=(), summary=None):
        """The words of a taskd-submit line; module is a name or a path."""
        words = [os.path.join(BUILD, "taskd-submit"), "--master", master]
        for c in conf:
            words += ["--conf", c]
        if summary:
            words += ["--summary", summary]
        words += list(opts)
        words.append(module if "/" in module else self.module(module))
        return words + [str(a) for a in args]

    def environment(self, env=None):
        e = dict(os.environ, TASKD_LIBEXEC=BUILD, TASKD_LOCAL_DIR=self.scratch, HOME=self.dir, TMPDIR=self.scratch)
        e.pop("XDG_CONFIG_HOME", None)
        e.update(env or {})
        return e

    def start(self, words, env=None, **kw):
        return subprocess.Popen(words, cwd=self.dir, env=self.environment(env), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)

    def run(self, module, *args, timeout=120, env=None, wrap=(), **kw):
        """Runs a job to its end and checks that nothing of it is left."""
        self.runs += 1
        summary = self.path("summary-%d.json" % self.runs)
        words = list(wrap) + self.command(module, *args, summary=summary, **kw)
        began = time.monotonic()
        p = self.start(words, env)
        try:
            out, err = p.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGTERM)
            try:
                out, err = p.communicate(timeout=5)
            except subprocess.TimeoutExpired:
                p.kill()
                out, err = p.communicate()
            r = Result("none after %d s" % timeout, out.decode(errors="replace"), err.decode(errors="replace"), None, timeout)
            raise AssertionError("the job did not end: %s\n%s" % (" ".join(words), r))
        seconds = time.monotonic() - began
        parsed = None
        if os.path.exists(summary):
            with open(summary) as f:
                parsed = json.load(f)
        r = Result(p.returncode, out.decode(errors="replace"), err.decode(errors="replace"), parsed, seconds)
        self.nothing_left()
        return r

    def ok(self, *args, **kw):
        r = self.run(*args, **kw)
        assert r.status == 0, "the job failed: %s" % r
        return r

    def fails(self, status, words, *args, **kw):
        """The job ends with this exit status and says all the words on standard error."""
        r = self.run(*args, **kw)
        assert r.status == status, "not exit %d: %s" % (status, r)
        for w in [words] if isinstance(words, str) else words:
            assert w in r.err, "does not say %r: %s" % (w, r)
        return r

    def rows(self, output):
        """The lines of a saved output, in the order of its parts."""
        assert os.path.exists(self.path(output) + "/_SUCCESS"), "no _SUCCESS in " + output
        names = sorted(os.listdir(self.path(output)))
        odd = [n for n in names if not (n == "_SUCCESS" or n.startswith("part-"))]
        assert not odd, "%s holds %s" % (output, odd)
        lines = []
        for n in names:
            if n.startswith("part-"):
                with open(os.path.join(self.path(output), n), "rb") as f:
                    data = f.read()
                assert not data or data.endswith(b"\n"), "%s/%s has no final newline" % (output, n)
                lines += data.split(b"\n")[:-1]
        return lines

    def no_output(self, output):
        """A job that failed leaves nothing that could be taken for a result."""
        left = []
        for d, _, files in os.walk(self.path(output)):
            left += [os.path.join(d, f) for f in files]
        assert not left, "a failed job left %s" % left[:5]

    def close(self):
        """Ends what the case started; before the look at what is left."""

    def nothing_left(self, within=LEFT_BEHIND_S):
        """No process, scratch file or shared memory of this case is there."""
        end = time.monotonic() + within
        for pid in children():
            wait_gone(pid, end)
        left = ["%d %s" % (pid, comm(pid)) for pid in children()]
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        assert not left, "processes are left behind: %s" % left
        files = [os.path.join(d, f) for d, dirs, fs in os.walk(self.scratch) for f in fs + dirs]
        assert not files, "scratch files are left behind: %s" % files[:5]
        shm = set(os.listdir("/dev/shm")) - self.shm
        assert not [n for n in shm if n.startswith("taskd") and not n.startswith("taskd-fuzz")], "shared memory is left behind: %s" % shm


def comm(pid):
    try:
        with open("/proc/%d/comm" % pid) as f:
            return f.read().strip()
    except OSError:
        return "?"


def children():
    """Live children of this process; orphans of jobs become its children (subreaper).  Dead ones are reaped."""
    pids = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open("/proc/self/task/%s/children" % task) as f:
                pids += [int(p) for p in f.read().split()]
        except OSError:
            pass  # the thread has ended
    alive = []
    for pid in pids:
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                alive.append(pid)
        except ChildProcessError:
            pass
    return alive


def wait_gone(pid, end):
    try:
        fd = os.pidfd_open(pid)
    except (ProcessLookupError, AttributeError):
        return
    try:
        select.select([fd], [], [], max(0, end - time.monotonic()))
    finally:
        os.close(fd)


def find_cases(folder):
    sys.path.insert(0, folder)
    sys.dont_write_bytecode = True
    cases = []
    for path in sorted(glob.glob(os.path.join(folder, "cases_*.py"))):
        m = importlib.import_module(os.path.basename(path)[:-3])
        cases += [(n[5:], f) for n, f in vars(m).items() if n.startswith("case_") and callable(f)]
    return cases


def run_case(name, function, config, keep, kind):
    """Runs one case; returns PASS, SKIP or FAIL and why."""
    t = kind(name, config)
    began = time.monotonic()
    try:
        try:
            function(t)
        finally:
            t.close()
        t.nothing_left()
        verdict, why = "PASS", ""
    except Skip as e:
        verdict, why = "SKIP", str(e)
    except AssertionError as e:
        verdict, why = "FAIL", str(e) or traceback.format_exc()
    except Exception:  # a broken case is a failed case
        verdict, why = "FAIL", traceback.format_exc()
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    if keep:
        why += " (%s)" % t.dir
    else:
        subprocess.run(["chmod", "-R", "u+rwX", t.dir], stderr=subprocess.DEVNULL)
        shutil.rmtree(t.dir, ignore_errors=True)
    print("%s: %s (%.2f s)%s" % (verdict, name, time.monotonic() - began, ": " + why if why else ""), flush=True)
    return verdict


def main(argv, folder=HERE, kind=Case):
    cases = find_cases(folder)
    keep = "-k" in argv
    wanted = [a for a in argv if a not in ("-k", "-l")]
    if "-l" in argv:
        print("\n".join(n for n, _ in cases))
        return 0
    unknown = [w for w in wanted if not fnmatch.filter([n for n, _ in cases], w)]
    if unknown:
        print("no case is named %s; -l lists them" % ", ".join(unknown), file=sys.stderr)
        return 2
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a case ends what it started
    config = Config()
    count = {"PASS": 0, "SKIP": 0, "FAIL": 0}
    for name, function in cases:
        if not wanted or any(fnmatch.fnmatchcase(name, w) for w in wanted):
            count[run_case(name, function, config, keep, kind)] += 1
    print("%(PASS)d passed, %(SKIP)d skipped, %(FAIL)d failed" % count)
    return 1 if count["FAIL"] or not count["PASS"] else 0


if __name__ == "__main__":
    sys.modules["run"] = sys.modules["__main__"]
    sys.exit(main(sys.argv[1:]))
