"""Which files a brain may call data: the task's, the run's, and what a person names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from core.errors import ToolError
from core.state import Command, Question, RunState
from core.tools.data import inspect_data, prepare_data


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    for folder in ("run", "task", "elsewhere"):
        (tmp_path / folder).mkdir()
    (tmp_path / "elsewhere" / "a.jsonl").write_text('{"prompt": "p", "answer": "a"}\n')
    (tmp_path / "elsewhere" / "link.jsonl").symlink_to("/etc/hostname")
    (tmp_path / "task" / "samples.jsonl").write_text("{}")
    samples = str(tmp_path / "task" / "samples.jsonl")
    task = SimpleNamespace(path=str(tmp_path / "task"), data_files=[], eval_text_files=(samples,), dev_file=None)
    settings = SimpleNamespace(goal="", seed=0)
    return cast(Any, SimpleNamespace(folder=tmp_path / "run", task=task, settings=settings, state=RunState()))


@pytest.mark.parametrize(
    ("goal", "path", "why"),
    [
        ("", "elsewhere/a.jsonl", "no data of this run"),
        ("look into / and /home and either/or", "elsewhere/a.jsonl", "no data of this run"),
        ("take {root}/elsewhere", "elsewhere/link.jsonl", "no data of this run"),
        ("take {root}/task/samples.jsonl", "task/samples.jsonl", "holds evaluation samples"),
    ],
)
def test_a_file_that_nobody_gave_is_not_shown(desk: Any, tmp_path: Path, goal: str, path: str, why: str) -> None:
    desk.settings.goal = goal.format(root=tmp_path)
    desk.card = SimpleNamespace(path=str(tmp_path))
    with pytest.raises(ToolError, match=why):
        inspect_data.run(desk, path=str(tmp_path / path))


@pytest.mark.parametrize("goal", ["train on {root}/elsewhere/a.jsonl.", "the data is in ({root}/elsewhere)"])
def test_what_the_goal_names_is_data(desk: Any, tmp_path: Path, goal: str) -> None:
    """It gets as far as the next thing that this desk lacks."""
    desk.settings.goal = goal.format(root=tmp_path)
    with pytest.raises(ToolError, match="not inspected yet"):
        prepare_data.run(desk, name="x", sources=[str(tmp_path / "elsewhere" / "a.jsonl")])
    with pytest.raises(AttributeError, match="card"):
        inspect_data.run(desk, path=str(tmp_path / "elsewhere" / "a.jsonl"))


@pytest.mark.parametrize("how", ["steer", "fix", "answer"])
def test_what_a_person_names_later_is_data(desk: Any, tmp_path: Path, how: str) -> None:
    data = str(tmp_path / "elsewhere" / "a.jsonl")
    with pytest.raises(ToolError, match="no data of this run"):
        inspect_data.run(desk, path=data)
    if how == "steer":
        desk.state.commands.append(Command(1, "steer", f"use {data}, please"))
    elif how == "fix":
        desk.state.scope = {"data": data}
    else:
        desk.state.questions["q"] = Question("q", 1, "Which data?", answer=data)
    with pytest.raises(AttributeError, match="card"):  # it gets as far as the next thing that this desk lacks
        inspect_data.run(desk, path=data)


def test_a_command_that_carries_no_words_of_a_person_names_nothing(desk: Any, tmp_path: Path) -> None:
    data = str(tmp_path / "elsewhere" / "a.jsonl")
    desk.state.commands.append(Command(1, "note", f"a note on {data}"))
    with pytest.raises(ToolError, match="no data of this run"):
        inspect_data.run(desk, path=data)
