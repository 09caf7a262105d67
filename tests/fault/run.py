#!/usr/bin/env python3
"""What happens when things die: clusters of real processes, harmed while they work.

    tests/fault/run.py              the short form of all cases (part of `make check`)
    tests/fault/run.py -l           their names          tests/fault/run.py 'soak*' ... -k    some of them, folders kept
    FAULT_LONG=1 tests/fault/run.py the long form: all kinds, and as often as their figures ask for
    FAULT_SEED=7 ...                another schedule of failures

Each counts what it did: `FAULT_LONG=1 tests/fault/run.py soak` ends with how many of 200 jobs were identical, who was
killed, and by how much the accumulators were wrong.

A case's result is compared byte for byte with that of local[1], accumulators included; afterwards there must be no
process, port, shared memory or file of it.  cluster.py is the cluster, proxy.py and netns.py are the bad network.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[0] = os.path.join(HERE, "..", "e2e")  # not this folder: there is a run.py in both
import run as e2e  # noqa: E402
sys.modules["e2e"] = e2e
sys.path[0] = HERE
import cluster  # noqa: E402

if __name__ == "__main__":
    sys.exit(e2e.main(sys.argv[1:], HERE, cluster.FaultCase))
