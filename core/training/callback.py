# pyright: basic
"""The one callback of every recipe: streams metrics, obeys the control file, scores the model on development samples.

A user's own script can use it too: `InternCallback` is all that makes a training visible to the host.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil
import torch
import torch.distributed as dist
from transformers import TrainerCallback

from core.training.scoring import DevScore
from core.training.stream import Stream, is_first
from core.training.trackio_log import TrackioLog

_ENDS = {"stop": "stopped", "scheduler_limit": "stopped", "time_limit": "time_limit", "preempted": "preempted"}
"""What ends a training, and the reason it gives."""
_ASKED = (None, "checkpoint", *_ENDS)
_OURS_FIRST = "profiling/"
"""TRL logs its own timings under this prefix, six rows a step; they are left out."""


@dataclass
class Clock:
    """Wall-clock limits of a job, counted from the start of its process."""

    limit_s: float | None = None
    reserve_s: float = 1.0
    """Kept for the last score and for saving; grows with what those were seen to take."""

    began: float = field(default_factory=lambda: psutil.Process().create_time())

    def left(self) -> float:
        return math.inf if self.limit_s is None else self.limit_s - self.reserve_s - (time.time() - self.began)


class InternCallback(TrainerCallback):
    """Streams a TRL training into the job's folder.

    `score`: gives the development score of the model as it is; None where there is no development data.
    `eval_every`: train steps between scores; 0 means at the end only. `checkpoint_every_s`: wall-clock seconds between
    checkpoints beside those the trainer's arguments ask for; 0 for none. `stop_after`: last train step, if not the planned one.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        score: Callable[[], DevScore] | None = None,
        eval_every: int = 0,
        eval_at_start: bool = True,
        clock: Clock | None = None,
        trackio: TrackioLog | None = None,
        checkpoint_every_s: float = 0.0,
        stop_after: int | None = None,
    ) -> None:
        self.stream, self.score, self.trackio, self.stop_after = stream, score, trackio, stop_after
        self.eval_every, self.eval_at_start = eval_every, eval_at_start
        self.clock = clock or Clock()
        self.checkpoint_every_s = checkpoint_every_s
        self._saved = time.monotonic()
        self.reason = "finished"
        """finished, stopped, time_limit, or preempted: then the training is not over, it goes on from its checkpoint."""
        self.last: DevScore | None = None
        self.scored: Callable[[int, DevScore], None] | None = None
        """Told every score of the training and its train step; not the one before the first step."""
        self._scored_step = -1
        self._process = psutil.Process()
        self._step_began = self._idle_since = time.perf_counter()
        self._busy = self._waited = 0.0
        self._steps = 0

    def on_train_begin(self, args, state, control, **kwargs):
        self.stream.plan(state.max_steps, logging_steps=args.logging_steps)
        self.stream.heartbeat(0)
        if (
            self.eval_at_start and self.eval_every and state.global_step == 0
        ):  # one that goes on has had its first score
            self._evaluate(0)
        self._idle_since = time.perf_counter()

    def on_step_begin(self, args, state, control, **kwargs):
        self._step_began = time.perf_counter()
        self._waited += self._step_began - self._idle_since

    def on_step_end(self, args, state, control, **kwargs):
        self._idle_since = time.perf_counter()
        self._busy += self._idle_since - self._step_began
        self._steps += 1
        step = state.global_step
        self.stream.heartbeat(step)
        asked = self._asked(args.device)
        if asked in _ENDS:
            self.reason = _ENDS[asked]
            # A scheduler ends it before its plan did: somebody will want to go on from here.
            control.should_save = asked in ("preempted", "scheduler_limit")
            control.should_training_stop = True
        elif self.stop_after is not None and step >= self.stop_after:
            control.should_training_stop = True
        elif asked == "checkpoint":
            control.should_save = True
        elif self.eval_every and step % self.eval_every == 0 and step < state.max_steps:
            self._evaluate(step)
            self._idle_since = time.perf_counter()
        return control

    def _asked(self, device) -> str | None:
        """What to do after this train step. Several processes do the same: the first one decides and tells the others."""
        asked = self._wanted() if is_first() else None
        if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return asked
        code = torch.tensor([_ASKED.index(asked)], device=device)
        dist.broadcast(code, src=0)
        return _ASKED[int(code.item())]

    def _wanted(self) -> str | None:
        """What the host, the clock or a scheduler wants now."""
        asked = self.stream.control()
        if asked == "stop":
            return {"preempted": "preempted", "time_limit": "scheduler_limit"}.get(self.stream.why_stop(), "stop")
        if self.clock.left() <= self._busy / self._steps:
            return "time_limit"
        if asked is None and 0 < self.checkpoint_every_s <= time.monotonic() - self._saved:
            return "checkpoint"
        return asked

    def on_log(self, args, state, control, logs=None, **kwargs):
        values = {k: v for k, v in (logs or {}).items() if not k.startswith(_OURS_FIRST)}
        if "epoch" in values:
            values["epoch"] = round(values["epoch"], 6)
        if self._steps and "train_runtime" not in values:
            # To a microsecond and a megabyte: further digits are noise, and a log keeps them for ever.
            values.setdefault("step_time", round((self._busy + self._waited) / self._steps, 6))
            values["data_time"] = round(self._waited / self._steps, 6)
            values["rss_gb"] = round(self._process.memory_info().rss / 2**30, 3)
            self._busy = self._waited = 0.0
            self._steps = 0
        self._write(state.global_step, values)
        self._idle_since = time.perf_counter()

    def on_save(self, args, state, control, **kwargs):
        self._saved = time.monotonic()
        self.stream.checkpoint(state.global_step, f"{args.output_dir}/checkpoint-{state.global_step}")

    def on_train_end(self, args, state, control, **kwargs):
        if self._scored_step != state.global_step and self.reason != "preempted":
            self._evaluate(state.global_step)
        if self.trackio:
            self.trackio.close()

    def _evaluate(self, step: int) -> None:
        if self.score is None or not is_first():
            return
        began = time.perf_counter()
        self.last = self.score()
        seconds = time.perf_counter() - began
        if self.scored is not None and step > 0:
            self.scored(step, self.last)
        self.clock.reserve_s = max(self.clock.reserve_s, 1.0 + 2 * (time.perf_counter() - began))
        self._scored_step = step
        self._write(
            step,
            {
                "dev_score": self.last.score,
                "dev_n": self.last.n,
                "dev_tokens": self.last.tokens,
                "dev_ended": self.last.ended,
                "dev_seconds": round(seconds, 6),
            },
        )

    def _write(self, step: int, values: dict) -> None:
        numbers = self.stream.metric(step, values)
        if self.trackio:
            self.trackio.log(step, numbers)
