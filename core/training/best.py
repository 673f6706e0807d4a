# pyright: basic
"""The weights of a training at its highest development score, so that what collapses late has not lost what it knew.

Kept on disk beside the checkpoints, trained parameters only (an adapter's, or all), replaced whenever a score is the best so
far. At the end they are what the job leaves if the last score is lower by more than two standard errors of the difference: the best
of several scores is high by chance too, and within that the last weights are as good and have seen more.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from core.training.history import score_error
from core.training.scoring import DevScore


class Best:
    """`path`: a safetensors file; one that is there already is of this training, before it was interrupted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.step, self.score, self.n = -1, -1.0, 0
        try:
            with safe_open(path, "pt") as kept:
                told = json.loads((kept.metadata() or {})["kept"])
            self.step, self.score, self.n = int(told["step"]), float(told["score"]), int(told["n"])
        except (OSError, ValueError, KeyError, SafetensorError):
            pass  # none yet, or one that was cut off

    def offer(self, model: torch.nn.Module, step: int, found: DevScore) -> str:
        """Keep the weights as they are if their score is the best so far; says why where they cannot be written."""
        if not found.score > self.score:
            return ""
        weights = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}
        if not weights or any(p.numel() == 0 for p in weights.values()):
            return ""  # spread over several processes: none has them whole
        fresh = self.path.with_suffix(".new")
        told = json.dumps({"step": step, "score": found.score, "n": found.n})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save_file(weights, fresh, metadata={"kept": told})
            os.replace(fresh, self.path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            return f"the best weights so far (step {step}) could not be kept: {error.strerror or error}"
        self.step, self.score, self.n = step, found.score, found.n
        return ""

    def restore(self, model: torch.nn.Module, last: DevScore) -> bool:
        """Put the best weights back into the model if `last`, the score it has now, is lower by more than chance explains."""
        noise = math.hypot(score_error(self.score, self.n), score_error(last.score, last.n))
        if self.step < 0 or last.score >= self.score - 2 * noise:
            return False
        with safe_open(self.path, "pt") as kept, torch.no_grad():
            parameters = dict(model.named_parameters())
            for name in kept.keys():  # noqa: SIM118  it is no dict
                parameters[name].copy_(kept.get_tensor(name))
        return True

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
