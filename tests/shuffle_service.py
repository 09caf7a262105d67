#!/usr/bin/env python3
"""tests/shuffle_service.py -- `taskd shuffle` as a process, asked by a client that shares no code with it."""
import hashlib
import hmac
import os
import signal
import socket
import struct
import subprocess
import tempfile

PROGRAM = os.path.join(os.environ.get("top_builddir", "."), "taskd-shuffle")
TAIL = 2**64 - 1
checks = 0


def check(ok, what):
    global checks
    checks += 1
    if not ok:
        raise SystemExit(f"shuffle_service: failed: {what}")


def read(s, n):
    b = b""
    while len(b) < n:
        got = s.recv(n - len(b))
        if not got:
            return None
        b += got
    return b


def word(text):
    return text.ljust(32, b"\0")


class Client:
    def __init__(self, port, app, secret):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=20)
        hello = read(self.s, 40)
        check(hello[:4] == b"TDBS" and hello[4:8] == b"\1\0\0\0", "hello")
        theirs, ours, app = hello[8:], os.urandom(32), app.encode()
        mac = hmac.digest(secret, word(b"taskd bulk 1 client") + theirs + ours + app, hashlib.sha256)
        self.s.sendall(b"TDBC" + struct.pack("<II", 1, len(app)) + ours + mac + app)
        verdict = read(self.s, 40)
        self.admitted = verdict[4:8] == b"\0\0\0\0"
        want = hmac.digest(secret, word(b"taskd bulk 1 server") + theirs + ours + app, hashlib.sha256)
        check(verdict[8:] == (want if self.admitted else bytes(32)), "the server's proof")

    def get(self, name, offset, length):
        name = name.encode()
        self.s.sendall(b"TDBQ" + struct.pack("<HHQQQ", len(name), 0, 7, offset, length) + name)
        head = read(self.s, 40)
        magic, status, ident, size, at, n = struct.unpack("<4sIQQQQ", head)
        check(magic == b"TDBA" and ident == 7, "head of an answer")
        return status, size, at, read(self.s, n) if n else b""


class Service:
    def __init__(self, home, *args):
        env = {k: v for k, v in os.environ.items() if not k.startswith("TASKD_")}
        self.p = subprocess.Popen([PROGRAM, "--port", "0", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, env={**env, "HOME": home, "XDG_CONFIG_HOME": home})
        line = self.p.stdout.readline()
        self.port = int(line.split()[-1]) if line else 0

    def end(self):
        self.p.send_signal(signal.SIGTERM)
        out, err = self.p.communicate(timeout=20)
        return self.p.returncode, err


def write(path, data, mode=0o600):
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)


def one_app(tmp):
    secret, data = os.urandom(32), os.urandom(300000)
    write(f"{tmp}/s", secret.hex().encode() + b"\n")
    os.mkdir(f"{tmp}/d")
    write(f"{tmp}/d/f", data)
    s = Service(tmp, "--dir", f"{tmp}/d", "--app", "a1", "--secret-file", f"{tmp}/s")
    c = Client(s.port, "a1", secret)
    check(c.admitted, "admitted")
    check(c.get("f", 0, 10**9) == (0, len(data), 0, data), "the whole file")
    check(c.get("f", 1000, 5) == (0, len(data), 1000, data[1000:1005]), "a range")
    check(c.get("f", TAIL, 100) == (0, len(data), len(data) - 100, data[-100:]), "the tail")
    check(c.get("../s", 0, 100)[0] == 3, "a name outside")
    check(c.get("g", 0, 100)[0] == 2, "no such file")
    check(not Client(s.port, "a2", secret).admitted, "another application")
    check(not Client(s.port, "a1", os.urandom(32)).admitted, "another secret")
    check(s.end() == (0, ""), "the end")


def many_apps(tmp):
    secrets = {}
    for app in ("x", "y"):
        secrets[app] = os.urandom(32)
        os.makedirs(f"{tmp}/apps/{app}/blocks")
        write(f"{tmp}/apps/{app}/blocks/f", app.encode())
        write(f"{tmp}/apps/{app}/secret", secrets[app].hex().encode() if app == "x" else secrets[app])
    s = Service(tmp, "--apps", f"{tmp}/apps")
    x, y = (Client(s.port, app, secrets[app]) for app in ("x", "y"))
    check(x.get("f", 0, 9)[3] == b"x" and y.get("f", 0, 9)[3] == b"y", "each its own files")
    check(not Client(s.port, "x", secrets["y"]).admitted, "the secret of another one")
    os.remove(f"{tmp}/apps/x/secret")
    secrets["z"] = os.urandom(32)
    os.makedirs(f"{tmp}/apps/z/blocks")
    write(f"{tmp}/apps/z/secret", secrets["z"].hex().encode())
    s.p.send_signal(signal.SIGHUP)
    check(read(x.s, 1) is None, "an application that is gone")
    check(Client(s.port, "z", secrets["z"]).admitted, "a new application")
    check(y.get("f", 0, 9)[3] == b"y", "one that stays")
    status, err = s.end()
    check(status == 0 and "application x is gone" in err and "serves application z" in err, err)


def refusals(tmp):
    write(f"{tmp}/open", b"0" * 64, 0o644)
    write(f"{tmp}/short", b"0" * 63)
    write(f"{tmp}/good", b"0" * 64)
    for args, status, text in (
        (["--dir", tmp, "--app", "a"], 2, "what to serve is"),
        (["--nope"], 2, "is not an option"),
        (["--dir", tmp, "--app", "a", "--secret-file", f"{tmp}/open"], 3, "may be read by others"),
        (["--dir", tmp, "--app", "a", "--secret-file", f"{tmp}/short"], 3, "64 hexadecimal digits"),
        (["--dir", tmp, "--app", "a", "--secret-file", f"{tmp}/good", "--host", "0.0.0.0"], 6, "without TLS"),
    ):
        p = Service(tmp, *args).p
        err = p.communicate(timeout=20)[1]
        check(p.returncode == status and text in err, f"{args}: {p.returncode} {err}")


for test in (one_app, many_apps, refusals):
    with tempfile.TemporaryDirectory(prefix="taskd-shuffle-") as d:
        test(d)
print(f"shuffle_service: {checks} checks")
