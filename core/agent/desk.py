"""What tools work with: the run's folder, task, journal, compute, literature and clock, on one desk.

Tools get the desk and nothing else; they emit events through it and never keep state of their own, so that a new host
can put the same desk together from the log.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import msgspec

from core import events as e
from core.agent.clean_data import admit_data, admit_workspace
from core.agent.foreign import held_job, is_foreign
from core.agent.patience import UNREACHED, abandoned
from core.agent.spend import admit_spending
from core.agent.trust import admit_model
from core.clock import Clock
from core.compute.machine import cores
from core.compute.protocol import Compute, Elsewhere, Many, Priced, submit_many
from core.compute.spec import JobSpec, JobStatus
from core.errors import JobError, ToolError, Unreachable
from core.evaluation.prompting import Prompting
from core.evaluation.verify import VerifierSpec, guess_verifier
from core.home import boot_id
from core.ids import stable_id
from core.journal import Journal
from core.literature.library import Literature
from core.state import Job, RunState
from core.tasks import ModelCard, Task
from core.tracking.target import store_folder
from store.blobs import BlobStore

if TYPE_CHECKING:
    from core.tools.toolbox import ToolDef


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the person asked for, as the log has it."""

    run: str
    goal: str
    model: str
    autonomy: str = "network"
    seed: int = 0
    hours: float = 10.0
    usd: float = 0.0
    unattended: bool = False
    trackio: str = ""
    """Where Trackio logs besides the run's folder; off: nowhere."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A job as a tool wants it."""

    kind: str
    method: str
    title: str
    spec: dict[str, Any]
    """What stands in its spec.json."""
    config: dict[str, Any]
    threads: int
    job: str
    effect_id: str
    experiment: str = ""
    time_limit_s: float | None = None
    planned_steps: int | None = None


T = TypeVar("T")

REACH_S = 600.0
"""A cluster that does not answer is asked again so long within one call, before the brain is told."""

RETRY_S = 10.0

PATIENCE_S = 60.0
"""Somebody at the keyboard decides within it; whoever does not is away, and the work goes on without that call."""


def patience_s() -> float:
    """INTERN_APPROVAL_PATIENCE_S of the host's environment, else the default."""
    try:
        return max(0.0, float(os.environ.get("INTERN_APPROVAL_PATIENCE_S", PATIENCE_S)))
    except ValueError:
        return PATIENCE_S


INNER = ".h"
"""In the id of a helper's call: `5.0.h2` is the second turn of the helper that the call 5.0 asked."""

EXPIRED = "expired"
"""The decision on an approval whose call ended before a person had decided."""

OPEN = ("running", "paused")
"""A job that may still go on."""


class Reply(NamedTuple):
    """What a brain answered outside the main context."""

    tool: str
    arguments: dict[str, Any]
    tokens: float
    cost_usd: float


class Admits(Protocol):
    """The gate, as tools see it."""

    def admit(self, call: str, definition: ToolDef, arguments: dict[str, Any]) -> dict[str, Any]: ...

    def misfit(self, tool: str, arguments: dict[str, Any]) -> str: ...

    def programs(self, tool: str, arguments: dict[str, Any]) -> dict[str, str]: ...


class Interrupted(ToolError):
    """A person interrupted the wait. Jobs go on."""


class Desk:
    """One run's services. Used from the agent's thread; `interrupt` may be set from any."""

    def __init__(
        self,
        *,
        folder: Path,
        settings: Settings,
        task: Task,
        card: ModelCard,
        journal: Journal,
        compute: Compute,
        literature: Literature,
        clock: Clock,
        prompting: Prompting,
        gpus: int = 0,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.task = task
        self.card = card
        self.journal = journal
        self.compute = compute
        self.literature = literature
        self.clock = clock
        self._gpus = gpus
        self.gpu_bytes: int | None = None
        """Memory of the largest GPU of this machine."""
        self.blobs = BlobStore(folder)
        self.interrupt = threading.Event()
        self.stopping = threading.Event()
        self.call = ""
        """Id of the tool call being carried out: keyed effects derive their effect ids from it."""
        self.again = False
        """The present call was begun before: it was put off, or the host died in it."""
        self._call_ts = 0
        self._said: dict[bytes, int] = {}
        """What the present call has recorded, by content: see `_id`."""
        self.gate: Admits | None = None
        """Set by the agent: every call goes through it, a helper's too."""
        self.ask_brain: Callable[[list[Any], list[Any]], Reply] | None = None
        """Set by the agent: one question to the brain in a context of its own; None where it is a fixed policy."""
        self.prompting = prompting
        self._verifier = task.verifier
        self._max_new_tokens = task.max_new_tokens

    # ------------------------------------------------------------------------------------------------ events, state

    @property
    def state(self) -> RunState:
        return self.journal.state

    def emit(self, payload: e.Payload, *, cause: int | None = None, id: str | None = None) -> int:
        """Record something the agent did or learnt; returns its sequence number."""
        self._still_wanted()
        if id is None and self.call:
            id = self._id(payload)
        return self.journal.emit(payload, actor="agent", cause=cause, id=id).seq

    def emit_soon(self, payload: e.Payload) -> None:
        """As `emit`, with the next event's commit: for what nothing is done upon before that."""
        self._still_wanted()
        self.journal.emit_soon(payload, actor="agent", id=self._id(payload) if self.call else None)

    def begin(self, call: str, effect: str, arguments: dict[str, Any], tier: str, tool: str, step: int) -> None:
        """A tool call is carried out from here on: recorded, unless a host before this one recorded it."""
        known = self.state.open_calls.get(call)
        self.again = known is not None
        if known is None:
            self.call = call
            effect_id = self.effect_id() if effect == "keyed" else ""
            self.call = ""
            request = e.ToolRequested(
                call=call, tool=tool, arguments=arguments, effect=effect, effect_id=effect_id, tier=tier, step=step
            )
            self._call_ts = self.journal.emit_soon(request, actor="agent")
        else:
            self._call_ts = known.ts
        self._said = {}
        self.call = call

    def abandon(self, call: str, why: str) -> None:
        """A call is about to end without its result: so do a helper's calls in it, and nobody needs to decide on them any more.

        Recorded with the call's own end, which the caller emits next.
        """
        inner = f"{call}{INNER}"
        for c in list(self.state.open_calls.values()):
            if c.call.startswith(inner):
                self.emit_soon(e.ToolFailed(call=c.call, tool=c.tool, error=why, kind="interrupted"))
        for a in self.journal.read(lambda s: s.waiting_approvals()):
            if a.call == call or a.call.startswith(inner):
                self.emit_soon(e.ApprovalDecided(approval=a.id, decision=EXPIRED, reason=why))

    def end(self) -> None:
        """The call has its result, or is about to get it."""
        self.call = ""

    def _id(self, payload: e.Payload) -> str:
        """The same id for the same thing said by the same call: a call that is carried out again says it only once.

        A UUIDv7 of the call's own time, so that the log finds it among its neighbours.
        """
        body = payload.type.encode() + b"\0" + e.encode(payload)
        count = self._said[body] = self._said.get(body, 0) + 1
        key = f"{self.settings.run}:{self.call}:{count}:".encode() + body
        return stable_id(self._call_ts, key)

    def _still_wanted(self) -> None:
        if abandoned():
            raise Interrupted("Nobody waits for this call any more")

    def next_id(self, prefix: str, taken: Callable[[RunState], Any]) -> str:
        return f"{prefix}-{1 + self.journal.read(lambda s: len(taken(s)))}"

    # ----------------------------------------------------------------------------------------------------- machine

    @property
    def cores(self) -> int:
        """Cores a job may use: of this machine, or of those on which its jobs run, where they have fewer."""
        try:
            there = self.compute.cores() if isinstance(self.compute, Elsewhere) else 0
        except Unreachable:  # a count for threads: with more than there are a job is only slower
            there = 0
        return min(self.own_cores, there) if there else self.own_cores

    @property
    def own_cores(self) -> int:
        """Cores of this machine that this process may use."""
        return cores()

    @property
    def own_gpus(self) -> int:
        """GPUs of this machine, where evaluate.py runs."""
        return self._gpus

    @property
    def gpus(self) -> int:
        """GPUs that this run's jobs may have side by side, wherever they run. A cluster that does not answer is waited for."""
        return self.reached(self.compute.gpus) if isinstance(self.compute, Elsewhere) else self._gpus

    def gpus_now(self) -> int | Unreachable:
        """The same without a wait: why nobody can tell, where that is so."""
        try:
            return self.compute.gpus() if isinstance(self.compute, Elsewhere) else self._gpus
        except Unreachable as error:
            return error

    def reached(self, ask: Callable[[], T]) -> T:
        """What a cluster or a service says, asked again for REACH_S where it does not answer. Raises ToolError after that."""
        until, told = time.monotonic() + REACH_S, False
        while True:
            try:
                return ask()
            except Unreachable as error:
                if time.monotonic() >= until:
                    raise ToolError(
                        f"The place where jobs run {UNREACHED}: {error}",
                        next="Nothing was begun. Do what needs no job meanwhile, or send this again later",
                    ) from error
                if not told:
                    told = True
                    self.emit(e.NoteAdded(text=f"The place where jobs run {UNREACHED} ({error}); it is asked again"))
            self.wait_until(lambda s: False, RETRY_S)

    @gpus.setter
    def gpus(self, count: int) -> None:
        self._gpus = count

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"

    def threads(self, wanted: int | None) -> int:
        return max(1, min(self.cores, wanted or self.cores))

    # -------------------------------------------------------------------------------------------------------- names

    def model_path(self, name: str) -> str:
        """The folder or Hub id behind `base`, `final`, a job id or a path."""
        if name in ("base", ""):
            return self.settings.model
        if name in ("final", "final_model"):
            final = self.folder / "final_model"
            if not final.exists():
                raise ToolError("There is no final_model yet", next="Evaluate the base model and promote it first")
            return str(final)
        job = self.state.jobs.get(name)
        if job is not None:
            if not job.checkpoint:
                raise ToolError(f"{name} has saved no checkpoint (it is {job.status})", next="Choose another model")
            return job.checkpoint
        if Path(name).is_dir():
            return name
        known = ", ".join(["base", "final", *[j.id for j in self.state.jobs.values() if j.checkpoint]])
        raise ToolError(f"No model is called {name!r}", next=f"Known: {known}")

    def data_path(self, name: str) -> Path:
        """The folder of a prepared data set."""
        data = self.state.datasets.get(name)
        if data is None or not data.prepared:
            known = ", ".join(d.name for d in self.state.datasets.values() if d.prepared) or "none yet"
            raise ToolError(f"No prepared data is called {name!r}", next=f"Known: {known}. Use prepare_data first")
        return Path(data.prepared)

    # ----------------------------------------------------------------------------------------------- development set

    def dev_file(self) -> Path | None:
        """Development samples: the task's own, else those the first preparation set apart. They never change in a run."""
        if self.task.dev_file:
            return Path(self.task.dev_file)
        first = next((d for d in self.state.datasets.values() if d.prepared and d.dev_rows), None)
        return Path(first.prepared) / "dev.jsonl" if first else None

    def _dev_answers(self) -> list[str]:
        path = self.dev_file()
        if path is None or not path.exists():
            return []
        rows = [msgspec.json.decode(line, type=_Answer) for line in path.read_bytes().splitlines() if line.strip()]
        return [row.answer for row in rows]

    @property
    def verifier(self) -> VerifierSpec:
        """The task's own check, else one guessed from the development answers."""
        if self._verifier is None:
            answers = self._dev_answers()
            if not answers:
                return VerifierSpec(kind="exact")
            self._verifier = guess_verifier(answers)
        return self._verifier

    @property
    def max_new_tokens(self) -> int:
        """The task's own limit, else twice what the longest development answer needs (64 before there are any)."""
        if self._max_new_tokens is None:
            answers = self._dev_answers()
            if not answers:
                return 64
            self._max_new_tokens = min(4096, max(16, 2 * max(token_counts(self.card.path, answers))))
        return self._max_new_tokens

    # ----------------------------------------------------------------------------------------------------- a person

    def asked(self, approval: str) -> bool:
        """Whether a person was asked this already. A question whose call ended before its answer is to be asked again."""
        known = self.state.approvals.get(approval)
        return known is not None and known.decision != EXPIRED

    def decided(self, approval: str, call: str) -> bool:
        """Wait for a person's decision; False once they have let `PATIENCE_S` pass: the brain goes on meanwhile."""
        return self.wait_until(lambda s: approval in s.approvals and bool(s.approvals[approval].decision), patience_s())

    # --------------------------------------------------------------------------------------------------------- jobs

    def effect_id(self, part: str = "") -> str:
        """The same for the same call after a restart; another for every other effect."""
        return f"{self.settings.run}:{self.call}{':' + part if part else ''}"

    def launched(self, part: str = "") -> str | None:
        """The job this very call has started already, before a crash; None if it has not."""
        return self.job_of(self.effect_id(part))

    def job_of(self, effect_id: str) -> str | None:
        """The job that was launched under this effect id; None if none was."""
        return self.journal.read(lambda s: next((j.id for j in s.jobs.values() if j.effect_id == effect_id), None))

    def launch(
        self,
        *,
        kind: str,
        method: str,
        title: str,
        spec: msgspec.Struct | dict[str, Any],
        config: dict[str, Any],
        threads: int,
        experiment: str = "",
        time_limit_s: float | None = None,
        planned_steps: int | None = None,
        part: str = "",
        job: str | None = None,
    ) -> str:
        """Start a job once (an effect id already known is found again) and record it. Waits for a free slot."""
        self._still_wanted()
        known = self.launched(part)
        if known:
            return known
        order = Order(
            kind=kind, method=method, title=title, spec=msgspec.to_builtins(spec), config=config, threads=threads,
            experiment=experiment, time_limit_s=time_limit_s, planned_steps=planned_steps,
            job=job or self.new_job(), effect_id=self.effect_id(part),
        )  # fmt: skip
        self.start(order)
        return order.job

    def start(self, order: Order) -> None:
        """Start a job and record it. Waits for a free slot."""
        job_spec = self._prepare(order, wait=True)
        self._still_wanted()
        self._record(order, job_spec, self.compute.submit(job_spec))

    def arrays(self) -> bool:
        """Whether the jobs of a sweep go to a scheduler as one, and wait in its queue."""
        return isinstance(self.compute, Many) and self.compute.arrays

    def start_together(self, orders: Sequence[Order]) -> None:
        """Start the jobs of a sweep as one array and record them. Only where there are `arrays`."""
        specs = [self._prepare(order, wait=False) for order in orders]
        self._still_wanted()
        try:
            found = submit_many(self.compute, specs)
        except JobError:  # some may have been taken before one was refused: they run, so somebody has to watch them
            for order, job_spec in zip(orders, specs, strict=True):
                if (taken := self.compute.find_by_effect(order.effect_id)) is not None:
                    self._record(order, job_spec, taken)
            raise
        for order, job_spec, status in zip(orders, specs, found, strict=True):
            self._record(order, job_spec, status)

    def _prepare(self, order: Order, *, wait: bool) -> JobSpec:
        """The job's folder and what compute is asked for, admitted by every rule on data, models and money."""
        job, body = order.job, order.spec
        if order.kind in ("training", "script") and body.get("data"):
            admit_data(self, Path(body["data"]))
        if order.kind == "script":
            admit_workspace(self)
        if wait:
            self.wait_for_slot(order.threads)
        folder = self.folder / "jobs" / job
        folder.mkdir(parents=True, exist_ok=True)
        if body.get("model") and "trust" in body:
            body["trust"] = admit_model(self, str(body["model"]))
        (folder / "spec.json").write_bytes(msgspec.json.format(msgspec.json.encode(body)))
        job_spec = JobSpec(
            job=job,
            kind=str(body["kind"]),
            effect_id=order.effect_id,
            folder=str(folder),
            env={} if self.settings.trackio == "off" else {"TRACKIO_DIR": str(store_folder(self.folder))},
            slots=order.threads,
            time_limit_s=order.time_limit_s,
            gpus=self.gpus_for(str(body["kind"]), order.config),
        )
        if is_foreign(body) and not isinstance(self.compute, Priced):  # a rented machine is a sandbox of its own
            job_spec = held_job(job_spec, body, self.folder / "workspace", network=body.get("network") or "off")
        if isinstance(self.compute, Priced):
            priced = self.compute
            admit_spending(self, job_spec, self.reached(lambda: priced.quote(job_spec)))
        return job_spec

    def _record(self, order: Order, job_spec: JobSpec, status: JobStatus) -> None:
        launched = e.JobLaunched(
            job=order.job, kind=order.kind, method=order.method, title=order.title, effect_id=order.effect_id,
            folder=job_spec.folder, argv=list(status.argv), config=order.config, experiment=order.experiment, pid=status.pid,
            started=status.pid_start, boot_id=boot_id(), planned_steps=order.planned_steps, backend=status.backend,
            gpus=job_spec.gpus,
        )  # fmt: skip
        if abandoned():  # interrupted while it was being submitted: it runs, so somebody has to watch it
            self.journal.emit(launched, actor="agent")
        else:
            self.emit(launched)

    def gpus_for(self, kind: str, config: dict[str, Any]) -> int:
        """GPUs of one job: what its configuration asks for, else one; none for work on data."""
        if not self.gpus or kind in ("inspect", "prepare"):
            return 0
        return max(1, min(self.gpus, int(config.get("gpus") or 1)))

    def new_job(self) -> str:
        return self.next_id("job", lambda s: s.jobs)

    def wait_for_slot(self, threads: int) -> None:
        """Never more threads than cores: two jobs of one thread share a machine of two cores, one of two does not."""

        gpus, cores = self.gpus, self.cores  # a cluster may have to be asked: not while the state is held

        def free(state: RunState) -> bool:
            if gpus:  # the queue gives jobs their devices and cores
                return len(state.running_jobs()) < 2 * gpus
            used = sum(int(j.config.get("threads", cores)) for j in state.running_jobs())
            return used == 0 or used + threads <= cores

        self.wait_until(free, None)

    def wait_until(self, ready: Callable[[RunState], bool], seconds: float | None) -> bool:
        """Wait for the state; an interruption by a person raises, the end of the time returns False."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = 0.5 if deadline is None else min(0.5, deadline - time.monotonic())
            if self.journal.wait(lambda s: ready(s) or self.interrupt.is_set() or self.stopping.is_set(), max(left, 0)):
                if self.journal.read(ready):
                    return True
                if self.stopping.is_set():
                    raise Interrupted("The run ends, and with it this wait", next="Nothing: what was reached is kept")
                raise Interrupted("The wait was interrupted; jobs go on", next="Read the last message of the person")
            if deadline is not None and time.monotonic() >= deadline:
                return False

    def wait_for_job(self, job: str, seconds: float | None = None) -> Job:
        """Wait for the end of a job and return it; raises JobError where it failed."""
        self.wait_until(lambda s: s.jobs[job].status not in OPEN, seconds)
        ended = self.state.jobs[job]
        if ended.status in ("failed", "lost"):
            raise JobError(f"{job} {ended.status}: {ended.reason}", where=f"{ended.folder}/log.txt")
        return ended


class _Answer(msgspec.Struct):
    answer: str = ""


def token_counts(model: str, texts: list[str]) -> list[int]:
    """Tokens of each text by the model's tokenizer.json; characters where there is none to read."""
    path = Path(model) / "tokenizer.json"
    if not path.exists():
        return [len(text) for text in texts]
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    return [len(tokenizer.encode(text).ids) + 1 for text in texts]
