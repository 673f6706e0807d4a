# pyright: basic
"""Reward functions for GRPO, built from `RewardSpec`s; TRL logs each as `rewards/<name>/mean` and `/std`."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import UsageError
from core.evaluation.verify import score
from core.training.spec import RewardSpec, TrainSpec

Reward = Callable[..., list[float]]

SOFT_SHARE = 0.2
"""The last fifth of the length limit is penalised: DAPO's 4,096 of 20,480 tokens (2503.14476, section 3.4)."""


def build_rewards(spec: TrainSpec) -> tuple[list[Any], list[float]]:
    """(functions, weights) for TRL; without any in the spec the development verifier is the reward."""
    specs = spec.rewards or (RewardSpec(kind="verifier", verifier=spec.verifier),)
    functions: list[Reward] = []
    for index, reward in enumerate(specs):
        function = _BUILDERS[reward.kind](reward, spec)
        name = reward.name or reward.kind
        taken = {f.__name__ for f in functions}
        function.__name__ = name if name not in taken else f"{name}_{index}"
        functions.append(function)
    return functions, [reward.weight for reward in specs]


def _verifier(reward: RewardSpec, spec: TrainSpec) -> Reward:
    check = reward.verifier or spec.verifier

    def given(completions: list[str], answer: list[str], **_: object) -> list[float]:
        return [score(check, c, a) for c, a in zip(completions, answer, strict=True)]

    return given


def _format(reward: RewardSpec, spec: TrainSpec) -> Reward:
    pattern = re.compile(reward.pattern or "", re.DOTALL)

    def given(completions: list[str], **_: object) -> list[float]:
        return [float(pattern.fullmatch(c.strip()) is not None) for c in completions]

    return given


def _overlong(reward: RewardSpec, spec: TrainSpec) -> Reward:
    limit = spec.max_completion_length
    margin = max(round(SOFT_SHARE * limit), 1)

    def given(completion_ids: list[list[int]], **_: object) -> list[float]:
        return [-min(max(len(ids) - (limit - margin), 0) / margin, 1.0) for ids in completion_ids]

    return given


def _python(reward: RewardSpec, spec: TrainSpec) -> Reward:
    function = load_function(reward.function or "")

    def given(prompts: list[str], completions: list[str], answer: list[str], **_: object) -> list[float]:
        return [float(function(p, c, a)) for p, c, a in zip(prompts, completions, answer, strict=True)]

    return given


_BUILDERS: dict[str, Callable[[RewardSpec, TrainSpec], Reward]] = {
    "verifier": _verifier,
    "format": _format,
    "overlong": _overlong,
    "python": _python,
}


def load_function(where: str) -> Callable[..., Any]:
    """The function at `path/to/file.py:name`."""
    file, _, name = where.rpartition(":")
    path = Path(file)
    if not path.is_file() or not name:
        raise UsageError("no such reward file", where=where, next="Write it as `path/to/file.py:function`.")
    module_spec = importlib.util.spec_from_file_location(f"reward_{path.stem}", path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f"the file has no function `{name}`", where=str(path), next="Check the name.")
    return function
