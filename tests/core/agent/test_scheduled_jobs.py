"""Scheduled jobs of the Hub: never without a person's yes, priced for a month, found again, suspended and deleted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from core.agent.desk import Desk
from core.agent.patience import Deferred
from core.compute.cron import most_starts
from core.compute.hub_jobs import HubCompute, HubEngine
from core.errors import ToolError, UsageError
from core.tables import TABLES
from core.tools.schedule import schedule_job, scheduled_jobs, stop_schedule
from store.log import EventLog
from tests.core.agent.test_foreign_jobs import decide, desk_in
from tests.servers.hub_jobs import HubJobs

SCRIPT = "print('a look at the world')\n"


@pytest.fixture
def hub() -> Iterator[HubJobs]:
    with HubJobs() as server:
        yield server


@pytest.fixture
def desk(hub: HubJobs, tmp_path: Path) -> Iterator[Desk]:
    (tmp_path / "run").mkdir()
    with EventLog.create(tmp_path / "run", TABLES) as log:
        made = desk_in(tmp_path / "run", log)
        engine = HubEngine(token="hf_loopback", endpoint=hub.url, run="r")
        made.compute = HubCompute(tmp_path / "run" / "jobs", engine)
        made.settings = msgspec.structs.replace(made.settings, autonomy="publish", usd=1000.0)
        (made.folder / "workspace" / "look.py").write_text(SCRIPT)
        made.call = "call-1"
        yield made


def ask(desk: Desk, **more: Any) -> dict[str, Any]:
    given = {"file": "look.py", "schedule": "@daily", "title": "look", "seconds": 600} | more
    return cast(dict[str, Any], schedule_job.run(desk, **given))


def notes(desk: Desk) -> str:
    return "\n".join(desk.state.notes)


def test_a_person_is_asked_with_the_price_of_a_month_in_a_run_that_may_spend_and_publish_alone(
    desk: Desk, hub: HubJobs
) -> None:
    thread = decide(desk, "approve")
    made = ask(desk)
    thread.join()
    [asked] = desk.state.approvals.values()
    assert asked.tier == "spend"
    # cpu-basic, 600 s and 600 s for the machine, thirty times
    assert asked.cost_usd == pytest.approx(0.000167 * 60 * 1200 / 3600 * 30)
    assert asked.arguments["starts_in_30_days"] == 30
    assert "until it is deleted" in asked.reason
    [there] = hub.schedules.values()
    assert there["schedule"] == "@daily"
    assert there["jobSpec"]["command"] == ["python", "-c", SCRIPT]
    assert "secrets" not in there["jobSpec"]
    assert "hf_loopback" not in str(there)
    assert made["id"] == there["id"]
    assert made["usd_a_month"] == pytest.approx(asked.cost_usd)
    assert there["id"] in notes(desk)


def test_a_call_carried_out_again_after_a_crash_makes_no_second_one(desk: Desk, hub: HubJobs) -> None:
    thread = decide(desk, "approve")
    made = ask(desk)
    thread.join()
    assert ask(desk) == made
    assert len(hub.schedules) == 1


def test_a_no_and_an_unattended_run_and_a_small_budget_make_none(
    desk: Desk, hub: HubJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = decide(desk, "deny")
    with pytest.raises(ToolError, match="denied"):
        ask(desk)
    thread.join()
    desk.settings = msgspec.structs.replace(desk.settings, unattended=True)
    desk.call = "call-2"
    with pytest.raises(ToolError, match="nobody is here to ask"):
        ask(desk)
    desk.settings = msgspec.structs.replace(desk.settings, unattended=False, usd=0.05)
    desk.call = "call-3"
    with pytest.raises(ToolError, match=r"\$0\.05 of \$0\.05 are left"):
        ask(desk)
    monkeypatch.setenv("INTERN_APPROVAL_PATIENCE_S", "0.2")
    desk.settings = msgspec.structs.replace(desk.settings, usd=1000.0)
    desk.call = "call-4"
    with pytest.raises(Deferred):
        ask(desk)
    assert hub.schedules == {}


def test_a_yes_is_for_the_script_as_it_was_shown(desk: Desk, hub: HubJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERN_APPROVAL_PATIENCE_S", "0.2")
    with pytest.raises(Deferred):
        ask(desk)
    (desk.folder / "workspace" / "look.py").write_text("print('something else')\n")
    decide(desk, "approve").join()
    with pytest.raises(ToolError, match="not what the person said yes to"):
        ask(desk)
    assert hub.schedules == {}


def test_schedules_are_listed_suspended_and_deleted_without_asking(desk: Desk, hub: HubJobs) -> None:
    thread = decide(desk, "approve")
    made = ask(desk, gpu=True, schedule="30 6 * * 1")
    thread.join()
    [listed] = cast(list[dict[str, Any]], scheduled_jobs.run(desk))
    assert (listed["id"], listed["flavor"], listed["suspended"]) == (made["id"], "a100-large", False)
    assert listed["usd_a_month"] == pytest.approx(5 * listed["usd_a_start"])
    assert stop_schedule.run(desk, schedule=made["id"]) == "suspended"
    assert cast(list[dict[str, Any]], scheduled_jobs.run(desk))[0]["suspended"]
    assert stop_schedule.run(desk, schedule=made["id"], delete=True) == "deleted"
    assert hub.schedules == {}
    with pytest.raises(ToolError, match="No scheduled job"):
        stop_schedule.run(desk, schedule=made["id"])
    assert len(desk.state.approvals) == 1


def test_a_schedule_that_is_not_ours_is_not_touched(desk: Desk, hub: HubJobs) -> None:
    api = cast(HubCompute, desk.compute).hub.api
    other = api.create_scheduled_job(image="x", command=["true"], schedule="@daily", namespace="me")
    assert scheduled_jobs.run(desk) == []
    with pytest.raises(ToolError, match="No scheduled job of a run"):
        stop_schedule.run(desk, schedule=other.id, delete=True)
    assert len(hub.schedules) == 1


def test_doctor_shows_what_goes_on_costing(desk: Desk, hub: HubJobs, tmp_path: Path) -> None:
    thread = decide(desk, "approve")
    made = ask(desk)
    thread.join()
    env = os.environ | {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_loopback", "INTERN_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "intern_tui", "doctor", "--compute", "hf-jobs"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    said = " ".join(done.stdout.split())
    assert f"{made['id']} @daily on cpu-basic, at most $0.10 in 30 days" in said, done.stdout + done.stderr
    assert "hf jobs scheduled delete" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"file": "none.py"}, "No file"), ({"file": "../x.py"}, "No file"), ({"schedule": "daily"}, "no schedule"),
        ({"schedule": "61 * * * *"}, "minute"), ({"seconds": 0}, "time limit"), ({"seconds": 1e6}, "time limit"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_a_person_is_asked(desk: Desk, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ToolError, match=said):
        ask(desk, **given)
    assert not desk.state.approvals


@pytest.mark.parametrize(
    ("schedule", "starts"),
    [
        ("@hourly", 720), ("@daily", 30), ("@weekly", 5), ("@monthly", 2), ("@yearly", 1), ("*/5 * * * *", 8640),
        ("0 9 * * 1-5", 22), ("0 0 1,15 * *", 3), ("0 0 29 2 *", 1), ("0 0 13 * 5", 7), ("0-30/10 0 * * *", 120),
        ("0 0 * * 7", 5), ("0 0 * * 0-6", 30),
    ],
)  # fmt: skip
def test_the_starts_of_a_month(schedule: str, starts: int) -> None:
    assert most_starts(schedule) == starts


@pytest.mark.parametrize("schedule", ["", "* * * *", "@often", "0 0 31 2 *", "a * * * *", "*/0 * * * *", "5-1 * * * *"])
def test_what_is_no_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(UsageError):
        most_starts(schedule)
