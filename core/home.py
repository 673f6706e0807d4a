"""Where runs live: one folder a run under INTERN_HOME, found by id, unique prefix or `last`.

Listing runs never opens a log: the host keeps a small `summary.json` beside it (a projection; it can be thrown away).
A living host is known by `host.json` (pid, process start time, boot id), never by a pid alone: pids are used again.
"""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from core.errors import NotFound, Refused, UsageError

LOG_NAME = "log.duckdb"
NO_SUMMARY = "(not read yet)"
"""Title of a run whose summary is missing: its folder was copied with the log alone (`core/summary.py` makes one)."""


class Summary(msgspec.Struct, kw_only=True):
    """What `intern runs` shows of a run."""

    run: str
    status: str = "created"
    goal: str = ""
    title: str = ""
    task: str = ""
    model: str = ""
    brain: str = ""
    started: str = ""
    """ISO 8601, UTC."""
    updated: str = ""
    seq: int = 0
    baseline: float | None = None
    best: float | None = None
    delta: float | None = None
    doing: str = ""
    approvals: int = 0
    """Approvals and questions that wait for a person."""
    spark: list[float] = []
    """Development scores in the order in which they were measured."""
    state_version: int = 0
    """Of the fold it was computed by."""


class HostInfo(msgspec.Struct, frozen=True, kw_only=True):
    pid: int
    started: float
    """Process start time, clock ticks since boot: with the boot id it names one process for ever."""
    boot_id: str
    socket: str


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A run as the list shows it."""

    run: str
    folder: str
    summary: Summary
    host: HostInfo | None

    @property
    def status(self) -> str:
        """`interrupted` where the log says running and no host lives."""
        if self.host is None and self.summary.status in ("created", "running", "paused"):
            return "interrupted"
        return self.summary.status

    def as_json(self) -> dict[str, object]:
        s = self.summary
        return {
            "run": self.run,
            "status": self.status,
            "pid": self.host.pid if self.host else None,
            "goal": s.goal,
            "task": s.task,
            "started": s.started,
            "best": s.best,
        }


def home() -> Path:
    """INTERN_HOME, or the platform's data directory."""
    named = os.environ.get("INTERN_HOME")
    if named:
        return Path(named).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("ml-intern", appauthor=False))


def runs_dir() -> Path:
    return home() / "runs"


def cache_dir() -> Path:
    return home() / "cache"


def new_run_id() -> str:
    """Sorts by time; short enough to type a prefix of."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    tail = "".join(secrets.choice(letters) for _ in range(4))
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + "-" + tail


def create_run_folder(run: str) -> Path:
    """A new folder for a run. Raises Refused where INTERN_HOME cannot be written or the disk is full."""
    folder = runs_dir() / run
    try:
        folder.mkdir(parents=True, exist_ok=False)
        for name in ("jobs", "data", "evaluations", "workspace"):
            (folder / name).mkdir()
        probe = folder / ".probe"
        probe.write_bytes(b"\0" * 65536)
        probe.unlink()
    except FileExistsError as error:
        raise Refused(f"A run {run} exists already", where=str(folder)) from error
    except OSError as error:
        raise Refused(
            f"Cannot write a new run: {error.strerror or error}",
            where=str(folder),
            next="Set INTERN_HOME to a folder on a disk that can be written and has room",
        ) from error
    return folder


def run_folders() -> Iterator[Path]:
    """Folders of all runs, newest first."""
    root = runs_dir()
    try:
        entries = [entry for entry in os.scandir(root) if not entry.name.startswith(".")]
        names = sorted((entry.name for entry in entries if entry.is_dir()), reverse=True)
    except FileNotFoundError:
        return
    for name in names:
        if (root / name / LOG_NAME).exists():
            yield root / name


def find_run(reference: str) -> Path:
    """The folder of a run named by id, unique prefix, `last`, or a path to its folder."""
    as_path = Path(reference)
    if os.sep in reference and (as_path / LOG_NAME).exists():
        return as_path.absolute()
    folders = list(run_folders())
    if not folders:
        raise NotFound(
            "There are no runs yet", where=str(runs_dir()), next="Start one: intern run --task pocket/addition"
        )
    if reference == "last":
        return folders[0]
    exact = [f for f in folders if f.name == reference]
    matches = exact or [f for f in folders if f.name.startswith(reference) or f.name.endswith(reference)]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise NotFound(f"No run is called {reference!r}", where=str(runs_dir()), next="See them all: intern runs")
    names = ", ".join(f.name for f in matches[:5])
    raise UsageError(f"{reference!r} is the beginning of {len(matches)} runs", where=names, next="Type more of the id")


# ------------------------------------------------------------------------------------------------------- the host


@functools.cache
def boot_id() -> str:
    """Of this start of the machine; "" where it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def process_started(pid: int) -> float | None:
    """Start time of a living process in clock ticks since boot, None where there is none (zombies count as gone)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _process_started_elsewhere(pid) if not Path("/proc/self/stat").exists() else None
    fields = stat.rsplit(")", 1)[1].split()
    return None if fields[0] in ("Z", "X") else float(fields[19])


def _process_started_elsewhere(pid: int) -> float | None:
    """Systems without /proc (macOS)."""
    import psutil

    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


def socket_path(folder: Path) -> Path:
    """Where the host of this run listens. Unix socket paths end at 107 bytes: long homes get a short hash."""
    beside = folder / "host.sock"
    if len(os.fsencode(beside)) < 100:
        return beside
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"ml-intern-{os.getuid()}"
    runtime.mkdir(mode=0o700, exist_ok=True)
    if runtime.stat().st_uid != os.getuid():
        raise Refused("The socket folder belongs to somebody else", where=str(runtime), next="Set XDG_RUNTIME_DIR")
    return runtime / (hashlib.sha256(os.fsencode(folder)).hexdigest()[:16] + ".sock")


def write_json(path: Path, value: object) -> None:
    """Atomic: readers see the old file or the new one."""
    temporary = path.with_name(path.name + f".{os.getpid()}.{threading.get_ident()}.tmp")
    temporary.write_bytes(msgspec.json.encode(value))
    os.replace(temporary, path)


def living_host(folder: Path) -> HostInfo | None:
    """The host of this run if its process lives on this boot of this machine."""
    try:
        info = msgspec.json.decode((folder / "host.json").read_bytes(), type=HostInfo)
    except (OSError, msgspec.MsgspecError):
        return None
    if info.boot_id != boot_id() or process_started(info.pid) != info.started:
        return None
    return info


def run_info(folder: Path) -> RunInfo:
    try:
        summary = msgspec.json.decode((folder / "summary.json").read_bytes(), type=Summary)
    except (OSError, msgspec.MsgspecError):
        summary = Summary(run=folder.name, title=NO_SUMMARY)
    return RunInfo(run=folder.name, folder=str(folder), summary=summary, host=living_host(folder))


def list_runs() -> list[RunInfo]:
    """All runs, newest first, without opening a log."""
    return [run_info(folder) for folder in run_folders()]
