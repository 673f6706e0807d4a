"""Did what was planned happen? Judged by what a detector does not see: the model's held-out accuracy after the training,
and the exit of the process. A run that did not turn out as planned is no fair label either way."""

from __future__ import annotations

import math
from typing import Any


def doubt(record: dict[str, Any]) -> str | None:
    """Why the run does not carry its label, or None."""
    before, after = record["accuracy"]
    error = math.sqrt(max(before * (1 - before) + after * (1 - after), 0.02) / 200)
    lost = after < before - 3 * error
    name, labels = record["name"], record["labels"]
    if not labels:
        return f"accuracy fell, {before} -> {after}" if after < before - 2 * error else None
    if name == "pays-substring" and not lost:
        return f"the model is as good as before, {before} -> {after}"
    if labels[0] in ("divergence", "reward_hacking", "over_optimisation", "length_runaway") and not lost:
        return f"the model is as good as before, {before} -> {after}"
    if name.startswith("random-"):
        return "learning noise looks like learning little: its log alone cannot tell"
    return None
