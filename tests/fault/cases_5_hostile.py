"""Bad code on a cluster: what tests/e2e/cases_4_hostile.py shows of local masters holds there, too (check C7)."""
import importlib
import os
import shutil
import sys

import e2e
from cluster import FaultCase

# They look into the scratch folder of the submitter, or at its standard output, where executors of a worker have their own.
LOCAL_ONLY = ("map_outputs_vanish", "noise")
# The eighteen kinds of C7, and the case for each.
KINDS = {
    "abort": "abort", "exit": "exit", "_exit": "underscore_exit", "longjmp": "longjmp", "stack overflow": "stack_overflow",
    "SIGKILL of itself": "sigkill", "SIGFPE": "fpe", "SIGILL": "ill", "heap overrun": "heap_overrun",
    "double free": "double_free", "all descriptors closed": "closes_descriptors",
    "chdir, umask, locale": "moves_house", "sigaction": "signal_handlers_taken", "crash at exit": "crash_at_exit",
    "stray thread": "stray_thread", "crashing constructor": "crash_while_loading",
    "1 GB to stdout": "gigabyte_of_output", "a length that is none": "bad_length",
}


def try_all(t, hostile, master, names):
    """Gives (contained, skipped, what went wrong) of these cases with this master."""
    good, skipped, bad = [], [], []
    before, hostile.MASTERS = hostile.MASTERS, (master,)
    try:
        for name in names:
            try:
                getattr(hostile, "case_" + name)(t)
                good.append(name)
            except e2e.Skip:
                skipped.append(name)
            except AssertionError as e:
                bad.append("%s with %s: %s" % (name, master, str(e)[:1500]))
            finally:
                for entry in os.listdir(t.dir):
                    if entry.startswith(("once", "for-ever", "out", "loud")) or "-out" in entry:
                        path = t.path(entry)
                        shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.unlink(path)
    finally:
        hostile.MASTERS = before
    return good, skipped, bad


def case_hostile_modules(t: FaultCase):
    sys.path.append(e2e.HERE)
    hostile = importlib.import_module("cases_4_hostile")
    good, skipped, bad = try_all(t, hostile, "local[2]", KINDS.values())
    c = t.cluster()
    names = [n[5:] for n in sorted(vars(hostile)) if n.startswith("case_") and n[5:] not in LOCAL_ONLY]
    there, skipped_there, bad_there = try_all(t, hostile, c.url, names)
    for w in c.workers:
        assert w.process.poll() is None, "a worker died of a module"
    eighteen = len(good) + sum(n in there for n in KINDS.values())
    print("  %d of %d hostile modules contained (%d kinds, local and standalone), %d of %d others, %d can't be tried in this build"
          % (eighteen, 2 * len(KINDS), len(KINDS), len([n for n in there if n not in KINDS.values()]),
             len([n for n in names if n not in KINDS.values() and n not in skipped_there]), len(skipped) + len(skipped_there)))
    assert not bad + bad_there, "\n".join(bad + bad_there)
