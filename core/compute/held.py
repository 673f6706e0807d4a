"""Runs a job whose code a brain wrote, held at the strongest level that the machine it runs on has.

    python -P held.py <job folder>

The code works in `<job folder>/held` and can write nowhere else: what starts, ends and steers a job (launch.json, exit.json,
control, ...) lies outside its reach. This process stands between: it carries metrics and heartbeat out and wishes in,
follows no link that the code may have laid, and serves the one way out where the network is limited to some hosts. The
level in force is written to sandbox.json and to the log.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

if __package__ in (None, ""):  # run by path, where the package need not be installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec

from core.compute.confinement import Confinement, Level, Limits, Network, Sandbox, command, environment, probe
from core.compute.doors import Door, in_short, told
from core.compute.outlet import Outlet

Wish = Literal["off", "limited", "asked"]
"""limited: the network, where the level can limit it to the doors, else none. asked: the network, limited as far as the
level can."""

SCRIPT = Path(__file__)
INSIDE = "held"
"""The code's own folder, below the job's."""

OWN_CACHE = "hub"
"""Beside it: what the code fetches from the Hub, and links to what is here already. Not in it: a model is all of its folder."""

POLL_S = 0.1
SMOKE_S = 20.0
"""A script that runs so long without an error has passed its smoke test."""
MOST_BYTES = 64 << 20
"""Of metrics that are carried out at once: a stream is some kilobytes a second."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """held.json: what runs and what it may see."""

    argv: tuple[str, ...]
    readable: tuple[str, ...] = ()
    wish: Wish = "off"
    """Of the network; never in the smoke test."""
    doors: tuple[Door, ...] = ()
    several: bool = False
    """Several processes of the job speak TCP with each other."""
    hub_cache: str = ""
    """The shared cache, of which a job with a network gets one of its own."""
    limits: Limits = Limits()
    environment: dict[str, str] = {}
    smoke_test: bool = False
    """First run for SMOKE_S seconds in a folder that is thrown away, with INTERN_SMOKE_TEST=1."""


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """sandbox.json: how the job is held, where it runs."""

    level: str
    reason: str = ""
    reach: str = ""
    """The network there is, in words."""


def held_argv(python: str, folder: Path) -> tuple[str, ...]:
    """The command of a job that is held."""
    return (python, "-P", str(SCRIPT), str(folder))


def main(argv: list[str]) -> int:
    folder = Path(argv[1]).resolve()
    held = msgspec.json.decode((folder / "held.json").read_bytes(), type=Held)
    sandbox = probe()
    network = network_at(sandbox.level, held)
    say(folder, sandbox, network, held.doors)
    if held.smoke_test and not (folder / INSIDE).exists():
        code = smoke_test(folder, held, sandbox)
        if code:
            print(f"the smoke test failed with exit code {code}: the job was not started", flush=True)
            return code
    inside = folder / INSIDE
    inside.mkdir(exist_ok=True)
    put(inside / "spec.json", (folder / "spec.json").read_bytes())
    with way_out(folder, held, network) as way:
        return keep(folder, inside, start(held, sandbox, inside, way))


def network_at(level: Level, held: Held) -> Network:
    """What the job gets of its wish at a level. bwrap brings the loopback of the sandbox's own network up, so processes of
    one job find each other there; the lower levels cannot tell them from others."""
    if level == "bubblewrap":
        return "off" if held.wish == "off" else "hosts"
    if held.several:
        return "open"
    return "ports" if held.wish == "asked" and level == "landlock" else "open" if held.wish == "asked" else "off"


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """The network that a command gets."""

    network: Network = "off"
    outlet: str = ""
    offline: bool = False
    """The Hub cannot be reached now: its clients are told to look into the cache alone."""


@contextmanager
def way_out(folder: Path, held: Held, network: Network) -> Generator[Way]:
    """The network of the job itself while the block runs."""
    if network != "hosts":
        yield Way(network=network, offline=network == "open" and held.wish == "off")
        return
    with ExitStack() as stack:
        try:
            outlet = stack.enter_context(Outlet(folder, held.doors, lambda line: print(line, flush=True)))
        except OSError:  # a shared file system that has no sockets
            own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="intern-outlet-")))
            outlet = stack.enter_context(Outlet(own, held.doors, lambda line: print(line, flush=True)))
        missing = outlet.answers(held.doors[0]) if held.doors else "no Hub is configured"
        if missing:
            print(f"the Hub cannot be reached: {missing}. Its cache is what there is (HF_HUB_OFFLINE=1)", flush=True)
        yield Way(network=network, outlet=str(outlet.path), offline=bool(missing))


def keep(folder: Path, inside: Path, child: subprocess.Popen[bytes]) -> int:
    """Until it ends; its exit code."""
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


def in_words(level: Level, network: Network, doors: tuple[Door, ...]) -> str:
    """What the network is, and what is not held: for the log, the feed and the report."""
    if network == "hosts":
        return f"limited to {in_short(doors)}"
    if level == "limits":
        return "open" if network != "off" else "told to stay off it, not held (level limits)"
    if network == "ports":
        ports = ", ".join(str(p) for p in ports_of(doors))
        return f"TCP to port {ports} of any host, and UDP: {level} cannot limit it to hosts"
    return "off for TCP, UDP is not held" if network == "off" and level == "landlock" else network


def ports_of(doors: tuple[Door, ...]) -> tuple[int, ...]:
    return tuple(sorted({d.port for d in doors}))


def say(folder: Path, sandbox: Sandbox, network: Network, doors: tuple[Door, ...]) -> None:
    words = in_words(sandbox.level, network, doors)
    found = InForce(level=sandbox.level, reason=sandbox.reason, reach=words)
    (folder / "sandbox.json").write_bytes(msgspec.json.encode(found))
    why = f" ({sandbox.reason})" if sandbox.reason else ""
    names = f"; open are {told(doors)}" if network == "hosts" else ""
    print(f"held by {sandbox.level}{why}, network {words}{names}", flush=True)


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
        alone = "open" if held.several and sandbox.level != "bubblewrap" else "off"
        child = start(trial, sandbox, inside, Way(network=alone, offline=True))
        try:
            code = child.wait(SMOKE_S)
        except subprocess.TimeoutExpired:
            child.terminate()  # the guard takes its whole tree down
            child.wait()
            return 0
        return code if code >= 0 else 128 - code
    finally:
        shutil.rmtree(inside, ignore_errors=True)


def straight_on(doors: tuple[Door, ...]) -> dict[str, str]:
    """Servers of the job's own, on the sandbox's loopback, are no matter of the proxy; a Hub on this machine's loopback is."""
    own = ",".join(name for name in ("localhost", "127.0.0.1", "::1") if name not in {d.host for d in doors})
    return {"NO_PROXY": own, "no_proxy": own}


def start(held: Held, sandbox: Sandbox, inside: Path, way: Way) -> subprocess.Popen[bytes]:
    offline = {"HF_HUB_OFFLINE": "1"} if way.offline else {}
    own = inside.with_name(OWN_CACHE) if way.network != "off" and held.hub_cache else None
    if own is not None:
        own.mkdir(exist_ok=True)
    straight = straight_on(held.doors) if way.network == "hosts" else {}
    confinement = Confinement(
        workspace=str(inside), readable=held.readable, network=way.network, outlet=way.outlet, ports=ports_of(held.doors),
        hub_cache=held.hub_cache, own_cache=str(own or ""), limits=held.limits, environment=held.environment | offline | straight,
    )  # fmt: skip
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
