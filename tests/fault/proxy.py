"""A TCP proxy that harms: what lies between two processes when a network is bad.

    p = Proxy(("127.0.0.1", 7077))      listens on 127.0.0.1:p.port, forwards there
    p.delay = 0.05                      each piece waits so long, plus up to p.jitter
    p.loss = 0.01                       each piece is lost with this probability and sent again later, as TCP does:
                                        200 ms, doubled each time (what is behind it waits, too)
    p.flip = 1e-6                       each byte has one bit turned with this probability
    p.duplicate = 0.01                  each piece is passed on twice (a broken middle box)
    p.stop("up") / p.stop()             one way, or both: nothing passes, nothing is closed ...
    p.go()                              ... until now: what TCP would have sent again arrives
    p.heal()                            nothing of all that any more
    p.cut()                             all connections are reset
    p.refuse = True                     new connections are reset

Connections have their own queues, so with jitter they overtake each other: that is reordering as TCP can have it.
Everything random comes from the seed.  One thread; close() ends it.
"""
import heapq
import random
import selectors
import socket
import struct
import threading
import time

PIECE = 65536


class Flow:
    """One direction of one connection."""

    def __init__(self, name, source, target):
        self.name, self.source, self.target = name, source, target
        self.out = bytearray()  # due, waits for room in the socket
        self.waiting = 0        # pieces that are not due yet
        self.last_due = 0.0     # order is kept
        self.held = []          # while its way is down
        self.closing = False    # the source said its last
        self.ended = False


class Proxy:
    def __init__(self, target, seed=1, host="127.0.0.1"):
        self.target = target
        self.random = random.Random(seed)
        self.delay = self.jitter = self.loss = self.flip = self.duplicate = 0.0
        self.drop = set()
        self.refuse = False
        self.passed = {"up": 0, "down": 0}
        self.harmed = 0
        self.listener = socket.create_server((host, 0))
        self.host, self.port = host, self.listener.getsockname()[1]
        self.wake_r, self.wake_w = socket.socketpair()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        self.selector.register(self.wake_r, selectors.EVENT_READ, self._woken)
        self.pairs = {}  # socket -> its two flows
        self.due = []    # (time, number, flow, bytes)
        self.number = 0
        self.calls = []
        self.running = True
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def address(self):
        return "%s:%d" % (self.host, self.port)

    # ---- from other threads

    def stop(self, *ways):
        self.drop = set(ways or ("up", "down"))

    def go(self):
        self.drop = set()
        self._call(self._release)

    def heal(self):
        self.delay = self.jitter = self.loss = self.flip = self.duplicate = 0.0
        self.go()

    def cut(self):
        self._call(self._cut)

    def close(self):
        self._call(self._end)
        self.thread.join()

    def _call(self, what):
        done = threading.Event()
        self.calls.append((what, done))
        self.wake_w.send(b"x")
        done.wait(10)

    # ---- in the proxy's thread

    def _woken(self, _):
        self.wake_r.recv(1000)
        while self.calls:
            what, done = self.calls.pop(0)
            what()
            done.set()

    def _end(self):
        self._cut()
        self.running = False

    def _cut(self):
        for s in list(self.pairs):
            self._reset(s)

    @staticmethod
    def _linger(s):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _reset(self, s):
        flows = self.pairs.get(s)
        if not flows:
            return
        for x in (flows[0].source, flows[0].target):
            if self.pairs.pop(x, None):
                self.selector.unregister(x)
                self._linger(x)
                x.close()
        for f in flows:
            f.ended = True

    def _release(self):
        for s, flows in list(self.pairs.items()):
            for f in flows:
                held, f.held = f.held, []
                for data in held:
                    self._later(f, self._harm(data))

    def _accept(self, _):
        a, _ = self.listener.accept()
        if self.refuse:
            self._linger(a)
            a.close()
            return
        b = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            b.connect(self.target)
        except OSError:
            self._linger(a)
            a.close()
            b.close()
            return
        for s in (a, b):
            s.setblocking(False)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        flows = (Flow("up", a, b), Flow("down", b, a))
        for s in (a, b):
            self.pairs[s] = flows
            self.selector.register(s, selectors.EVENT_READ, self._ready)

    def _ready(self, key, mask=selectors.EVENT_READ):
        s = key.fileobj
        flows = self.pairs.get(s)
        if not flows:
            return
        reading, writing = (flows[0], flows[1]) if flows[0].source is s else (flows[1], flows[0])
        if mask & selectors.EVENT_WRITE:
            self._write(writing)
        if s in self.pairs and mask & selectors.EVENT_READ:
            self._read(reading)

    def _read(self, flow):
        try:
            data = flow.source.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            self._reset(flow.source)
            return
        if not data:
            if flow.held:
                flow.held = []
                self._reset(flow.source)
            else:
                self._later(flow, None)
        elif flow.name in self.drop or flow.held:
            self.harmed += 1
            flow.held.append(data)
        else:
            self._later(flow, self._harm(data))

    def _harm(self, data):
        if self.flip:
            data = bytearray(data)
            at = int(self.random.expovariate(self.flip))  # bytes until the next one
            while at < len(data):
                data[at] ^= 1 << self.random.randrange(8)
                self.harmed += 1
                at += 1 + int(self.random.expovariate(self.flip))
        if self.duplicate and self.random.random() < self.duplicate:
            self.harmed += 1
            data = bytes(data) * 2
        return bytes(data)

    def _later(self, flow, data):
        wait = self.delay + self.jitter * self.random.random()
        again = 0.2
        while data and self.loss and self.random.random() < self.loss:
            wait += again
            again *= 2
            self.harmed += 1
        due = max(time.monotonic() + wait, flow.last_due)
        flow.last_due = due
        flow.waiting += 1
        self.number += 1
        heapq.heappush(self.due, (due, self.number, flow, data))

    def _write(self, flow):
        try:
            while flow.out:
                n = flow.target.send(flow.out[:PIECE])
                self.passed[flow.name] += n
                del flow.out[:n]
        except BlockingIOError:
            pass
        except OSError:
            self._reset(flow.source)
            return
        if flow.closing and not flow.out:
            self._finish(flow)
        elif flow.target in self.pairs:
            want = selectors.EVENT_READ | (selectors.EVENT_WRITE if flow.out else 0)
            self.selector.modify(flow.target, want, self._ready)

    def _deliver(self):
        now = time.monotonic()
        while self.due and self.due[0][0] <= now:
            _, _, flow, data = heapq.heappop(self.due)
            flow.waiting -= 1
            if flow.ended:
                continue
            if data is None:
                flow.closing = True
            else:
                flow.out += data
            self._write(flow)

    def _finish(self, flow):
        """One side closed: neither gRPC nor the bulk protocol says anything more to it, so the pair is over."""
        for x in (flow.source, flow.target):
            if self.pairs.pop(x, None):
                self.selector.unregister(x)
                x.close()
        flow.ended = True

    def _run(self):
        while self.running:
            wait = max(0.0, self.due[0][0] - time.monotonic()) if self.due else None
            for key, mask in self.selector.select(wait):
                if key.data is self._ready:
                    self._ready(key, mask)
                else:
                    key.data(key)
            self._deliver()
        self.listener.close()
        self.selector.close()
        self.wake_r.close()
        self.wake_w.close()
