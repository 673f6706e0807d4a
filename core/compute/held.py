"""Runs a job whose code a brain wrote, held at the strongest level that the machine it runs on has.

    python -P held.py <job folder>

The code works in `<job folder>/held` and can write nowhere else: what starts, ends and steers a job (launch.json, exit.json,
control, ...) lies outside its reach. This process stands between: it carries metrics and heartbeat out and wishes in, and
follows no link that the code may have laid. The level in force is written to sandbox.json and to the log.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

if __package__ in (None, ""):  # run by path, where the package need not be installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec

from core.compute.confinement import Confinement, Limits, Sandbox, command, environment, probe

SCRIPT = Path(__file__)
INSIDE = "held"
"""The code's own folder, below the job's."""

POLL_S = 0.1
SMOKE_S = 20.0
"""A script that runs so long without an error has passed its smoke test."""
MOST_BYTES = 64 << 20
"""Of metrics that are carried out at once: a stream is some kilobytes a second."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """held.json: what runs and what it may see."""

    argv: tuple[str, ...]
    readable: tuple[str, ...] = ()
    network: bool = False
    """Never in the smoke test."""
    limits: Limits = Limits()
    environment: dict[str, str] = {}
    smoke_test: bool = False
    """First run for SMOKE_S seconds in a folder that is thrown away, with INTERN_SMOKE_TEST=1."""


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """sandbox.json: how the job is held, where it runs."""

    level: str
    reason: str = ""
    network: bool = False


def held_argv(python: str, folder: Path) -> tuple[str, ...]:
    """The command of a job that is held."""
    return (python, "-P", str(SCRIPT), str(folder))


def main(argv: list[str]) -> int:
    folder = Path(argv[1]).resolve()
    held = msgspec.json.decode((folder / "held.json").read_bytes(), type=Held)
    sandbox = probe()
    say(folder, held, sandbox)
    if held.smoke_test and not (folder / INSIDE).exists():
        code = smoke_test(folder, held, sandbox)
        if code:
            print(f"the smoke test failed with exit code {code}: the job was not started", flush=True)
            return code
    inside = folder / INSIDE
    inside.mkdir(exist_ok=True)
    put(inside / "spec.json", (folder / "spec.json").read_bytes())
    child = start(held, sandbox, inside, held.network)
    for number in (n for n in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(n) != signal.SIG_IGN):
        signal.signal(number, lambda number, frame: child.send_signal(number))
    relay = Relay(folder, inside)
    while True:
        try:
            code = child.wait(POLL_S)
        except subprocess.TimeoutExpired:
            relay.carry()
            continue
        relay.carry()
        return code if code >= 0 else 128 - code


def say(folder: Path, held: Held, sandbox: Sandbox) -> None:
    found = InForce(level=sandbox.level, reason=sandbox.reason, network=held.network)
    (folder / "sandbox.json").write_bytes(msgspec.json.encode(found))
    why = f" ({sandbox.reason})" if sandbox.reason else ""
    print(f"held by {sandbox.level}{why}, network {'on' if held.network else 'off'}", flush=True)


def smoke_test(folder: Path, held: Held, sandbox: Sandbox) -> int:
    """0 if the code runs for SMOKE_S seconds, or to its end, without an error; no network whatever it gets later."""
    inside = folder / "smoke"
    inside.mkdir(exist_ok=True)
    try:
        put(inside / "spec.json", (folder / "spec.json").read_bytes())
        trial = msgspec.structs.replace(held, environment=held.environment | {"INTERN_SMOKE_TEST": "1"})
        trial = msgspec.structs.replace(
            trial, argv=tuple(a.replace(str(folder / INSIDE), str(inside)) for a in held.argv)
        )
        child = start(trial, sandbox, inside, False)
        try:
            code = child.wait(SMOKE_S)
        except subprocess.TimeoutExpired:
            child.terminate()  # the guard takes its whole tree down
            child.wait()
            return 0
        return code if code >= 0 else 128 - code
    finally:
        shutil.rmtree(inside, ignore_errors=True)


def start(held: Held, sandbox: Sandbox, inside: Path, network: bool) -> subprocess.Popen[bytes]:
    confinement = Confinement(
        workspace=str(inside), readable=held.readable, network=network, limits=held.limits, environment=held.environment
    )
    return subprocess.Popen(
        command(held.argv, confinement, sandbox.level),
        cwd=inside,
        env=environment(confinement),
        stdin=subprocess.DEVNULL,
    )


class Relay:
    """Carries whole lines of the stream and the heartbeat out of the code's folder, the control file in."""

    def __init__(self, folder: Path, inside: Path) -> None:
        self.folder, self.inside = folder, inside
        self.out = (folder / "metrics.jsonl").open("ab")
        self.offset = self.out.tell()
        """What stands outside is a prefix of what stands inside, also after an interruption: both only grow."""
        self.beat = self.wish = 0.0

    def carry(self) -> None:
        self._metrics()
        self._heartbeat()
        self._wishes()

    def _metrics(self) -> None:
        descriptor = open_safely(self.inside / "metrics.jsonl", os.O_RDONLY)
        if descriptor is None:
            return
        with os.fdopen(descriptor, "rb") as stream:
            stream.seek(self.offset)
            data = stream.read(MOST_BYTES)
        whole = data.rfind(b"\n") + 1
        if whole:
            self.offset += self.out.write(data[:whole])
            self.out.flush()

    def _heartbeat(self) -> None:
        try:
            beat = os.lstat(self.inside / "heartbeat").st_mtime
        except OSError:
            return
        if beat != self.beat:
            self.beat = beat
            (self.folder / "heartbeat").touch()

    def _wishes(self) -> None:
        try:
            when = (self.folder / "control").stat().st_mtime
        except OSError:
            return
        if when == self.wish:
            return
        self.wish = when
        if (self.folder / "stopping").exists():
            put(self.inside / "stopping", (self.folder / "stopping").read_bytes())
        data = (self.folder / "control").read_bytes()
        put(self.inside / "control", data)
        if data.strip() == b"checkpoint":
            (self.folder / "control").unlink(missing_ok=True)


def open_safely(path: Path, flags: int, mode: int = 0o644) -> int | None:
    """A descriptor of a plain file inside, never through a link, never of a pipe (which would hang); None without one."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError:
        return None
    if not os.path.isfile(f"/proc/self/fd/{descriptor}") or os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        return None
    return descriptor


def put(path: Path, data: bytes) -> None:
    """A file inside, whole, in place of whatever stands there under its name."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    os.replace(partial, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
