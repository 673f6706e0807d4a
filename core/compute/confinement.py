"""What code written by a brain may do, and the strongest level at which this machine can hold it to that.

    bubblewrap   own mount, process, network and user namespaces: what is not bound in is not there
    landlock     the kernel's rules on paths, TCP and signals; no own view of processes or of network below TCP
    limits       time, memory, disk, processes, an environment without secrets, no new privileges: nothing hidden

A level is in use only after it held in a trial (`probe`): bwrap that is installed but forbidden (Ubuntu 24.04's AppArmor,
containers) is not there. core/compute/escapes.py says what each level stops, and tests hold it to that.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec

Level = Literal["bubblewrap", "landlock", "limits"]
LEVELS: tuple[Level, ...] = ("bubblewrap", "landlock", "limits")

Network = Literal["off", "hosts", "ports", "open"]
"""off: none. hosts (bubblewrap): the proxy's doors alone. ports (Landlock): TCP to these ports of any host, and UDP, which
Landlock does not hold. open: all. At level limits nothing is held, whatever is said here."""

GUARD = Path(__file__).with_name("guard.py")
DOORWAY = Path(__file__).with_name("doorway.py")
PROXY_PORT = 3128
"""On the loopback of the sandbox's own network namespace, where nobody else listens."""
OUTLET_INSIDE = "/run/intern/outlet.sock"
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ("LANG", "LC_ALL", "TZ", "VIRTUAL_ENV", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_HOME", "LD_LIBRARY_PATH")  # fmt: skip
"""What of the environment goes in. Tokens do not."""

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/etc/alternatives", "/etc/ld.so.cache",
          "/etc/ssl", "/etc/ca-certificates", "/etc/pki", "/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/hosts",
          "/etc/resolv.conf", "/etc/OpenCL", "/etc/vulkan")  # fmt: skip
DEVICES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset", "/dev/kfd", "/dev/dri",
           *(f"/dev/nvidia{i}" for i in range(16)))  # fmt: skip


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """No address-space limit: CUDA reserves far more than it uses. Resident memory of the whole tree counts instead."""

    seconds: float = 600.0
    memory_bytes: int = 8 << 30
    disk_bytes: int = 4 << 30
    """Growth of the writable folders together; also the largest single file."""
    processes: int = 256


class Confinement(msgspec.Struct, frozen=True, kw_only=True):
    """What one command may touch."""

    workspace: str
    """Its folder: readable, writable, current."""
    readable: tuple[str, ...] = ()
    """Caches, models, data."""
    network: Network = "off"
    outlet: str = ""
    """hosts: the Unix socket of the proxy outside (core/compute/outlet.py)."""
    ports: tuple[int, ...] = ()
    """ports: those that TCP may go to."""
    hub_cache: str = ""
    """With a network: the read-only cache whose files are seen in `own_cache` (core/compute/doorway.py)."""
    own_cache: str = ""
    """A folder beside the workspace, writable too: what is fetched from the Hub goes there."""
    limits: Limits = Limits()
    environment: dict[str, str] = {}


class Sandbox(msgspec.Struct, frozen=True, kw_only=True):
    """The level this machine holds, and why not a higher one."""

    level: Level
    reason: str = ""
    landlock_abi: int = 0


@lru_cache(maxsize=1)
def probe() -> Sandbox:
    """The strongest level that holds here, by trying it."""
    abi = landlock_abi()
    reason = _why_no_bubblewrap()
    if not reason:
        return Sandbox(level="bubblewrap", landlock_abi=abi)
    if abi >= 4:
        return Sandbox(level="landlock", reason=reason, landlock_abi=abi)
    old = f"Landlock {abi} of this kernel has no network rules" if abi else "this kernel has no Landlock"
    return Sandbox(level="limits", reason=f"{reason}; {old}")


def command(argv: Sequence[str], confinement: Confinement, level: Level) -> list[str]:
    """The command line that runs `argv` confined. Start it with `environment(confinement)`."""
    argv = _by_the_doorway(argv, confinement)
    inner = list(argv) if level != "bubblewrap" else _bubblewrap(argv, confinement)
    rules = {
        "level": level,
        "workspace": confinement.workspace,
        "writable": writable(confinement),
        "readable": [*system_paths(), *confinement.readable],
        "devices": [d for d in DEVICES if os.path.exists(d)],
        "network": confinement.network,
        "ports": confinement.ports,
        **msgspec.to_builtins(confinement.limits),
    }
    return [sys.executable, "-I", "-S", str(GUARD), msgspec.json.encode(rules).decode(), *inner]


def without_keeper(argv: Sequence[str], confinement: Confinement, level: Level) -> tuple[list[str], dict[str, Any]]:
    """(command line, rules) for a program of seconds whose caller limits its time and memory: the keeper would take longer
    than the program. At level landlock the caller has the child apply the rules (`guard.landlock`) before it starts."""
    if level == "bubblewrap":
        return _bubblewrap(argv, confinement), {}
    readable = [*system_paths(), *confinement.readable]
    rules = {"writable": [confinement.workspace], "readable": readable, "devices": [], "network": "off", "ports": []}
    return list(argv), rules if level == "landlock" else {}


def environment(confinement: Confinement) -> dict[str, str]:
    """The allow-list, a home and a temporary folder inside the workspace."""
    kept = {k: v for k in ENVIRONMENT if (v := os.environ.get(k)) is not None}
    inside = {
        "HOME": confinement.workspace,
        "TMPDIR": str(Path(confinement.workspace) / ".tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return kept | inside | confinement.environment | _network_environment(confinement)


def _network_environment(c: Confinement) -> dict[str, str]:
    """What clients of the Hub, of the index and of HTTP must know of the network there is."""
    found = {"HF_HUB_OFFLINE": "1"} if c.network == "off" else {}
    if c.own_cache:
        found["HF_HUB_CACHE"] = c.own_cache
    if c.network == "hosts":
        proxy = f"http://127.0.0.1:{PROXY_PORT}"
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        found |= {spelt: proxy for name in names for spelt in (name, name.lower())}
    return found


def _by_the_doorway(argv: Sequence[str], c: Confinement) -> list[str]:
    if c.network == "off":
        return list(argv)
    way = {"socket": OUTLET_INSIDE, "port": PROXY_PORT} if c.network == "hosts" else {}
    cache = {"cache": c.hub_cache, "to": c.own_cache} if c.own_cache else {}
    told = msgspec.json.encode({**way, **cache}).decode()
    return [sys.executable, "-I", "-S", str(DOORWAY), told, *argv]


def writable(confinement: Confinement) -> list[str]:
    """The workspace and the Hub's cache of the sandbox's own: their growth together is limited."""
    return [p for p in (confinement.workspace, confinement.own_cache) if p]


def system_paths() -> list[str]:
    """System libraries and this interpreter with its packages: readable at every level."""
    own = {sys.prefix, sys.base_prefix, sysconfig.get_path("purelib"), str(Path(sys.executable).resolve().parents[1])}
    own |= {p for p in sys.path if p.endswith("-packages") and os.path.isdir(p)}
    code = {str(ROOT / name) for name in ("intern_tui", "screens", "core", "store")}
    return sorted({*(p for p in SYSTEM if os.path.exists(p)), *own, *code})


def landlock_abi() -> int:
    """The version of Landlock of this kernel; 0 where there is none."""
    found = ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1)
    return max(0, int(found))


def _bubblewrap(argv: Sequence[str], c: Confinement) -> list[str]:
    links = [part for p in SYSTEM if os.path.islink(p) for part in ("--symlink", os.readlink(p), p)]
    seen = [p for p in (*system_paths(), *c.readable) if not (p in SYSTEM and os.path.islink(p))]
    binds = [part for p in _mounts(seen) for part in ("--ro-bind", p, p)]
    devices = [part for d in DEVICES if os.path.exists(d) for part in ("--dev-bind", d, d)]
    room = [part for p in writable(c) for part in ("--bind", p, p)]
    way = ["--bind", c.outlet, OUTLET_INSIDE] if c.network == "hosts" else []
    sysfs = ["--ro-bind", "/sys", "/sys"] if devices else []  # CUDA reads the topology there
    return [
        shutil.which("bwrap") or "bwrap", "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try",
        *(() if c.network == "open" else ("--unshare-net",)), "--uid", "65534", "--gid", "65534", "--hostname", "sandbox", "--die-with-parent",
        "--new-session", *_no_nesting(), "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev", *devices, *sysfs,
        "--size", str(c.limits.disk_bytes), "--tmpfs", "/tmp", "--size", str(c.limits.memory_bytes // 4), "--tmpfs", "/dev/shm",
        *links, *binds, *room, *way, "--chdir", c.workspace, "--", *argv,
    ]  # fmt: skip


def _mounts(paths: Iterable[str]) -> list[str]:
    """What is bound so that these paths can be read, parents first. What is reached by a link (an environment
    that lies on another disk) below a folder that is bound is seen there, and cannot be bound on: what the link leads to is
    bound instead."""
    wanted = {p for p in paths if os.path.exists(p)}
    every = wanted | {os.path.realpath(p) for p in wanted}
    return sorted(p for p in every if os.path.realpath(p) == p or not any(str(up) in every for up in Path(p).parents))


@lru_cache(maxsize=1)
def _no_nesting() -> tuple[str, ...]:
    """No further user namespaces inside, where this bwrap (0.8 or newer) can say so."""
    shown = subprocess.run(["bwrap", "--help"], capture_output=True, text=True, timeout=10, check=False).stdout
    return ("--disable-userns",) if "--disable-userns" in shown else ()


def _why_no_bubblewrap() -> str:
    if sys.platform != "linux":
        return "bubblewrap is for Linux"
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    trial = [
        "bwrap",
        "--unshare-all",
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--cap-drop",
        "ALL",
        "true",
    ]
    try:
        done = subprocess.run(trial, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not run: {error}"
    return "" if done.returncode == 0 else f"bubblewrap is refused here: {done.stderr.strip()[:200]}"
