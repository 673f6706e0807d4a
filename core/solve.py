"""`intern solve`: one PostTrainBench task, unattended, from the first second to the last.

Whatever moment the process is ended at, `final_model/` in the task's folder is whole and no worse than the best model
measured so far: the base is put there before anything else is done, each better model replaces it in one step, and nothing is
ever written into it. When a run ends with time left, another one begins with another seed; its models count only where they
score above the best on the same development samples.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import msgspec

from core.agent import blocked
from core.contract import Contract, brain_for
from core.errors import InternError, UsageError
from core.evaluation import guard as guards
from core.evaluation.models import check_model
from core.events import ENDED
from core.home import living_host, run_info
from core.launch import Request, create_run, start_host
from core.session import last_state, open_source
from core.solve_record import recall, remember, set_aside
from core.submission import Submission, base_folder
from core.tasks import load_task
from store.errors import StoreError

EARLY_S = 300.0
"""Ended this long before the limit at the latest: some runners kill exactly at it."""
EARLY_SHARE = 0.03
WORTH_S = 1800.0
"""With less than this left no further round begins (the issue of a run that stops early: 2603.08640)."""
WORTH_SHARE = 0.05
POLL_S = 0.5
FRUITLESS = 3
"""Rounds in a row that end before half of their time without a gain, after which nothing is worth trying."""


PAUSE_S = 30.0
"""Between a run that could not start and the next one."""
RESTARTS = 3
"""Times that a run whose host died is taken up again."""


class Seen(NamedTuple):
    """What of a run was looked at: its folder (inode, time) and the promotion that named its score."""

    mark: tuple[int, int]
    seq: int


class Promoted(NamedTuple):
    """A model that a run put into its final_model."""

    seq: int
    score: float
    digest: str
    baseline: float | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended."""

    final_model: str
    runs: tuple[str, ...]
    baseline: float | None
    best: float | None
    seconds: float
    reason: str
    problems: tuple[str, ...]


class Solver:
    """Works on one task folder. `say` takes one line for the log of the agent."""

    def __init__(self, contract: Contract, environment: dict[str, str], say: Callable[[str], None]) -> None:
        self.contract, self.say = contract, say
        self.brain, note = brain_for(contract.agent, environment)
        self.began = time.monotonic()
        limit = contract.hours * 3600
        self.limit_s = limit - min(EARLY_S, EARLY_SHARE * limit)
        self.ending = threading.Event()
        self.runs: list[Path] = []
        self.baseline: float | None = None
        self.best: float | None = None
        self.note = note
        self.submission: Submission | None = None
        self.guard: guards.Guard | None = None

    @property
    def left_s(self) -> float:
        return self.limit_s - (time.monotonic() - self.began)

    def solve(self) -> Outcome:
        """Until the time is over, nothing is worth trying any more, or a signal says so."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._told_to_end)
        for line in (*self.contract.notes, self.note):
            if line:
                self.say(line)
        folder = Path(self.contract.folder)
        base = base_folder(self.contract.model)
        self.submission = Submission(folder / "final_model", base)
        try:
            self._put_first(self.submission)  # so that there is a model from now on
        except OSError as error:
            raise UsageError(
                f"final_model cannot be written: {error.strerror or error}", where=str(folder),
                next="Start it in a folder that can be written, with room for the model twice.",
            ) from error  # fmt: skip
        self.guard = guards.record(load_task(str(folder)), tempfile.mkdtemp(prefix="evaluation-"))
        reason = self._rounds(base)
        self._put_evaluation_back()
        return Outcome(
            final_model=str(self.submission.target), runs=tuple(r.name for r in self.runs), baseline=self.baseline,
            best=self.best, seconds=round(time.monotonic() - self.began, 1), reason=reason,
            problems=tuple(check_model(str(self.submission.target)).problems),
        )  # fmt: skip

    def _put_first(self, submission: Submission) -> None:
        """The base, or the best of an earlier start in this folder; what is of unknown origin is set aside."""
        target, base = submission.target, submission.base
        left = recall(target, base)
        if left is not None:
            self.best, self.baseline = left.score, left.baseline
            self.say(f"final_model is the best of an earlier start, development score {left.score:.3f}: it stays")
            return
        kept = set_aside(target, base)
        if kept is not None:
            self.say(f"there was a final_model of unknown origin: it is {kept.name} now")
        submission.offer(base)
        self.say(f"final_model holds the base after {time.monotonic() - self.began:.0f} s")

    def _put_evaluation_back(self) -> None:
        """The first round's record is the truth: a later round must not take an altered evaluation for it."""
        if self.guard is None:
            return
        with contextlib.suppress(OSError):
            changes = guards.changed(self.guard)
            if changes:
                guards.restore(self.guard)
                self.say("the evaluation was changed and has been put back: " + ", ".join(changes))

    # ---------------------------------------------------------------------------------------------------------- rounds

    def _rounds(self, base: Path) -> str:
        fruitless = seed = 0
        while not self.ending.is_set():
            worth = min(WORTH_S, WORTH_SHARE * self.contract.hours * 3600)
            if self.left_s < max(worth, 20.0):
                return "the time is over"
            before, budget, began = self.best, self.left_s, time.monotonic()
            try:
                run = self._start(base, seed, budget)
            except InternError as error:
                self.say(f"no run could start: {error}")
                self._without_llm("its run could not start")
                fruitless, seed = fruitless + 1, seed + 1
                if fruitless >= FRUITLESS:
                    return f"no run could start: {error}"
                self.ending.wait(PAUSE_S)  # a machine that is full for a moment is no reason to end hours early
                continue
            self._follow(run)
            for _ in range(RESTARTS):
                if not self._taken_up(run):
                    break
                self._follow(run)
            gained = self.best is not None and (before is None or self.best > before)
            early = time.monotonic() - began < 0.5 * budget
            if early and not gained and not self.ending.is_set() and _status(run) == "failed":
                self._without_llm("its run failed")
            fruitless = fruitless + 1 if early and not (gained and seed) else 0
            if fruitless >= FRUITLESS:
                return "nothing is left that seems worth trying"
            seed += 1
        return "told to end"

    def _without_llm(self, why: str) -> None:
        """An endpoint that does not answer must not cost the hours that are left: the playbook needs none."""
        if self.brain != "playbook":
            self.say(f"brain {self.brain}: {why}; the playbook goes on")
            self.brain = "playbook"

    def _start(self, base: Path, seed: int, budget_s: float) -> Path:
        contract = self.contract
        self._put_evaluation_back()
        goal = f"Improve {Path(contract.model).name} on {contract.benchmark or 'the benchmark of evaluate.py'}."
        if self.brain != "playbook":
            goal += "\nThe rules, word for word:\n" + contract.prompt
        run = create_run(
            Request(
                goal=goal, task=contract.folder, model=str(base), brain=self.brain, hours=budget_s / 3600,
                autonomy="network", seed=seed, unattended=True, fixed={"blocked": blocked.terms(contract.benchmark)},
            )
        )  # fmt: skip
        self.runs.append(run)
        start_host(run)
        self.say(f"round {len(self.runs)}: run {run.name}, {budget_s / 60:.0f} minutes, brain {self.brain}")
        return run

    def _taken_up(self, run: Path) -> bool:
        """A host that died (killed, out of memory) is replaced: its run knows what was tried, and its jobs may still run."""
        if self.ending.is_set() or self.left_s < 20.0 or _status(run) in ENDED:
            return False
        try:
            start_host(run)
        except InternError as error:
            self.say(f"the host of {run.name} is gone and does not come up again: {error}")
            return False
        self.say(f"the host of {run.name} was gone; another one goes on")
        return True

    def _follow(self, run: Path) -> None:
        """Until the run's host is gone: take over each model it promotes."""
        told = False
        seen: Seen | None = None
        while True:
            alive = living_host(run) is not None
            seen = self._take(run, seen)
            if not alive:
                return
            if (self.ending.is_set() or self.left_s <= 0) and not told:
                told = True
                self._end(run)
            time.sleep(POLL_S)

    def _take(self, run: Path, seen: Seen | None) -> Seen | None:
        """Offer the run's final_model if it is a new one and better than what is there.

        The folder is exchanged first and its promotion recorded afterwards: a new folder counts once the log says what it
        scored, and only what the log's digest names is copied.
        """
        try:
            now = (run / "final_model").stat()
        except FileNotFoundError:
            return seen
        mark = (now.st_ino, now.st_mtime_ns)
        if seen is not None and mark == seen.mark:
            return seen
        promoted = _promoted(run)
        if promoted is None or (seen is not None and promoted.seq == seen.seq):
            return seen
        self.baseline = promoted.baseline if self.baseline is None else self.baseline
        if self.best is not None and promoted.score <= self.best:
            return Seen(mark, promoted.seq)
        assert self.submission is not None
        try:
            self.submission.offer(run / "final_model", promoted.digest)
        except (InternError, OSError) as error:
            self.say(f"the new model was not taken over ({error}); trying again")
            return seen  # most likely it was exchanged while it was copied
        self.best = promoted.score
        with contextlib.suppress(InternError, OSError):  # only a later start in this folder would miss it
            remember(self.submission.target, self.submission.base, self.best, self.baseline)
        minutes = (time.monotonic() - self.began) / 60
        self.say(f"final_model: development score {self.best:.3f} after {minutes:.1f} minutes")
        return Seen(mark, promoted.seq)

    def _end(self, run: Path) -> None:
        host = living_host(run)
        if host is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(host.pid, signal.SIGUSR1)

    def _told_to_end(self, number: int, frame: FrameType | None) -> None:
        self.ending.set()


def _status(run: Path) -> str:
    """By the log: a host that was killed has not written its summary."""
    try:
        return last_state(run).status
    except (InternError, StoreError, OSError):
        return run_info(run).status


def _promoted(run: Path) -> Promoted | None:
    """The newest promotion in the log; None where there is none yet, or the log cannot be read now."""
    try:
        scores = last_state(run).scores
        if scores.best is None:
            return None
        source = open_source(run)
        with contextlib.closing(source):
            event = source.get(scores.best_seq)
    except (InternError, StoreError, OSError):
        return None
    if event is None:
        return None
    said = msgspec.json.decode(event.payload, type=dict[str, Any])
    return Promoted(event.seq, float(said["score"]), str(said.get("digest") or ""), scores.baseline)
