"""What crosses hosts: tests/hosts is driver and executors in one process, each executor on a host of its own, and every
map output and result that is elsewhere comes over TCP, through a proxy that may hurt it."""
import os
import random
import re

from run import BUILD


def hosts(t, *args, options=(), status=0, timeout=120):
    """Runs a job; gives its output, (bytes served, requests, flips, cuts) and its errors."""
    words = [os.path.join(BUILD, "tests", "hosts"), *map(str, options), t.module(args[0]), *map(str, args[1:])]
    p = t.start(words)
    out, err = p.communicate(timeout=timeout)
    err = err.decode(errors="replace")
    assert p.returncode == status, "exit %s: %s" % (p.returncode, err[-3000:])
    t.nothing_left()
    m = re.search(r"hosts: served (\d+) bytes in (\d+) requests, (\d+) flips, (\d+) cuts", err)
    return out.decode(), tuple(map(int, m.groups())), err


def words(t, n=60000):
    r = random.Random(3)
    return t.file("in.txt", "".join(" ".join("w%d" % int(20000 ** r.random()) for _ in range(8)) + "\n" for _ in range(t.few(n))))


def case_hosts_same_bytes(t):
    words(t)
    for module, args in (("wordcount", ()), ("sort", ())):
        t.ok(module, "in.txt", module, master="local[4]")
        want = t.rows(module)
        for n in 2, 4:
            out = "%s-%d" % (module, n)
            _, (served, requests, flips, cuts), _ = hosts(t, module, "in.txt", out, options=("--hosts", n, "--slots", 4 // n))
            assert t.rows(out) == want, out
            assert served > 0 and flips == cuts == 0


def case_hosts_results(t):
    """What an action gives main: the same lines, wherever the results lie."""
    t.file("in.txt", "a\nb\nc\n")
    out, (served, _, _, _), err = hosts(t, "actions", "in.txt", t.path("d"), options=("--hosts", 3, "--slots", 1), status=6)
    for line in ("count 100000", "seen 100000 most 99999", "reduce 9999900000", "seen again 100000", "take 5 last 8",
                 "collect 3 first a -1", "blocks 3", "refused: "):
        assert line in out + err, line
    assert served > 0


def case_hosts_results_are_lost(t):
    """Host 0 goes with what it has, at different moments: what main has not read yet runs again."""
    t.file("in.txt", "a\nb\nc\n")
    lost = 0
    for seed in range(8):
        out, _, err = hosts(t, "actions", "in.txt", t.path("d%d" % seed), status=6,
                            options=("--hosts", 3, "--slots", 1 + seed % 2, "--lose", "--files", 1 + seed))
        for line in ("count 100000", "seen 100000 most 99999", "reduce 9999900000", "seen again 100000", "take 5 last 8",
                     "collect 3 first a -1", "blocks 3", "refused: "):
            assert line in out + err, (seed, line, out, err)
        lost += "host-0 is lost" in err
    assert lost > 0 or t.config.hostile


def case_hosts_flips_and_cuts(t):
    """A wrong bit is found before it is used, and a cut connection made again; the bytes are the same."""
    words(t)
    t.ok("wordcount", "in.txt", "want", master="local[4]")
    t.ok("sort", "in.txt", "wantsort", master="local[4]")
    want = {"wordcount": t.rows("want"), "sort": t.rows("wantsort")}
    flips = cuts = 0
    for seed in range(t.few(16) or 2):
        module = "sort" if seed % 2 else "wordcount"
        options = ["--hosts", 2 + seed % 3, "--slots", 1, "--seed", seed]
        options += ["--flip", 500000] if seed % 4 < 3 else []
        options += ["--cut", 150000] if seed % 4 > 1 else []
        out = "out%d" % seed
        _, (_, _, f, c), _ = hosts(t, module, "in.txt", out, options=options)
        assert t.rows(out) == want[module], (seed, options)
        flips += f
        cuts += c
    assert t.config.hostile or (flips >= 10 and cuts >= 10), (flips, cuts)


def case_hosts_one_is_lost(t):
    words(t)
    for module in "wordcount", "sort":
        t.ok(module, "in.txt", module, master="local[3]")
        for seed in range(3):
            out = "%s-%d" % (module, seed)
            _, _, err = hosts(t, module, "in.txt", out, options=("--hosts", 3, "--slots", 1, "--lose"))
            assert t.rows(out) == t.rows(module), out
            assert t.config.hostile or "host-0 is lost" in err


def case_hosts_runners_are_killed(t):
    """While they wait for what comes from elsewhere, too; with cut connections on top."""
    words(t)
    for module in "wordcount", "sort":
        t.ok(module, "in.txt", module, master="local[4]")
        for seed in range(4):
            out = "%s-%d" % (module, seed)
            hosts(t, module, "in.txt", out, options=("--hosts", 2, "--slots", 2, "--kill", 12, "--seed", seed, "--cut", 300000))
            assert t.rows(out) == t.rows(module), out
