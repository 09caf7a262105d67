"""Hosts as network namespaces: a bridge and one veth pair a host, for partitions that are real to TCP.

    with Net(["a", "b", "c"]) as net:      10.77.N.1 is this side, .11 .12 .13 the hosts
        net.run("a", ["prog", ...])        words to start a program there (prefix for Popen)
        net.down("b"); net.up("b")         its cable is pulled, and put back
        net.lose("b", "c")                 b's packets to c go nowhere, c's to b arrive: one way
        net.lose("b", "here")              the same, b's packets to this side
        net.part("b", "c")                 both ways
        net.heal()                         all of that is over
        net.slow("b", "256kbit")           tbf on its cable

Needs root and iproute2; Net.possible() says whether it can work here.
"""
import os
import subprocess

PREFIX = "10.77.%d." % (os.getpid() % 251)  # two of them at once don't share one


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True)


class Net:
    @staticmethod
    def possible():
        if os.geteuid() != 0:
            return False
        name = "tdprobe%d" % os.getpid()
        try:
            ok = ip("netns", "add", name, check=False).returncode == 0
        except FileNotFoundError:
            return False
        ip("netns", "del", name, check=False)
        return ok

    def __init__(self, names):
        self.tag = "td%x" % (os.getpid() & 0xffff)
        self.bridge = self.tag + "br"
        self.hosts = {n: PREFIX + str(11 + i) for i, n in enumerate(names)}
        self.here = PREFIX + "1"

    def __enter__(self):
        try:
            ip("link", "add", self.bridge, "type", "bridge")
            ip("addr", "add", self.here + "/24", "dev", self.bridge)
            ip("link", "set", self.bridge, "up")
            for n, address in self.hosts.items():
                ns, out, inside = self.ns(n), self.cable(n), self.tag + n + "i"
                ip("netns", "add", ns)
                ip("link", "add", out, "type", "veth", "peer", "name", inside)
                ip("link", "set", inside, "netns", ns)
                ip("link", "set", out, "master", self.bridge, "up")
                ip("-n", ns, "addr", "add", address + "/24", "dev", inside)
                ip("-n", ns, "link", "set", inside, "up")
                ip("-n", ns, "link", "set", "lo", "up")
        except subprocess.CalledProcessError as e:
            self.__exit__()
            raise RuntimeError("%s: %s" % (" ".join(e.cmd), e.stderr)) from e
        return self

    def __exit__(self, *_):
        self.heal()
        for n in self.hosts:
            ip("link", "del", self.cable(n), check=False)
            ip("netns", "del", self.ns(n), check=False)
        ip("link", "del", self.bridge, check=False)

    def ns(self, name):
        return self.tag + name

    def cable(self, name):
        return self.tag + name + "o"

    def run(self, name, words):
        return ["ip", "netns", "exec", self.ns(name), *words]

    def down(self, name):
        ip("link", "set", self.cable(name), "down")

    def up(self, name):
        ip("link", "set", self.cable(name), "up")

    def address(self, name):
        return self.here if name == "here" else self.hosts[name]

    def route(self, name, verb, other, check=True):
        where = [] if name == "here" else ["-n", self.ns(name)]
        ip(*where, "route", verb, "blackhole", self.address(other) + "/32", check=check)

    def lose(self, name, other):
        self.route(name, "add", other)

    def part(self, name, other):
        self.lose(name, other)
        self.lose(other, name)

    def heal(self):
        names = ["here", *self.hosts]
        for name in names:
            for other in names:
                if other != name:
                    self.route(name, "del", other, check=False)

    def slow(self, name, rate):
        subprocess.run(["tc", "qdisc", "replace", "dev", self.cable(name), "root", "tbf", "rate", rate, "burst", "32kb",
                        "latency", "400ms"], check=True, capture_output=True)
