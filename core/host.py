"""The run's host: one detached process a run that owns the log, serves it, watches jobs and lets the agent work.

It starts from the log alone. A log with nothing but `run_created` begins a run; one that a dead host left is recovered:
the state is folded, running jobs are found again by their files, the brain's memory is rebuilt from events.
"""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec

from core import events as e
from core.agent import budget
from core.agent.brain import HOW_TO_USE_AN_LLM
from core.agent.control import Control
from core.agent.desk import Desk, Settings
from core.agent.jobcontrol import take_up
from core.agent.loop import research
from core.agent.trust import admit_model, approved_risks
from core.background import Background
from core.clock import Clock, reserve_of
from core.compute.choice import open_compute
from core.compute.confinement import probe
from core.compute.place import place
from core.compute.protocol import Warm
from core.compute.telemetry import GpuSample, Telemetry
from core.errors import InternError, NotFound, Refused, ToolError
from core.evaluation import guard as guards
from core.evaluation.benchmark import BenchmarkResult, Request, measure_guarded
from core.evaluation.models import check_model
from core.evaluation.prompting import choose_format, read_tokenizer_config
from core.evaluation.scale import Scale
from core.evaluation.stats import wilson
from core.final_model import promote_folder
from core.finish import finish
from core.fold import fold
from core.home import HostInfo, boot_id, cache_dir, process_started, socket_path, write_json
from core.hub.licences import stated_in
from core.journal import Journal
from core.literature.library import from_environment as open_literature
from core.notify import Notifier
from core.peers import is_confined
from core.snapshots import SnapshotWriter
from core.state import RunState
from core.summary import summarise
from core.tables import TABLES
from core.tasks import load_task
from core.tools import all_tools
from core.tools.keep import decoding_of, stop_ids_of
from core.tools.servers import Servers
from core.tracking.mirror import AlertMirror
from core.tracking.target import parse_target
from core.training.promote import recover_swap
from core.training.trust import Risk, local_folder
from core.watcher import JobWatcher
from store.errors import StoreError
from store.event import Event
from store.log import EventLog
from store.serve import LogServer

CONTRACT_SAMPLES = 16
"""Samples of the look at the benchmark that only checks that evaluate.py works."""

LOOK_ENDS_S = 20.0
"""For an evaluation that is stopped to be taken down with its children."""


def host(folder: Path, python: str = sys.executable) -> int:
    """Run the host of `folder` until its run ends. Returns the exit code. `python` runs the jobs."""
    with EventLog.open(folder, TABLES) as log:
        started = process_started(os.getpid()) or 0.0
        socket = socket_path(folder)
        write_json(
            folder / "host.json", HostInfo(pid=os.getpid(), started=started, boot_id=boot_id(), socket=str(socket))
        )
        try:
            return _Host(folder, log, socket, python).run()
        finally:
            with contextlib.suppress(FileNotFoundError):
                (folder / "host.json").unlink()


class _Host:
    def __init__(self, folder: Path, log: EventLog, socket: Path, python: str) -> None:
        self.folder = folder
        self.past: list[Event] = list(log.events())
        state = fold(RunState(), self.past)
        if state.status in e.ENDED:
            raise Refused(
                f"Run {state.run} has {state.status}",
                where=str(folder),
                next=f"intern replay {state.run}, or intern fork",
            )
        self.journal = Journal(log, state)
        self.desk = _desk(folder, self.journal, state, python)
        self.control = Control(self.desk)
        if isinstance(self.desk.compute, Warm):
            self.desk.compute.warm_up()
        self.watcher = JobWatcher(self.journal, self.desk.compute, folder, lambda job: take_up(self.desk, job))
        self.alerts = AlertMirror(self.journal, folder, parse_target(state.trackio))
        self.telemetry = Telemetry()
        devices = [s for s in self.telemetry.sample() if s.source != "psutil"]
        self.desk.gpus = len(devices)
        self.desk.gpu_bytes = max((s.memory_total_bytes or 0 for s in devices), default=0) or None
        self.guard = guards.record(self.desk.task, folder / "guard")
        self.summary = SummaryWriter(folder, self.journal)
        self.notifier = Notifier(self.journal, state.title or state.run)
        self.snapshots = SnapshotWriter(folder, self.journal, log)
        self.quick = threading.Event()
        """No time for a last evaluation: one that waits or runs ends too."""
        self.failure = ""
        self.spent = ""
        """The budget that is used, once one is."""
        self._over = threading.Event()
        self._written = threading.Event()
        self.journal.listen(self._on_written)
        self.control.close_lost()  # before the first command of this host can come
        handlers = {"state": self._state, "command": self.control.command}
        self.server = LogServer(log, socket, handlers, lambda pid: not is_confined(pid))

    def run(self) -> int:
        signal.signal(signal.SIGTERM, self._leave)
        signal.signal(signal.SIGUSR1, self._end_quickly)
        self._begin()
        threads = [
            threading.Thread(target=self._guarded, args=(self.watcher.run,), name="jobs"),
            threading.Thread(target=self._guarded, args=(self._measure,), name="telemetry"),
            threading.Thread(target=self._guarded, args=(self._keep_time,), name="clock"),
            threading.Thread(target=self._guarded, args=(self._check_contract,), name="contract", daemon=True),
        ]
        mirror = threading.Thread(target=self._guarded, args=(self.alerts.run,), name="alerts")
        for thread in (*threads, mirror):
            thread.start()
        status, reason = "finished", ""
        servers = Servers(self.journal)
        try:
            if self.journal.state.stop_reason:  # a person's stop that a dead host could not carry out to its end
                self.control.stop_reason = self.journal.state.stop_reason
                self.desk.stopping.set()
                reason = self.control.stop_reason
            else:
                tools = [*all_tools(), *servers.tools()]
                reason = research(self.desk, self.control, self.past, tools)
            self.past = []
            reason = self.spent or reason
            status = "failed" if self.failure else "stopped" if self.control.stop_reason else "finished"
            reason = self.failure or reason
        except InternError as error:
            status, reason = "failed", str(error)
        except Exception as error:  # noqa: BLE001 - a bug ends the run with its name in the log; the trace goes to host.log
            traceback.print_exc()
            status, reason = "failed", f"a bug in the intern: {type(error).__name__}: {error} (trace in host.log)"
        finally:
            # The watcher goes on: finish() stops jobs and waits for their last events.
            self._over.set()
            self.desk.end()
            self.control.end()
            servers.close()
        try:
            self.alerts.stop()
            mirror.join()
            self._end_look(threads[3])
            if self.failure:
                self.quick.set()
            finish(self.desk, self.guard, status, reason, self.quick)
        except StoreError as error:
            # The log takes nothing more (a full disk, mostly): no training may go on unwatched.
            for job in self.desk.state.running_jobs():
                self.desk.compute.cancel(job.id, 5.0)
            self.journal.last_words(e.NoteAdded(text=f"The host leaves, the log takes no more: {error}"))
            raise
        finally:
            self.watcher.stop()
            for thread in threads[:3]:
                thread.join()
            self.telemetry.close()
            self.alerts.close()
            if isinstance(self.desk.compute, Warm):
                self.desk.compute.close()
            self.summary.close()
            self.snapshots.close()
            self.notifier.close()
            self.server.close()
        return 0 if self.journal.state.status == "finished" else 1

    # ------------------------------------------------------------------------------------------------------ beginning

    def _begin(self) -> None:
        state, journal = self.journal.state, self.journal
        self._restore_final()
        sandbox = probe()
        if state.sandbox != sandbox.level:
            journal.emit(e.SandboxProbed(level=sandbox.level, reason=sandbox.reason))
        if state.status == "created":
            note = f"brain: playbook (no LLM); {HOW_TO_USE_AN_LLM}" if state.brain == "playbook" else ""
            journal.emit(e.RunStarted(pid=os.getpid(), boot_id=boot_id(), cores=self.desk.cores, note=note))
            self._quote_published()
            self._note_licence()
            return
        running = [j.id for j in state.running_jobs()]
        lost = [j for j in running if self._lost(j)]
        journal.emit(
            e.HostRecovered(pid=os.getpid(), open_calls=list(state.open_calls), running_jobs=running, lost_jobs=lost)
        )
        for job in running:
            if job not in lost:
                journal.emit(e.JobAttached(job=job))
        self.restart_lost(lost)
        journal.emit(e.RunStarted(pid=os.getpid(), boot_id=boot_id(), cores=self.desk.cores))

    def _quote_published(self) -> None:
        """The third baseline beside zero-shot and few-shot: known from print, not measured."""
        task = self.desk.task
        known = task.published_for(self.desk.settings.model)
        if known is not None:
            said = e.BaselinePublished(model=known.model, score=known.score, source=known.source, benchmark=task.name)
            self.journal.emit(said)

    def _note_licence(self) -> None:
        """What the base's own folder says about its licence: for who publishes what comes out of it."""
        folder = local_folder(self.desk.settings.model)
        licence = stated_in(folder) if folder is not None else ""
        if licence:
            self.journal.emit(e.LicenceFound(model=self.desk.settings.model, licence=licence, source=str(folder)))

    def _restore_final(self) -> None:
        """A fork has its parent's choice and not yet its model: made again from where it came from."""
        state, final = self.journal.state, self.folder / "final_model"
        recover_swap(final)
        if not state.checkpoint or final.exists():
            return
        promoted = next(
            p for event in reversed(self.past) if isinstance(p := e.payload_of(event), e.CheckpointPromoted)
        )
        found = state.evaluations[promoted.evaluation]
        source = self.desk.model_path(promoted.source)
        promote_folder(
            source,
            final,
            decoding_of(self.desk, found),
            stop_ids_of(self.desk, found),
            self.desk.prompting,
            approved_risks(self.desk.state),
        )

    def _lost(self, job: str) -> bool:
        try:
            return self.desk.compute.inspect(job).state == "lost"
        except NotFound:
            return True  # its folder is gone, or stayed where this run was copied from

    def restart_lost(self, lost: list[str]) -> None:
        """A reboot ends jobs without a word. One that left a checkpoint goes on from it, the others are failed."""
        for job in lost:
            if take_up(self.desk, job):
                continue
            reason = "lost: its supervisor is gone, it left no word on how it ended and no checkpoint to go on from"
            self.journal.emit(e.JobFailed(job=job, reason=reason))

    def _check_contract(self) -> None:
        """One small look at the benchmark with the base model: an evaluate.py that is broken is found now, not at the end."""
        desk = self.desk
        if any(x.split == "contract" and x.done for x in desk.state.evaluations.values()):
            done = (event for event in self.past if event.type == e.EvaluationFinished.type)
            looks = [
                p for x in done if isinstance(p := e.payload_of(x), e.EvaluationFinished) and p.split == "contract"
            ]
            desk.clock.hold_back(looks[-1].seconds if looks else 0.0)
            return
        try:
            # evaluate.py loads the model as it likes: a person's yes to code that comes with it is needed before that
            trusted = admit_model(desk, desk.settings.model, deferrable=False)
        except ToolError as error:
            self._give_up(str(error))
            return
        label = "does evaluate.py work?"
        result = self._look("contract", label, trusted, begins=True)
        if isinstance(result, InternError):
            self._give_up(str(result))
            return
        if result.sandbox:
            desk.emit(e.NoteAdded(text=f"evaluate.py is held by {result.sandbox}, without network (task.toml)"))
        if desk.clock.second_look_pays() and not desk.stopping.is_set():
            said = f"evaluate.py took {result.seconds:.0f} s for {CONTRACT_SAMPLES} samples, the first time; once more to see what is usual"
            desk.emit(e.NoteAdded(text=said))
            again = self._look("contract-2", "how long does evaluate.py take?", trusted)
            if isinstance(again, InternError):
                desk.emit(e.NoteAdded(text=f"The second look came to nothing, the first one counts: {again}"))

    def _look(
        self, name: str, label: str, trusted: tuple[Risk, ...], *, begins: bool = False
    ) -> BenchmarkResult | InternError:
        """evaluate.py on a few samples with the base model; what it took decides what is held back for the last one.

        On a machine with GPUs it takes its place in the queue: beside another run's training it would fail, or make that fail.
        On cores alone a look of one thread is in nobody's way. `begins`: that it begins is recorded.
        """
        desk = self.desk

        def tell(text: str) -> None:
            desk.emit(e.NoteAdded(text=text))

        request = Request(
            model_path=desk.settings.model, output_folder=str(self.folder / "evaluations" / name),
            limit=CONTRACT_SAMPLES, split="dev" if desk.task.has_dev_split else None,
            timeout_s=max(60.0, min(900.0, 0.5 * desk.clock.limit_s)), threads=1, trusted=trusted,
            scale=cast("Scale", desk.state.scores.scale),
        )  # fmt: skip
        waits = place(
            desk.compute, f"{desk.settings.run}:{name}", "The first look at evaluate.py", gpus=desk.task.evaluate_gpus,
            slots=1, patience_s=None, stop=desk.stopping, tell=tell,
        )  # fmt: skip
        try:
            with waits if desk.own_gpus else contextlib.nullcontext(dict[str, str]()) as env:
                if begins:
                    desk.emit(
                        e.EvaluationStarted(evaluation=name, label=label, model=request.model_path, split="contract")
                    )
                request = msgspec.structs.replace(request, env=env)
                result = measure_guarded(desk.task, request, self.guard, tell, desk.stopping)
        except InternError as error:
            return error
        n = result.n or CONTRACT_SAMPLES
        desk.clock.hold_back(result.seconds)
        desk.emit(
            e.EvaluationFinished(
                evaluation=name, label=label, model=request.model_path, split="contract", samples=n,
                score=result.score, interval=wilson(result.score * n, n), decoding="as the model says", digest=result.digest,
                seconds=result.seconds, scale=result.scale,
            )
        )  # fmt: skip
        return result

    def _end_look(self, look: threading.Thread) -> None:
        """The run ends: a look that still waits or runs must not hold the GPU that the last evaluation needs."""
        if self.desk.own_gpus and look.is_alive():
            self.desk.stopping.set()
            look.join(LOOK_ENDS_S)

    def _give_up(self, why: str) -> None:
        """End the run in order; nothing of it can come to a score."""
        if not self.desk.stopping.is_set():
            self.failure = why
            self.desk.stopping.set()
            self.journal.wake()

    # -------------------------------------------------------------------------------------------------------- threads

    def _guarded(self, work: Callable[[], None]) -> None:
        """A thread that breaks ends the run in order: without its watcher, say, the agent would wait for ever."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - recorded as the run's failure; the trace goes to host.log
            traceback.print_exc()
            self.failure = self.failure or f"{type(error).__name__}: {error}"
            self.desk.stopping.set()
            self.journal.wake()

    def _measure(self) -> None:
        measure(self.journal, self.telemetry, self._over)

    def _keep_time(self) -> None:
        """Budgets, four times a second; what the run's folder takes less often, because looking costs."""
        look = 0.0
        while not self._over.wait(0.25):
            clock = self.desk.clock
            if time.monotonic() >= look or self._written.is_set():
                self._written.clear()
                began = time.monotonic()
                self._measure_disk()
                look = time.monotonic() + budget.next_look_s(self.journal.state, time.monotonic() - began)
            state = self.journal.read(lambda s: s)
            for warning in budget.warnings(state, clock):
                self.journal.emit(warning)
            reason = budget.spent(state, clock, budget.free_bytes(self.folder))
            if reason and not self.desk.stopping.is_set():
                self.spent = reason
                self.desk.stopping.set()
                self.journal.wake()

    def _on_written(self, event: Event) -> None:
        """A job has saved a checkpoint: most of what a run writes comes at once, and now is the time to look."""
        if event.type == e.CheckpointSaved.type:
            self._written.set()

    def _measure_disk(self) -> None:
        limit = self.journal.state.budget.disk_gb
        if limit > 0:
            used = budget.folder_bytes(self.folder)
            if abs(used - self.journal.state.budget.disk_used) > budget.worth_saying(limit):
                self.journal.emit(e.BudgetCharged(kind="disk", amount=float(used), what="the run's folder"))

    def _leave(self, number: int, frame: object) -> None:
        """A shutdown, a scheduler, somebody's kill. The run is not over: `intern resume` goes on from here as after a crash,
        which loses nothing, and jobs are their supervisors' business. Only words on their way to the log are waited for."""

        def leave() -> None:
            try:
                print("told to end (SIGTERM): the run can be taken up again with intern resume", flush=True)
                self.journal.settle()
            finally:  # a full disk must not keep it
                os._exit(128 + number)

        threading.Thread(target=leave, name="leaving", daemon=True).start()

    def _end_quickly(self, number: int, frame: object) -> None:
        """`intern solve` has no time left for this run: it ends in order, without its last evaluation."""
        self.control.stop_reason = "the time for this run is used"
        self.quick.set()
        self.desk.stopping.set()

    def _state(self, request: dict[str, Any]) -> dict[str, Any]:
        self.journal.settle()
        seq, data = self.journal.snapshot_bytes()
        return {"seq": seq, "state": base64.b64encode(data).decode()}


def _desk(folder: Path, journal: Journal, state: RunState, python: str) -> Desk:
    task = load_task(state.task if state.task.startswith("pocket/") else state.task_path)
    card = check_model(state.model)
    source = Path(task.evaluate_path).read_text("utf-8", "replace")
    clock = Clock(state.budget.hours, state.used_s())
    clock.reserve_s = reserve_of(clock.limit_s)
    return Desk(
        folder=folder,
        settings=Settings(
            run=state.run, goal=state.goal, model=state.model, autonomy=state.autonomy, seed=state.seed,
            hours=state.budget.hours, usd=state.budget.usd, unattended=state.unattended, trackio=state.trackio,
        ),
        task=task,
        card=card,
        journal=journal,
        compute=open_compute(
            state.compute or "local", folder / "jobs", run=state.run, task=Path(task.path), python=python
        ),
        literature=open_literature(cache_dir()),
        clock=clock,
        prompting=choose_format(read_tokenizer_config(card.path), task.templates, source, Path(card.path).name),
    )  # fmt: skip


def measure(journal: Journal, telemetry: Telemetry, over: threading.Event) -> None:
    """Sample the devices once a second until it is over.

    A commit costs a training on all cores more than the sample: samples go along with the next event that anybody
    records, and alone only if a second has brought none.
    """
    while not over.wait(1.0):
        journal.flush()
        pids = [j.pid for j in journal.read(lambda s: s.running_jobs()) if j.pid]
        for sample in telemetry.sample(pids):
            journal.emit_soon(_gpu(sample))


def _gpu(s: GpuSample) -> e.GpuSampled:
    return e.GpuSampled(
        index=s.index, name=s.name, source=s.source, util=s.utilisation, memory_used=s.memory_used_bytes,
        memory_total=s.memory_total_bytes, power_w=s.power_w, temperature_c=s.temperature_c, own_memory=s.own_memory_bytes,
        others=s.others, note=s.note,
    )  # fmt: skip


class SummaryWriter:
    """Keeps summary.json beside the log, so that runs can be listed without opening logs."""

    TYPES = frozenset(
        {
            "run_started",
            "run_paused",
            "run_resumed",
            "run_finished",
            "evaluation_finished",
            "checkpoint_promoted",
            "note_added",
            "approval_requested",
            "approval_decided",
            "plan_updated",
        }
    )

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.folder = folder
        self.journal = journal
        self._background = Background(self._write, "summary")
        journal.listen(self._on_event)

    def _on_event(self, event: Event) -> None:
        if event.type in self.TYPES:
            self._background.ask()

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # a full disk, mostly: the log has all of it
            write_json(self.folder / "summary.json", self.journal.read(summarise))

    def close(self) -> None:
        """Write it a last time."""
        self._background.ask()
        self._background.close()
