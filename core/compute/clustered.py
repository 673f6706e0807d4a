"""Jobs that a scheduler elsewhere runs (Slurm, Ray, the Hub). The job's folder is the channel and its files are the truth.

An `Engine` speaks to one scheduler; everything else is here, once: one effect one job, re-attachment, states. What a
scheduler says is only asked where the files are silent: schedulers forget jobs, lose their head and guess (Slurm without
accounting forgets after five minutes, Ray's status can be wrong after a head failure).
"""

from __future__ import annotations

import fcntl
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, Protocol, TypeVar, runtime_checkable

import msgspec

from core.compute.begun import BEGIN_S, Requeues, not_begun
from core.compute.launcher import job_argv, job_env
from core.compute.local import Launch
from core.compute.logs import read_chunk
from core.compute.once import same_effect, write_once
from core.compute.spec import OPEN, JobExit, JobSpec, JobStatus, LogChunk, State, array_of
from core.errors import JobError, NotFound, Unreachable
from core.home import write_json

SETTLE_S = 10.0
"""After a scheduler says that a job is over, its exit.json may still be on its way over a shared file system."""

RETRY_S = 2.0
"""A scheduler that does not answer is asked again after this."""

BEAT_S = 20.0
"""A supervisor touches its heartbeat every two seconds; one that is older is a dead one."""

ANSWER_S = 0.5
"""A scheduler's word is used that long: watchers look five times a second, squeue is not made for that."""

NOBODY = "nobody"
"""Owner of the folder of a job that must not run any more (`claim`); no scheduler names a job so."""

_POLL_S = 0.1
T = TypeVar("T")


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """What a scheduler says of a job. `gone`: it has no record of it (any more)."""

    state: Literal["queued", "running", "over", "gone"]
    says: str = ""
    """In its own words: PENDING (Resources), FAILED, NODE_FAIL."""
    exit: JobExit | None = None
    """How it ended, where the scheduler's word is enough to know (out of memory, its time limit)."""
    start: str = ""
    """Names this start of the job as the job itself writes it to `reached` when it begins; empty where nothing can be told."""
    seconds: float = 0.0
    """How long this start has been running by the scheduler's clock."""
    where: str = ""
    """The node."""


class Engine(Protocol):
    """One scheduler. Every call raises Unreachable where it does not answer, JobError where it refuses."""

    name: str

    def start(self, spec: JobSpec, launch: Launch) -> str:
        """Hand the job over; returns the scheduler's name of it."""
        ...

    def machines(self) -> tuple[int, int]:
        """(GPUs that jobs of one run may have side by side, cores of a machine; 0 for those not known)."""
        ...

    def wait_for(self, spec: JobSpec) -> str:
        """Why the job should not be handed over yet, in words; empty where it should."""
        ...

    def find(self, effect_id: str) -> str | None:
        """The scheduler's name of the job of an effect id: for a submission whose answer was lost."""
        ...

    def word(self, handle: str, launch: Launch) -> Word:
        """What it says of the job now. Ids are used again after a lost state: the effect id must fit too."""
        ...

    def stop(self, handle: str, folder: Path) -> None:
        """Take it down (after it was asked through its control file and did not end)."""
        ...

    def ask(self, handle: str, folder: Path, wish: str) -> None:
        """Carry a wish (`stop`) to the job; on a shared file system the control file is enough."""
        ...

    def pull(self, handle: str, folder: Path) -> None:
        """Bring the job's folder up to date; nothing to do on a shared file system."""
        ...


@runtime_checkable
class ArrayEngine(Protocol):
    """An engine whose scheduler takes many jobs as one."""

    def start_array(self, specs: Sequence[JobSpec], effect_id: str) -> list[str]:
        """Hand over jobs whose effect ids are elements of `effect_id`; the scheduler's name of each, in their order."""
        ...


class ClusterCompute:
    """The protocol over an engine."""

    def __init__(self, jobs_folder: str | Path, engine: Engine, python: str = sys.executable) -> None:
        self.jobs_folder = Path(jobs_folder)
        self.engine = engine
        self.python = python
        self._words: dict[tuple[str, str], tuple[float, Word]] = {}
        self._machines: tuple[int, int] | None = None
        self._silent_until = 0.0
        self._silence = ""

    def gpus(self) -> int:
        """GPUs that jobs of one run may have side by side there; 0 where its machines have none. Asked once."""
        return self._known_machines()[0]

    def cores(self) -> int:
        """Cores of a machine there; 0 where that is not known."""
        return self._known_machines()[1]

    def _known_machines(self) -> tuple[int, int]:
        if self._machines is None:
            self._machines = self.engine.machines()
        return self._machines

    def submit(self, spec: JobSpec) -> JobStatus:
        """Hand the job to the scheduler once. Where it does not answer the job is `unknown` and handed over later."""
        known = self.find_by_effect(spec.effect_id)
        if known is not None:
            return known
        folder = Path(spec.folder)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            launch = self._write(spec, folder)
        except FileExistsError as error:
            return same_effect(self.find_by_effect(spec.effect_id), folder, error)
        try:
            if not self.engine.wait_for(spec):
                self._hand_over(spec, launch, first=True)
        except Unreachable as error:
            self._heard_nothing(error)
        except JobError:
            (folder / "launch.json").unlink(missing_ok=True)
            raise
        return self.inspect(spec.job)

    @property
    def arrays(self) -> bool:
        """Whether the scheduler takes many jobs as one."""
        return isinstance(self.engine, ArrayEngine)

    def submit_many(self, specs: Sequence[JobSpec]) -> list[JobStatus]:
        """As `submit` for each. New ones that are alike go as one array where the scheduler has such a thing and takes it."""
        new = [s for s in specs if self.find_by_effect(s.effect_id) is None]
        whole = {of[0] if (of := array_of(s.effect_id)) else "" for s in new}
        alike = len({(s.gpus, s.slots, s.urgent, *sorted(s.secrets.items())) for s in new}) == 1
        if isinstance(self.engine, ArrayEngine) and len(new) > 1 and len(whole) == 1 and alike and "" not in whole:
            self._hand_over_array(self.engine, whole.pop(), new)
        return [self.submit(s) for s in specs]

    def inspect(self, job: str) -> JobStatus:
        """What is known of a job; one whose hand-over failed is handed over now."""
        folder = self.jobs_folder / job
        launch = read(folder / "launch.json", Launch)
        if launch is None:
            raise NotFound(f"no job {job}", where=str(folder), next="List the run's jobs folder.")
        end = read(folder / "exit.json", JobExit)
        handle = read(folder / "handle.json", Handle)
        if end is not None:
            return self._status(launch, folder, _ended(end), handle, end=end)
        if time.monotonic() < self._silent_until:
            return self._status(launch, folder, "unknown", handle, reason=self._silence)
        try:
            spec = None if handle else read(folder / "submitted.json", JobSpec)
            if spec is not None and (why := self._must_wait(spec, folder)):
                return self._status(launch, folder, "queued", None, reason=why)
            if handle is None:
                handle = self._hand_over(spec or _no_spec(folder), launch)
            self.engine.pull(handle.name, folder)
            end = read(folder / "exit.json", JobExit)
            if end is not None:  # it has just come
                return self._status(launch, folder, _ended(end), handle, end=end)
            word = self._word(handle.name, _as_submitted(launch, folder))
        except Unreachable as error:
            self._heard_nothing(error)
            return self._status(launch, folder, "unknown", handle, reason=self._silence)
        return self._judge(launch, folder, handle, word)

    def logs(self, job: str, cursor: int = 0, limit: int = 65_536) -> LogChunk:
        """log.txt from byte `cursor` on, as far as it has come here."""
        ended = self.inspect(job).state not in OPEN
        return read_chunk(self.jobs_folder / job / "log.txt", cursor, limit, ended=ended)

    def cancel(self, job: str, grace_s: float = 10.0) -> JobStatus:
        """Ask through the control file, wait `grace_s`, then have the scheduler take it down."""
        folder = self.jobs_folder / job
        status = self.inspect(job)
        if status.state not in OPEN:
            return status
        (folder / "cancel").touch()
        if status.state == "queued" and not status.handle:  # nobody has it yet
            write_json(folder / "exit.json", JobExit(reason="cancelled"))
            return self.inspect(job)
        (folder / "control").write_text("stop\n", encoding="utf-8")
        try:
            self._words.clear()
            if status.state == "queued" and self.inspect(job).state == "queued":
                self._take_down(status.handle, folder)
            else:
                self.engine.ask(status.handle, folder, "stop")
                if self.wait(job, grace_s).state in OPEN:
                    self._take_down(status.handle, folder)
        except Unreachable as error:
            self._heard_nothing(error)
            return self.inspect(job)
        self._words.clear()
        return self.wait(job, SETTLE_S + 20.0)

    def find_by_effect(self, effect_id: str) -> JobStatus | None:
        """The job that was submitted under an effect id, or None."""
        for path in sorted(self.jobs_folder.glob("*/launch.json")):
            launch = read(path, Launch)
            if launch is not None and launch.effect_id == effect_id:
                return self.inspect(path.parent.name)
        return None

    def wait(self, job: str, timeout_s: float) -> JobStatus:
        """Block until the job is over or the time is up; for tests and tools, the host polls."""
        until = time.monotonic() + timeout_s
        while True:
            status = self.inspect(job)
            if status.state not in OPEN or time.monotonic() >= until:
                return status
            time.sleep(_POLL_S)

    def _take_down(self, handle: str, folder: Path) -> None:
        """By the scheduler, if its name still means this job there. One that it forgot (the name may be another's now) is
        ended by its own supervisor, which sees that the folder is no longer its own."""
        launch = read(folder / "launch.json", Launch)
        if launch is None or self.engine.word(handle, _as_submitted(launch, folder)).state == "gone":
            (folder / "claim").write_text(NOBODY, encoding="utf-8")
        else:
            self.engine.stop(handle, folder)

    def _must_wait(self, spec: JobSpec, folder: Path) -> str:
        with locked(folder):
            return "" if (folder / "handle.json").exists() else self.engine.wait_for(spec)

    def _write(self, spec: JobSpec, folder: Path) -> Launch:
        """What makes the folder a job's. Raises FileExistsError where it is one already."""
        launch = Launch(
            job=spec.job, kind=spec.kind, effect_id=spec.effect_id, argv=job_argv(self.python, spec), env=job_env(spec),
            time_limit_s=spec.time_limit_s, memory_limit_bytes=spec.memory_limit_bytes,
        )  # fmt: skip
        # Secrets never go to disk: a job that must be handed over by another process starts without them.
        write_json(folder / "submitted.json", msgspec.structs.replace(spec, secrets={}))
        write_once(folder / "launch.json", msgspec.json.encode(launch))
        return launch

    def _hand_over_array(self, engine: ArrayEngine, effect_id: str, specs: Sequence[JobSpec]) -> None:
        """Under the locks of all its folders: whoever looks at one of them meanwhile would hand that one over by itself.
        A scheduler that refuses arrays is left to be asked one by one; one that does not answer may have taken it, and each
        is looked for there before it is handed over again."""
        folders = sorted(Path(s.folder) for s in specs)
        with ExitStack() as locks:
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
                locks.enter_context(locked(folder))
            ours = [s for s in specs if not (Path(s.folder) / "launch.json").exists()]
            for spec in ours:
                self._write(spec, Path(spec.folder))
            try:
                names = engine.start_array(ours, effect_id) if ours else []
            except Unreachable as error:
                self._heard_nothing(error)
            except JobError:
                for spec in ours:
                    (Path(spec.folder) / "launch.json").unlink()
            else:
                for spec, name in zip(ours, names, strict=True):
                    write_json(Path(spec.folder) / "handle.json", Handle(name=name, backend=self.engine.name))

    def _hand_over(self, spec: JobSpec, launch: Launch, *, first: bool = False) -> Handle:
        """Find the job at the scheduler or start it there: under a lock, so that two processes do not both start it."""
        folder = Path(self.jobs_folder / spec.job)
        with locked(folder):
            handle = read(folder / "handle.json", Handle)
            if handle is not None:
                return handle
            name = None if first else self.engine.find(spec.effect_id)
            handle = Handle(name=name or self.engine.start(spec, launch), backend=self.engine.name)
            write_json(folder / "handle.json", handle)
            return handle

    def _word(self, handle: str, launch: Launch) -> Word:
        key = (handle, launch.effect_id)  # a scheduler that lost its state gives a name out twice
        asked, word = self._words.get(key, (-ANSWER_S, None))
        if word is None or time.monotonic() - asked >= ANSWER_S:
            word = self.engine.word(handle, launch)
            self._words[key] = (time.monotonic(), word)
        return word

    def _judge(self, launch: Launch, folder: Path, handle: Handle, word: Word) -> JobStatus:
        if word.state in ("queued", "running"):
            (folder / "over").unlink(missing_ok=True)
            if word.start and word.seconds > BEGIN_S and isinstance(self.engine, Requeues):
                with locked(folder):
                    silence = not_begun(self.engine, handle.name, folder, word.start, word.where)
                if silence:
                    return self._status(launch, folder, "running", handle, reason=silence, note=silence)
            return self._status(launch, folder, word.state, handle, reason=word.says)
        end = read(folder / "exit.json", JobExit)  # it may have come while we asked
        if end is not None:
            return self._status(launch, folder, _ended(end), handle, end=end)
        asked = (folder / "cancel").exists()
        if _beats(folder, BEAT_S / 4 if asked else BEAT_S):
            return self._status(
                launch, folder, "running", handle, reason=f"{word.says or 'forgotten'}, but its heartbeat goes on"
            )
        marker = folder / "over"
        if _seen_for(marker) < (SETTLE_S / 4 if asked else SETTLE_S):
            return self._status(launch, folder, "unknown", handle, reason=f"{word.says}; its exit.json is not here yet")
        if asked:
            return self._end(launch, folder, handle, JobExit(reason="cancelled"))
        if word.state == "gone" and not (folder / "claim").exists():
            # Accepted and forgotten before it began (a controller that lost its state). Handing it over again is safe:
            # should both turn up after all, the first to claim the folder runs and the other ends at once.
            (folder / "handle.json").unlink(missing_ok=True)
            marker.unlink(missing_ok=True)
            return self._status(
                launch, folder, "unknown", None, reason=f"{self.engine.name} forgot it; handed over again"
            )
        if word.exit is not None:
            return self._end(launch, folder, handle, word.exit)
        says = word.says or f"{self.engine.name} has no record of it"
        return self._status(launch, folder, "lost", handle, reason=f"{says}; it left no word on how it ended")

    def _end(self, launch: Launch, folder: Path, handle: Handle, end: JobExit) -> JobStatus:
        write_json(folder / "exit.json", end)
        return self._status(launch, folder, _ended(end), handle, end=end)

    def _heard_nothing(self, error: Unreachable) -> None:
        self._silent_until = time.monotonic() + RETRY_S
        self._silence = str(error)

    def _status(
        self, launch: Launch, folder: Path, state: State, handle: Handle | None, *, reason: str = "", note: str = "",
        end: JobExit | None = None,
    ) -> JobStatus:  # fmt: skip
        return JobStatus(
            job=launch.job, state=state, folder=str(folder), effect_id=launch.effect_id, argv=launch.argv, exit=end,
            backend=self.engine.name, handle=handle.name if handle else "", reason=reason, note=note,
        )  # fmt: skip


class Handle(msgspec.Struct, frozen=True, kw_only=True):
    """handle.json: the scheduler's name of the job."""

    name: str
    backend: str


def read(path: Path, kind: type[T]) -> T | None:
    """A file of a job's folder, None where it is not there. Raises JobError where it is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise JobError(f"a damaged file: {error}", where=str(path), next="Look at the job's folder.") from error


def _as_submitted(launch: Launch, folder: Path) -> Launch:
    """Under the effect id the scheduler was told last: a job that was started once more has a number behind it."""
    spec = read(folder / "submitted.json", JobSpec)
    return launch if spec is None else msgspec.structs.replace(launch, effect_id=spec.effect_id)


class _Seen(msgspec.Struct):
    first: float
    last: float


def _seen_for(marker: Path) -> float:
    """Seconds for which every look found the job over. A look long ago counts for nothing: a job may have been over (between
    a preemption and its requeue), have run again unseen, and be between two starts once more."""
    now = time.time()
    seen = read(marker, _Seen) or _Seen(first=now, last=now)
    if now - seen.last > SETTLE_S / 2:
        seen.first = now
    seen.last = now
    write_json(marker, seen)
    return now - seen.first


def _beats(folder: Path, within_s: float) -> bool:
    """Whether the job's supervisor lives, by the clock of the file system on which both files lie."""
    try:
        beat = (folder / "beat").stat().st_mtime
    except FileNotFoundError:
        return False
    now = folder / "now"
    now.touch()
    return now.stat().st_mtime - beat < within_s


def _no_spec(folder: Path) -> JobSpec:
    raise JobError(
        "submitted.json is missing, so the job cannot be handed over", where=str(folder), next="Launch it anew."
    )


@contextmanager
def locked(folder: Path) -> Generator[None]:
    with (folder / "submit.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _ended(end: JobExit) -> State:
    if end.reason in ("finished", "time_limit") and end.exit_code == 0:
        return "done"
    return "cancelled" if end.reason == "cancelled" else "failed"
