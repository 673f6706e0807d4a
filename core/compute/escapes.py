"""Runs the attempts of attempts.py at one level and says, from outside, which were stopped.

    intern doctor --escape

`not_stopped` is what each level is known not to stop; tests run every attempt and hold the list to the truth.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import psutil

from core.compute.attempts import ATTEMPTS, Attempt
from core.compute.confinement import OUTLET_INSIDE, PROXY_PORT, ROOT, Confinement, Level, Limits, command, environment
from core.compute.doors import Door
from core.compute.held import Held, network_at, ports_of
from core.compute.outlet import Outlet

LIMITS = Limits(seconds=12.0, memory_bytes=384 << 20, disk_bytes=64 << 20, processes=64)
LIMIT_TESTED_S = 3.0
"""Attempts that never end get so little time."""

PATIENCE_S = 60.0
"""A guard that is starved of its core by other programs is late, not absent: attempts at time go on for so long."""

PRELUDE = (
    "import ctypes, json, os, socket, subprocess, sys, time\n"
    "libc = ctypes.CDLL(None, use_errno=True)\ns = json.load(open('scene.json'))\n"
)

_LIMITS_STOP = {a.name for a in ATTEMPTS if a.goal == "used"} | {
    "a token in its own environment", "inherited file descriptors", "a daemon that outlives the command",
    "bind mount the home", "chroot and out of it", "a token that the proxy adds",
}  # fmt: skip
"""What limits, a clean environment and dropped rights stop by themselves."""

_NEW_NAMESPACE = "rights in a user namespace of its own"

_WHERE_WRITABLE = {
    "plant a module beside the interpreter's": sysconfig.get_path("purelib"),
    "change the program's own code": str(ROOT / "core"),
}

_PRIORITY = "change another process's priority"
_NOT_BY_RIGHTS = {
    "join the namespaces of another process",
    "read through /proc/PID/root", "read through /proc/PID/cwd", "read through /proc/1/root", "read through the parent's root",
    "an open file of another process", "the environment of another process", "the environment of every process",
    "the memory of another process", "process_vm_readv", "steal a descriptor (pidfd_getfd)", "write through /proc/PID/root",
    "write through /proc/PID/cwd", "kill by tracing (ptrace)", _PRIORITY, "take another process's cores",
}  # fmt: skip
"""Open to a process of the same user. Where the intern runs as root, its other processes hold rights that the confined
one has lost, and the kernel says no."""


def not_stopped(level: Level, *, root: bool = os.geteuid() == 0) -> frozenset[str]:
    """What is known to get out at a level, on a kernel with Landlock 6 or newer."""
    if level == "bubblewrap":
        return frozenset()
    if level == "landlock":
        out = {
            "open a file outside to all (chmod)", "date a file outside back (utime)", "UDP to a service of this machine",
            "the Unix socket of a run's host", _NEW_NAMESPACE, "another host on an open port",
            "an open name that leads to this machine", "UDP past the proxy (a DNS tunnel)",
        }  # fmt: skip
        return frozenset(out if root else out | {_PRIORITY, "take another process's cores"} - _lowest())
    out = {a.name for a in ATTEMPTS} - _LIMITS_STOP | {_NEW_NAMESPACE}
    out -= {name for name, folder in _WHERE_WRITABLE.items() if not os.access(folder, os.W_OK)}
    return frozenset(
        out - _NOT_BY_RIGHTS
        if root
        else out - {"read through /proc/1/root", "read through the parent's root"} - _lowest()
    )


def _lowest() -> set[str]:
    """Where all of this runs at the lowest priority already (nice -n 19), there is none that a process could be put to."""
    return {_PRIORITY} if os.getpriority(os.PRIO_PROCESS, 0) == 19 else set()


class Result(msgspec.Struct, frozen=True, kw_only=True):
    attempt: str
    stopped: bool
    output: str = ""


def attempt_all(level: Level, at_once: int = 6) -> list[Result]:
    """Every attempt at this level, each in a scene of its own; several at once, since most of them only wait."""
    canary = secrets.token_hex(12)
    before = os.environ.get("HF_TOKEN")
    os.environ["HF_TOKEN"] = canary
    try:
        with ThreadPoolExecutor(at_once) as pool:
            started = [pool.submit(_attempt, a, level, canary) for a in ATTEMPTS]
            return [s.result() for s in started]
    finally:
        os.environ.pop("HF_TOKEN") if before is None else os.environ.update(HF_TOKEN=before)


def _attempt(a: Attempt, level: Level, canary: str) -> Result:
    """One attempt; `stopped` is judged from outside."""
    with _scene(canary) as scene:
        limits = LIMITS if "never end" not in a.name else msgspec.structs.replace(LIMITS, seconds=LIMIT_TESTED_S)
        confinement = Confinement(workspace=str(scene.workspace), limits=limits)
        if a.limited:
            confinement = scene.limited(confinement, level)
        (scene.workspace / "scene.json").write_bytes(msgspec.json.encode(scene.told(limits.seconds)))
        argv = command([sys.executable, "-c", PRELUDE + a.code], confinement, level)
        before = scene.state()
        process = subprocess.Popen(
            argv, cwd=scene.workspace, env=environment(confinement), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        if "listen" in a.name:
            scene.knock(process)
        output = _output(process)
        out = scene.got_out(a, output, before)
    return Result(attempt=a.name, stopped=not out, output=output[-400:])


def _output(process: subprocess.Popen[bytes]) -> str:
    try:
        data, _ = process.communicate(timeout=LIMITS.seconds + PATIENCE_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        data = b"HELD: it went on"
    return data.decode("utf-8", "replace")


class _Scene:
    """What the attempt aims at: a home, a token, another run, a process with a secret, listeners."""

    def __init__(self, root: Path, canary: str) -> None:
        self.root = root
        self.canary = canary
        self.mark = "intern-" + secrets.token_hex(6)
        self.planted = self.mark.replace("-", "_") + ".py"
        self.workspace, self.home, self.outside = root / "workspace", root / "home", root / "outside"
        for folder in (self.workspace, self.home, self.outside):
            folder.mkdir()
        for name in ("id_rsa", "token", "other_run", "spare", ".bashrc"):
            (self.home / name).write_text(f"{self.canary}\n")
        # The victim lives outside the sandbox, in the home, with the secret in its memory, environment and an open file.
        code = "import os,sys,time; f=open('id_rsa'); print('up', flush=True); time.sleep(120)"
        self.victim = self._victim(code)
        self.starter = self._victim("print('up', flush=True); import time; time.sleep(120)")
        self.heard = threading.Event()
        self.hub, beside = self._hub()
        threading.Thread(target=self.hub.serve_forever, args=(0.05,), daemon=True).start()
        self.outlet: Outlet | None = None
        self.sockets = [self._listen(*kind) for kind in (
            (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)), (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            (socket.AF_UNIX, socket.SOCK_STREAM, str(root / "host.sock")), (socket.AF_UNIX, socket.SOCK_STREAM, "\0" + self.mark),
            (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        )]  # fmt: skip
        self.sockets.insert(-1, beside)  # the last is the name's, the first two are told by their place
        threading.Thread(target=self._hear, args=(beside, socket.SOCK_STREAM), daemon=True).start()
        self._planted = [Path(p, self.planted) for p in (sysconfig.get_path("purelib"), str(ROOT / "core"))]
        self._planted += [Path(p, self.mark) for p in ("/dev/shm", "/tmp")]

    def _hub(self) -> tuple[ThreadingHTTPServer, socket.socket]:
        """The scene's Hub, and a listener at the same port of another address: a port that is free at both."""
        while True:
            hub = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
            try:
                return hub, socket.create_server(("127.0.0.2", hub.server_address[1]))
            except OSError as error:
                hub.server_close()
                if error.errno != errno.EADDRINUSE:
                    raise

    def told(self, seconds: float) -> dict[str, object]:
        return {
            "key": str(self.home / "id_rsa"), "token": str(self.home / "token"), "other_run": str(self.home / "other_run"),
            "spare": str(self.home / "spare"), "profile": str(self.home / ".bashrc"), "home": str(self.home),
            "outside": str(self.outside), "victim": self.victim.pid, "starter": self.starter.pid, "mark": self.mark, "planted": self.planted,
            "tcp": self.sockets[0].getsockname()[1], "udp": self.sockets[1].getsockname()[1], "unix": str(self.root / "host.sock"),
            "packages": sysconfig.get_path("purelib"), "code": str(ROOT / "core"), "seconds": seconds,
            "hub": self.hub.server_address[1], "named": self.sockets[-1].getsockname()[1], "proxy": PROXY_PORT, "outlet": OUTLET_INSIDE,
        }  # fmt: skip

    def limited(self, confinement: Confinement, level: Level) -> Confinement:
        """With the network of a training that asked for one: the scene's Hub, and a name that leads to this machine."""
        doors = (
            Door(host="127.0.0.1", port=self.hub.server_address[1], scheme="http", private=True),
            Door(host="localhost", port=self.sockets[-1].getsockname()[1]),
        )
        network = network_at(level, Held(argv=(), wish="asked"))
        if network == "hosts":
            self.outlet = Outlet(self.root, doors, lambda line: None)
            self.outlet.__enter__()
        return msgspec.structs.replace(
            confinement, network=network, ports=ports_of(doors), outlet=str(self.root / "outlet.sock")
        )

    def state(self) -> list[object]:
        """All that an attempt could have changed outside."""
        found: list[object] = []
        for path in sorted([*self.home.rglob("*"), *self.outside.rglob("*"), *self._planted]):
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            found.append((str(path), status.st_mode, status.st_size, int(status.st_mtime)))
        return found

    def got_out(self, a: Attempt, output: str, before: list[object]) -> bool:
        if a.goal == "secret":
            return self.canary in output
        if a.goal == "changed":
            return self.state() != before
        if a.goal == "reached":
            return self.heard.wait(0.3)
        if a.goal == "killed":
            return not (self._as_it_was(self.victim) and self._as_it_was(self.starter))
        if a.goal == "left":
            return self._lives_on()
        return "HELD" in output

    def knock(self, process: subprocess.Popen[bytes]) -> None:
        """Connect from outside to the port that the attempt opened, if it does before its process is over."""
        while process.poll() is None and not self.heard.is_set():
            with contextlib.suppress(OSError, ValueError):
                port = int((self.workspace / "port").read_text())
                socket.create_connection(("127.0.0.1", port), 0.5).close()
                self.heard.set()
            time.sleep(0.05)

    def close(self) -> None:
        for process in (self.victim, self.starter):
            process.kill()
            process.communicate()
        if self.outlet is not None:
            self.outlet.__exit__(None, None, None)
        self.hub.shutdown()
        self.hub.server_close()
        for listener in self.sockets:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it
            listener.close()
        for path in self._planted:
            path.unlink(missing_ok=True)

    def _victim(self, code: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"SECRET_TOKEN": self.canary}
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code], cwd=self.home, env=environment, stdout=subprocess.PIPE, start_new_session=True
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def _as_it_was(self, process: subprocess.Popen[bytes]) -> bool:
        time.sleep(0.1)
        if process.poll() is not None:
            return False
        found = psutil.Process(process.pid)
        own = psutil.Process()
        return found.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP) and found.nice() == own.nice() and (
            found.cpu_affinity() == own.cpu_affinity()
        )  # fmt: skip

    def _lives_on(self) -> bool:
        """Whether something still touches the file `alive` after the command's end."""
        alive = self.workspace / "alive"
        if not alive.exists():
            return False
        time.sleep(0.2)
        first = alive.stat().st_mtime_ns
        time.sleep(0.3)
        return alive.stat().st_mtime_ns != first

    def _listen(self, family: int, kind: int, address: object) -> socket.socket:
        listener = socket.socket(family, kind)
        listener.bind(address)  # pyright: ignore[reportArgumentType]
        if kind == socket.SOCK_STREAM:
            listener.listen()
        threading.Thread(target=self._hear, args=(listener, kind), daemon=True).start()
        return listener

    def _hear(self, listener: socket.socket, kind: int) -> None:
        while True:
            try:
                data = listener.accept()[0].recv(64) if kind == socket.SOCK_STREAM else listener.recv(64)
            except OSError:
                return
            if self.mark.encode() in data:
                self.heard.set()


class _Echo(BaseHTTPRequestHandler):
    """A Hub that says what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"{self.requestline}\n{self.headers}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """What it was asked stands in its answer."""


@contextmanager
def _scene(canary: str) -> Generator[_Scene]:
    # Not below /tmp: a sandbox with a /tmp of its own would hide it for that reason alone.
    base = Path.home() / ".cache"
    base.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="intern-escape-", dir=base))
    scene = _Scene(root, canary)
    try:
        yield scene
    finally:
        scene.close()
        shutil.rmtree(root, ignore_errors=True)
