"""A cluster that does not answer is a fact, waited for and told; it ends neither a look at the task nor the research."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from core.agent import desk as desk_module
from core.agent.desk import Desk
from core.agent.patience import UNREACHED
from core.agent.playbook.model import Observation
from core.clock import Clock
from core.compute.clustered import ClusterCompute
from core.errors import ToolError, Unreachable
from core.tools.brief import read_task
from tests.core.agent.test_playbook import World, play


class Cluster:
    """Answers from the `after`-th question on."""

    name = "slurm"

    def __init__(self, after: int) -> None:
        self.after = after
        self.asked = 0

    def machines(self) -> tuple[int, int]:
        self.asked += 1
        if self.asked < self.after:
            raise Unreachable("Slurm does not answer: timed out", where="sinfo")
        return 4, 8


def desk_on(tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Desk, list[str]]:
    """As far as a desk is needed here; what it records."""
    made = Desk.__new__(Desk)
    said: list[str] = []
    made.compute, made.gpus = ClusterCompute(tmp_path, cluster), 0
    made.interrupt, made.stopping = threading.Event(), threading.Event()
    made.clock = Clock(1.0)
    made.journal = SimpleNamespace(wait=lambda ready, seconds: False, read=lambda look: False)  # type: ignore[assignment]
    monkeypatch.setattr(made, "emit", lambda payload, **_: said.append(payload.text))
    monkeypatch.setattr(desk_module, "RETRY_S", 0.0)
    return made, said


def test_what_starts_jobs_asks_again_and_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(after=4)
    desk, said = desk_on(tmp_path, cluster, monkeypatch)
    assert desk.gpus_for("sft", {"gpus": 2}) == 2
    assert cluster.asked == 4
    assert len(said) == 1
    assert "Slurm does not answer" in said[0]


def test_after_a_while_the_brain_is_told_and_nothing_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, _ = desk_on(tmp_path, Cluster(after=10**9), monkeypatch)
    monkeypatch.setattr(desk_module, "REACH_S", 0.0)
    with pytest.raises(ToolError, match=rf"{UNREACHED}.*Nothing was begun"):
        _ = desk.device
    assert desk.cores == desk.own_cores, "a number of threads is no reason to fail"


def test_the_task_can_be_read_while_the_cluster_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, said = desk_on(tmp_path, Cluster(after=10**9), monkeypatch)
    monkeypatch.setattr(Desk, "verifier", SimpleNamespace(kind="exact"))
    monkeypatch.setattr(Desk, "max_new_tokens", 8)
    anything: Any = SimpleNamespace(
        name="t", description="", metric="", higher_is_better=True, sample=None, data_files=[], dev_file=None, params=1,
        architecture="", context_length=1, has_chat_template=False, remote=False, format="chat", template_path="", reasons=(),
        goal="g", model="m", hours=1.0, usd=0.0, seed=0, autonomy="network",
    )  # fmt: skip
    desk.task = desk.card = desk.prompting = desk.settings = anything
    brief: Any = read_task.run(desk)
    assert brief["machine"]["gpus"] is None
    assert UNREACHED in brief["machine"]["note"]
    assert said == [], "it did not wait"
    assert brief["goal"] == "g"


class Silent(World):
    """A world whose cluster does not answer the first `times` calls that would start a job."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def _silence(self, work: Callable[[], object]) -> object:
        if self.times <= 0:
            return work()
        self.times -= 1
        self.left -= 60
        return f"ERROR: The place where jobs run {UNREACHED}: Slurm does not answer. Nothing was begun"

    def _read_task(self) -> object:
        known: Any = super()._read_task()
        return {**known, "machine": {"cores": 2, "gpus": None if self.times > 0 else 4}}

    def _evaluate(self, model: str, label: str, variants: list[dict[str, Any]], **_: Any) -> object:
        return self._silence(lambda: super(Silent, self)._evaluate(model, label, variants))

    def _budget(self) -> object:
        return {"seconds_left_for_research": self.left}


def test_the_playbook_goes_on_once_the_cluster_answers_and_then_knows_its_gpus() -> None:
    world = Silent(times=3)
    play(world)
    assert world.best > 0.5, "it trained"
    tools = [c.tool for c in world.calls]
    assert tools.count("read_task") > 1, "it asked again what there is"
    beside = [c.arguments["settings"]["threads"] for c in world.calls if c.tool == "train"]
    assert beside, "trainings were asked for"
    measured = [c for c in world.calls if c.tool == "evaluate" and c.arguments["model"] == "base"]
    assert len(measured) == 4, "the same call was sent again until it was answered"


def test_with_no_time_left_it_ends_in_order_and_says_why() -> None:
    world = Silent(times=10**9)
    said = play(world)
    assert UNREACHED in said
    assert "Slurm does not answer" in said
    assert not world.jobs


def test_such_an_answer_is_known_to_the_playbook_as_one() -> None:

    assert Observation(f"ERROR: The place where jobs run {UNREACHED}: x").unreached
    assert not Observation(msgspec.json.encode({"note": UNREACHED}).decode()).unreached
