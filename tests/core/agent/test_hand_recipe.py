"""A recipe that a person wrote, as a comparator; and what `intern bench` reads from the runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.agent.brain import check_brain, parse_brain
from core.agent.playbook.comparators import comparator
from core.agent.playbook.hand import HAND, read_recipe
from core.agent.playbook.wishes import Wishes
from core.errors import NotFound, UsageError
from core.tasks import list_tasks
from core.training.spec import KINDS, TrainSpec
from intern_tui.commands.bench import _named, seconds_to, table
from tests.core.agent.test_playbook import World, play_policy

TWO_STAGES = """
[[stage]]
share = 0.5
[stage.settings]
lr = 1e-3
batch_size = 24
[[stage]]
start = "final"
share = 0.9
[stage.settings]
lr = 3e-4
batch_size = 24
max_steps = 77
"""


def _written(folder: Path, text: str) -> str:
    file = folder / "recipe.toml"
    file.write_text(text)
    return str(file)


def test_stages_run_as_written_and_steps_are_as_many_as_fit(tmp_path: Path) -> None:
    world = World()
    play_policy(world, comparator("hand", 3, Wishes(), file=_written(tmp_path, TWO_STAGES)))
    look, first, second = world.jobs.values()
    assert (look["max_steps"], look["lr"]) == (60, 1e-3), "speed is measured once, before the first long job"
    assert (first["model"], first["lr"], first["batch_size"]) == ("base", 1e-3, 24)
    assert first["max_steps"] > 100, "as many as fit half of the time"
    assert (second["model"], second["lr"], second["max_steps"]) == ("final", 3e-4, 77)
    assert world.best > 0.3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[stage]]\nrate = 1", "rate"),
        ("stage = []", "no stage"),
        ("[[stage", "no hand recipe"),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_reason(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_brain(parse_brain(f"hand:{_written(tmp_path, text)}"))


def test_a_recipe_is_named_by_a_whole_path_and_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"hand:{Path('x.toml').absolute()}"):
        read_recipe("x.toml")
    with pytest.raises(UsageError, match="whole path"):
        check_brain(parse_brain("hand"))
    with pytest.raises(NotFound, match="cannot be read"):
        read_recipe(str(tmp_path / "none.toml"))


def test_every_pocket_task_has_a_recipe_of_real_settings() -> None:
    fields = {f.name for f in msgspec.structs.fields(TrainSpec)}
    for task in list_tasks():
        for stage in read_recipe(str(HAND / f"{Path(task.path).name}.toml")).stage:
            assert stage.method in KINDS
            assert stage.start in ("base", "final")
            assert 0 < stage.share <= 1
            assert set(stage.settings) <= fields


def _result(policy: str, gain: float, reached: list[tuple[float, float]], seed: int = 0) -> dict[str, Any]:
    return {
        "task": "t", "policy": policy, "seed": seed, "baseline": 0.1, "best": 0.1 + gain, "delta": gain,
        "interval": (gain - 0.05, gain + 0.05), "seconds": 200.0, "reached": reached,
    }  # fmt: skip


def test_the_table_says_what_part_of_the_gain_and_when() -> None:
    hand = [_result("hand", 0.5, [(10.0, 0.1), (150.0, 0.6)], s) for s in (0, 1)]
    mine = [_result("playbook", 0.45, [(10.0, 0.1), (40.0, 0.4), (90.0 + s, 0.56)], s) for s in (0, 1)]
    other = [_result("random@2", 0.5, [(10.0, 0.1), (160.0, 0.54)], s) for s in (0, 1)]
    text = table(mine + other + hand, ["playbook", "random@2", "hand"])
    assert "playbook   has 90% of hand's gain; 90% of it on development samples after 90 s" in text
    assert "random@2   has 100% of hand's gain; 90% of it on development samples not in its time" in text
    assert "hand's gain" not in table(mine + other, ["playbook", "random@2"])


@pytest.mark.parametrize(
    ("policy", "means"),
    [("random@2", ("random", 2.0)), ("playbook", ("playbook", 1.0)), ("openai:m@http://h:1/v1", ("openai:m@http://h:1/v1", 1.0))],
)  # fmt: skip
def test_a_policy_may_have_more_time(policy: str, means: tuple[str, float]) -> None:
    assert _named(policy) == means


def test_a_factor_of_time_is_a_positive_number() -> None:
    with pytest.raises(UsageError, match="random@x"):
        _named("random@x")


def test_seconds_to_a_score() -> None:
    assert seconds_to([(1.0, 0.2), (5.0, 0.4)], 0.3) == 5.0
    assert seconds_to([(1.0, 0.2)], 0.3) is None
