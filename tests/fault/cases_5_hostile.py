"""Bad code on a cluster: what tests/e2e/cases_4_hostile.py shows of local masters holds there, too (check C7)."""
import importlib
import os
import shutil
import sys

import e2e
from cluster import FaultCase

# They look into the scratch folder of the submitter, or at its standard output, where executors of a worker have their own.
LOCAL_ONLY = ("map_outputs_vanish", "noise")


def case_hostile_modules(t: FaultCase):
    sys.path.append(e2e.HERE)
    hostile = importlib.import_module("cases_4_hostile")
    c = t.cluster()
    before, hostile.MASTERS = hostile.MASTERS, (c.url,)
    good, bad = [], []
    try:
        for name, function in sorted(vars(hostile).items()):
            if not name.startswith("case_") or name[5:] in LOCAL_ONLY:
                continue
            try:
                function(t)
                good.append(name[5:])
            except e2e.Skip:
                continue
            except AssertionError as e:
                bad.append("%s: %s" % (name[5:], str(e)[:1500]))
            finally:
                for entry in os.listdir(t.dir):
                    if entry.startswith(("once", "for-ever", "out")):
                        path = t.path(entry)
                        shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.unlink(path)
    finally:
        hostile.MASTERS = before
    for w in c.workers:
        assert w.process.poll() is None, "a worker died of a module"
    print("  %d of %d contained" % (len(good), len(good) + len(bad)))
    assert not bad, "\n".join(bad)
