"""The policy `hand:FILE`: a recipe that a person wrote for one task, carried out with the playbook's own tools. `intern bench`
measures against it how much of what is known to be possible a brain finds by itself.

    [[stage]]
    method = "sft"      # any method of `train`
    start = "base"      # or "final": the best model so far
    share = 0.9         # of the research time left when the stage begins
    why = "..."
    [stage.settings]    # as `train` takes them; steps are as many as fit unless max_steps is given
    lr = 2e-3
    batch_size = 16
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from core.agent.playbook.bench import Bench
from core.agent.playbook.experiments import full
from core.agent.playbook.model import Act
from core.agent.playbook.search import Trial
from core.agent.playbook.trials import smoke
from core.errors import NotFound, UsageError

HAND = Path(__file__).parents[2] / "pocket" / "hand"
"""Recipes of the pocket tasks, FILE named as the task."""

SPEED_STEPS = 60
"""Train steps by which the speed of a method and batch is measured: the first ones are slower than the rest."""

AS_MANY_AS_FIT = 1_000_000


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training of the recipe."""

    method: str = "sft"
    start: str = "base"
    share: float = 0.9
    why: str = ""
    settings: dict[str, Any] = {}


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    stage: tuple[Stage, ...]


def read_recipe(path: str) -> Recipe:
    """Raises NotFound for a file that is not there, UsageError for one that is no recipe or is named by a relative path
    (a run's host starts elsewhere)."""
    file = Path(path)
    if not path or not file.is_absolute():
        whole = f"Use hand:{file.absolute()}" if path else "Use hand:/path/to/recipe.toml"
        raise UsageError("A hand recipe is named by its whole path", where=f"--brain hand:{path}", next=whole)
    try:
        recipe = msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), Recipe)
    except OSError as error:
        raise NotFound(f"The hand recipe cannot be read: {error.strerror}", where=path, next="Check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise UsageError(
            f"This is no hand recipe: {error}", where=path, next="See core/agent/playbook/hand.py for its form"
        ) from None
    if not recipe.stage:
        raise UsageError("This recipe has no stage", where=path, next="Write at least one [[stage]]")
    return recipe


def by_hand(bench: Bench, recipe: Recipe) -> Act:
    """Stage after stage; each is evaluated and kept where it is better. A method and batch that was not tried yet shows its
    speed first, as a person would look before a long job."""
    for stage in recipe.stage:
        if bench.wishes.finish or bench.seconds_left() < bench.smallest_experiment_s():
            break
        settings = {**bench.base_settings(stage.method), **stage.settings}
        settings.setdefault("lr", bench.value(stage.method, "lr", 2e-5))
        experiment = yield from bench.begin(stage.why or f"By hand: {stage.method} from {stage.start}", stage.method)
        known = (stage.method, int(settings["batch_size"]))
        if known not in bench.step_times:
            looked = Trial(settings["lr"], "", None, False, settings)
            yield from smoke(bench, stage.method, experiment, looked, stage.start, SPEED_STEPS)
        if known in bench.step_times:
            settings.setdefault("max_steps", AS_MANY_AS_FIT)
        trial = Trial(settings["lr"], "", None, False, settings)
        yield from full(bench, stage.method, experiment, [trial], start=stage.start, share=stage.share)
