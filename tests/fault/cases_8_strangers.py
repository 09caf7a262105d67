"""Who may not: every listener of a cluster with certificates, and everybody who is none of it (check C25)."""
import glob
import hashlib
import hmac
import os
import socket
import ssl
import struct
import subprocess
import time
import types

import e2e
from cluster import FaultCase, Ticks

HERE = types.SimpleNamespace(here="127.0.0.1", hosts={})
KNOCK = os.path.join(e2e.BUILD, "tests/fault/knock")
ATTEMPT_CPU_S, ATTEMPT_RSS = 0.010, 1 << 20  # what one of them may cost a listener


def listeners(pid):
    """TCP ports on which a process listens."""
    inodes = set()
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            inodes.add(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
        except OSError:
            pass
    rows = []
    for name in "tcp", "tcp6":
        with open("/proc/%d/net/%s" % (pid, name)) as f:
            rows += [line.split() for line in f.read().splitlines()[1:]]
    return sorted(int(r[1].split(":")[1], 16) for r in rows if r[3] == "0A" and "socket:[%s]" % r[9] in inodes)


def cost(pid):
    """(CPU seconds, bytes) of a process."""
    with open("/proc/%d/stat" % pid) as f:
        v = f.read().rsplit(")", 1)[1].split()
    return (int(v[11]) + int(v[12])) / os.sysconf("SC_CLK_TCK"), int(v[21]) * os.sysconf("SC_PAGE_SIZE")


def context(cert=None):
    x = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    x.check_hostname = False
    x.verify_mode = ssl.CERT_NONE
    x.set_alpn_protocols(["h2"])
    if cert:
        x.load_cert_chain(cert + "/node.pem", cert + "/node.key")
    return x


def first_words(port, cert, taken=None):
    """What a TLS client hears first: (bytes, what it was agreed to speak).  b"": it was refused.  taken: gets all that the
    client sent."""
    inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context(cert).wrap_bio(inside, outside, server_side=False)
    with socket.create_connection(("127.0.0.1", port), timeout=3) as s:
        while True:
            try:
                try:
                    tls.do_handshake()
                    heard = tls.read(4096)
                    return heard, tls.selected_alpn_protocol()
                finally:
                    out = outside.read()
                    if taken is not None:
                        taken.append(out)
                    s.sendall(out)
            except ssl.SSLWantReadError:
                data = s.recv(65536)
                if not data:
                    return b"", None
                inside.write(data)
            except (ssl.SSLError, ConnectionError):
                return b"", None


def turned_away(port, data):
    """Whether these bytes have no other answer than a handshake or an alert of TLS, and the end."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
        try:
            s.sendall(data)
            while True:
                more = s.recv(4096)
                if not more:
                    break
                heard += more
        except ConnectionError:
            pass
        except TimeoutError:
            return False
    return not heard or heard[0] in (0x15, 0x16)


def bulk(port, cert, app, secret, replayed=None):
    """Asks a bulk server to be let in; gives (let in?, what was said)."""
    with context(cert).wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=3)) as s:
        def read(n):
            b = b""
            while len(b) < n:
                got = s.recv(n - len(b))
                if not got:
                    return b
                b += got
            return b
        theirs, ours = read(40)[8:], os.urandom(32)
        mac = hmac.digest(secret, b"taskd bulk 1 client".ljust(32, b"\0") + theirs + ours + app.encode(), hashlib.sha256)
        said = replayed or b"TDBC" + struct.pack("<II", 1, len(app)) + ours + mac + app.encode()
        s.sendall(said)
        return read(40)[4:8] == bytes(4), said


def knock(port, cert, role, token):
    p = subprocess.run([KNOCK, "127.0.0.1:%d" % port, cert or "-", role, token], capture_output=True, text=True, timeout=20)
    assert p.returncode == 0, p.stderr
    return p.stdout.strip()


class Strangers:
    """Certificates that are no good: of another CA, and one that is over."""

    def __init__(self, t):
        def taskd(*words):
            subprocess.run([os.path.join(e2e.BUILD, "taskd"), "cert", *words], check=True, capture_output=True,
                           env=t.environment())

        def openssl(*words):
            subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=self.expired)
        self.good = t.path("tls/127.0.0.1")
        taskd("init", "--dir", t.path("other"))
        taskd("issue", "--host", "127.0.0.1", "--dir", t.path("other"))
        self.other = t.path("other/127.0.0.1")
        self.expired = t.path("expired")
        os.mkdir(self.expired)
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "node.key")
        openssl("req", "-new", "-key", "node.key", "-subj", "/CN=old", "-out", "old.csr")
        openssl("x509", "-req", "-in", "old.csr", "-CA", t.path("tls/ca.pem"), "-CAkey", t.path("tls/ca.key"), "-days", "-1",
                "-out", "node.pem")
        os.link(self.good + "/ca.pem", self.expired + "/ca.pem")
        os.chmod(self.expired + "/node.key", 0o600)


def attempts(s, port, control, who, secrets):
    """(what, how to try it: true if it was refused) for one listener."""
    app, mine, others = secrets
    yield "plaintext", lambda: turned_away(port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
    yield "no certificate", lambda: not first_words(port, None)[0]
    yield "another CA", lambda: not first_words(port, s.other)[0]
    yield "expired", lambda: not first_words(port, s.expired)[0]
    taken = []
    first_words(port, s.good, taken)
    yield "replay of a connection", lambda: turned_away(port, b"".join(taken))
    if not control:
        yield "bad secret", lambda: not bulk(port, s.good, app, os.urandom(32))[0]
        yield "another application's secret", lambda: not bulk(port, s.good, app, others)[0]
        yield "replay of a proof", lambda: not bulk(port, s.good, app, mine, bulk(port, s.good, app, mine)[1])[0]
        return
    roles = ("client", "driver", "worker", "executor") if who == "master" else ("executor", "client", "worker")
    for role in roles:
        yield "plaintext " + role, lambda role=role: knock(port, None, role, mine.hex()).startswith("lost")
        yield "bad token of a " + role, lambda role=role: knock(port, s.good, role, "00" * 32).startswith("refused")
        yield "another application's secret of a " + role, lambda role=role: knock(port, s.good, role,
                                                                                   others.hex()).startswith("refused")
        if who == "master" or role != "executor":
            yield "an executor's secret of a " + role, lambda role=role: knock(port, s.good, role,
                                                                               mine.hex()).startswith("refused")


def case_strangers(t: FaultCase):
    c = t.cluster(tls=t.certificates(HERE), cores=2)
    text = t.text(4 << 20)
    t.reference("words", 60000, text)
    jobs = [c.job("work", "words", 150000, text, t.path("out-%d" % i), opts=["--total-executor-cores", "2"]) for i in range(2)]
    secrets = {}
    for _ in Ticks(t.random, 0.05, 0.05, lambda: len(secrets) < 2):
        assert all(j.running() for j in jobs), jobs[0].text() + jobs[1].text()
        for path in glob.glob(t.path("worker-*/app-*/secret")):
            with open(path, "rb") as f:
                secrets[path.split("/")[-2]] = f.read()
    s = Strangers(t)
    processes = [("master", c.master.pid)] + [("worker", w.pid) for w in c.workers] + [("driver", j.p.pid) for j in jobs]
    refused, tried, bad, places = 0, 0, [], 0
    before = t.verb(c, "list", "--json")[1].count('"state"')
    for who, pid in processes:
        ports = {}
        for port in listeners(pid):
            heard, _ = first_words(port, s.good)
            assert heard, "%s: whoever may is not let in at port %d" % (who, port)
            ports[port] = heard[:4] != b"TDBS"
        served = [a for a in secrets for p in ports if not ports[p] and bulk(p, s.good, a, secrets[a])[0]]
        app = served[0] if served else min(secrets)
        mine, others = secrets[app], next(secrets[a] for a in secrets if a != app)
        for port, control in ports.items():
            places += 1
            cpu, rss = cost(pid)
            began, n = time.monotonic(), 0
            for what, attempt in attempts(s, port, control, who, (app, mine, others)):
                tried += 1
                n += 1
                if attempt():
                    refused += 1
                else:
                    bad.append("%s of %s port %d was let in" % (what, who, port))
            after = cost(pid)
            if who != "driver":  # a driver works meanwhile
                assert (after[0] - cpu) / n <= ATTEMPT_CPU_S, "%s: %.1f ms of CPU an attempt" % (who, (after[0] - cpu) / n * 1e3)
            assert (after[1] - rss) / n <= ATTEMPT_RSS, "%s: %d bytes an attempt" % (who, (after[1] - rss) / n)
    print("  %d of %d refused, %d listeners" % (refused, tried, places))
    assert not bad, "\n".join(bad)
    assert t.verb(c, "list", "--json")[1].count('"state"') == before, "something was accepted"
    for i, j in enumerate(jobs):
        assert j.wait() == 0, j.text()
        t.check("out-%d" % i, j.text(), "words", 60000, text)
