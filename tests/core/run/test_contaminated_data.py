"""A training on rows that hold evaluation samples is refused unless a person allows these very rows; the report says so."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import events as e
from core.report import render_report as report
from core.session import open_source, state_at
from tests.core.run.quick import Person, Quick
from tests.servers.llm import LLMServer, observations
from tests.servers.researchers import Answer, Capable, call, final

pytestmark = pytest.mark.slow


class Careless(Capable):
    """Keeps leaked rows in its training data."""

    def __call__(self, messages: list[dict[str, Any]]) -> Answer:
        refused = any("hold samples of the evaluation" in o for o in observations(messages) if o.startswith("ERROR"))
        return final("the data is contaminated") if refused else super().__call__(messages)

    def steps(self, good: list[Any]) -> list[Any]:
        steps = super().steps(good)
        steps[2] = self.prepare(good)
        return steps

    def prepare(self, good: list[Any]) -> Any:
        def ask() -> Answer:
            return call(
                "prepare_data", name="clean", sources=good[0]["data_files"], options={"drop_contaminated": False}
            )

        return ask


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    with Quick(tmp_path_factory.mktemp("contaminated")) as made:
        leaked = [{"prompt": f"{i}+{i}=", "answer": str(2 * i)} for i in range(205, 212)]
        with (made.task / "data" / "train.jsonl").open("a") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in leaked)
        yield made


def payloads(run: Path, kind: type[Any]) -> list[Any]:
    with contextlib.closing(open_source(run)) as source:
        return [e.payload_of(x) for x in source.events(1) if x.type == kind.type]


def trainings(run: Path) -> list[e.JobLaunched]:
    return [j for j in payloads(run, e.JobLaunched) if j.kind == "training"]


def test_where_nobody_can_be_asked_the_job_is_refused_and_says_how_to_go_on(quick: Quick) -> None:
    with LLMServer(Careless({"max_steps": 4})) as server:
        run = quick.create(f"openai:t@{server.url}", unattended=True)
        quick.host(run)
    assert not trainings(run)
    said = [f.error for f in payloads(run, e.ToolFailed)]
    assert any("7 of 67 rows of clean hold samples of the evaluation" in s and "prepare_data" in s for s in said), said
    assert "**Contaminated:** 7 of 67 rows of `clean`" in report(state_at(run))
    assert "no training on it was allowed" in report(state_at(run))


def test_a_person_may_allow_it_for_these_very_rows_and_the_report_names_it(quick: Quick) -> None:
    with LLMServer(Careless({"max_steps": 4})) as server:
        run = quick.create(f"openai:t@{server.url}")
        person = Person(run)
        person.start()
        assert quick.host(run) == 0
        person.over.set()
    assert len(trainings(run)) == 1
    checked = next(c for c in payloads(run, e.ContaminationChecked) if c.digest)
    asked = payloads(run, e.ApprovalRequested)
    assert [a.arguments["digest"] for a in asked] == [checked.digest]
    assert "a person allowed training on it" in report(state_at(run))


def test_data_that_was_decontaminated_is_trained_on_without_a_question(quick: Quick) -> None:
    with LLMServer(Capable({"max_steps": 4})) as server:
        run = quick.create(f"openai:t@{server.url}", unattended=True)
        assert quick.host(run) == 0
    assert len(trainings(run)) == 1
    assert payloads(run, e.DatasetPrepared)[0].dropped["contaminated"] == 7
    assert not payloads(run, e.ApprovalRequested)
