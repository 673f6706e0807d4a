"""Whole runs of an LLM brain whose jobs are rented from the Hub: each is priced and asked about, really runs, comes home."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from core.compute.hub_jobs import tag_of
from core.home import living_host
from core.session import command, state_at
from tests.core.cli import Intern
from tests.core.run.quick import Person
from tests.servers.hub_jobs import HARDWARE, HubJobs
from tests.servers.llm import LLMServer
from tests.servers.researchers import Capable, final
from tests.speed import hours

pytestmark = pytest.mark.slow

RATE = next(minute for name, *_, minute in HARDWARE if name == "cpu-basic") / 60
"""Dollars a second."""


class Buyer(Person):
    """Denies the first training that would be rented, says yes to everything after."""

    def __init__(self, run: Path, hub: HubJobs) -> None:
        super().__init__(run)
        self.hub = hub
        self.before: dict[str, set[str]] = {}
        """Of each approval: the jobs the service had when it was decided."""

    def run(self) -> None:
        while not self.over.wait(0.03):
            with contextlib.suppress(Exception):
                if living_host(self.run_folder) is None:
                    continue
                for waiting in state_at(self.run_folder).waiting_approvals():
                    trainings = [a for a in self.before if a.endswith(":sft")]
                    name = f"{waiting.id}:{waiting.arguments['kind']}"
                    if name in self.before:
                        continue
                    self.before[name] = set(self.hub.jobs)
                    word = "deny" if name.endswith(":sft") and not trainings else "approve"
                    bound = {"approval": waiting.id, "arguments_hash": waiting.arguments_hash}
                    command(self.run_folder, word, "not before I have read the price", bound)


class Tenant(Capable):
    """Goes to its end once it knows how its training did, whether or not it was better."""

    def steps(self, good: list[Any]) -> list[Any]:
        return [*super().steps(good)[:-1], final]


def test_a_training_on_rented_machines_is_asked_for_runs_comes_home_and_is_paid(tmp_path: Path) -> None:
    """The service loses the answer to the first launch and cuts every log stream; it has no Xet, which the clients try first."""
    intern = Intern(tmp_path / "home")
    brain = Tenant({"lr": 1e-3, "max_steps": 100, "batch_size": 32, "eval_every": 50})
    with HubJobs(large_files=True, xet=True) as hub, LLMServer(brain) as model:
        hub.cut_after, hub.lose_next_answer = 9, True
        run = intern.start(
            "--task", "pocket/addition", "--brain", f"openai:t@{model.url}", "--compute", "hf-jobs:cpu-basic", "--usd", "1",
            "--autonomy", "network", "--hours", hours(0.15), HF_ENDPOINT=hub.url, HF_TOKEN="hf_loopback",
            HF_HUB_OFFLINE="0", HF_XET_CLIENT_RETRY_MAX_ATTEMPTS="1",
        )  # fmt: skip
        folder = intern.home / "runs" / run
        buyer = Buyer(folder, hub)
        buyer.start()
        try:
            info = intern.wait(run, 300)
        finally:
            buyer.over.set()
        buyer.join()
        events = intern.events(run)
        by_tag = {job.body["labels"]["intern-effect"]: job for job in hub.jobs.values()}
    assert info["status"] == "finished"
    told = [(x["seq"], x["ts"], x["type"], x["payload"]) for x in events]

    # money: asked in the spend tier, before the job began; what was denied never reached the service
    asked = {p["approval"]: (seq, p) for seq, _, kind, p in told if kind == "approval_requested"}
    decided = {p["approval"]: (ts, p["decision"]) for _, ts, kind, p in told if kind == "approval_decided"}
    assert {(p["tool"], p["tier"]) for _, p in asked.values()} == {("rent", "spend")}
    assert [p["arguments"]["kind"] for _, p in asked.values()] == ["sample", "sft", "sft", "sample"]
    [denied] = [a for a, (_, word) in decided.items() if word == "denied"]
    assert asked[denied][1]["arguments"]["kind"] == "sft"
    [failed] = [p for _, _, kind, p in told if kind == "tool_failed"]
    assert "not before I have read the price" in failed["error"]
    assert all(0 < p["cost_usd"] < 0.01 and "$0.00 " not in p["reason"] for _, p in asked.values())

    # the service's own record: one job for each effect, at the flavour and with the time-out that were approved
    launched = [p for _, _, kind, p in told if kind == "job_launched"]
    assert [p["backend"] for p in launched] == ["hf-jobs"] * 3
    assert {tag_of(p["effect_id"]) for p in launched} == set(by_tag)
    assert [j.stage for j in by_tag.values()] == ["COMPLETED"] * 3
    for p in launched:
        job = by_tag[tag_of(p["effect_id"])]
        approval = f"approval-spend-{p['effect_id'].partition(':')[2]}"
        when, word = decided[approval]
        assert word == "approved"
        assert job.created >= datetime.fromisoformat(when)
        given = asked[approval][1]["arguments"]
        assert (job.body["flavor"], job.body["timeoutSeconds"]) == (given["flavor"], int(given["timeout_s"]))
        assert given["flavor"] == "cpu-basic"
    known = [set(jobs) for jobs in buyer.before.values()]
    assert [len(jobs) for jobs in known] == [0, 1, 1, 2], "nothing runs before its yes"

    # through the private repository, there and back
    assert hub.private == {"intern-jobs": True}
    for tag in by_tag:
        assert hub.pushed.count(f"{tag}/in.tar.gz") == hub.pushed.count(f"{tag}/out.tar.gz") == 1
        assert {f"{tag}/in.tar.gz", f"{tag}/out.tar.gz"} <= set(hub.fetched)

    assert hub.asked_for_xet == 1 + len(by_tag), "once by the host, once by each job: then Git LFS"

    # what came back was measured: every loss of the stream once, the model of the training, an evaluation of it
    [training] = [p for p in launched if p["kind"] == "training"]
    steps = [p["step"] for _, _, kind, p in told if kind == "metric_logged" and "loss" in p["values"]]
    assert steps == sorted(set(steps))
    assert steps[-1] == 100
    assert any("@M" in line for line in by_tag[tag_of(training["effect_id"])].lines), "streamed, not only fetched"
    state = state_at(folder)
    model_there = Path(state.jobs[training["job"]].checkpoint)
    assert model_there.is_relative_to(folder / "jobs" / training["job"])
    assert (model_there / "model.safetensors").is_file()
    dev = {x.label: x for x in state.evaluations.values() if x.split == "dev"}
    assert dev["SFT"].samples == 600
    assert dev["SFT"].delta is not None
    assert state.scores.heldout_best is not None

    # paid by what the machines ran, less than was approved, and said in the report
    charged = {p["job"]: p["amount"] for _, _, kind, p in told if kind == "budget_charged" and p["kind"] == "usd"}
    assert charged.keys() == {p["job"] for p in launched}
    for p in launched:
        job = by_tag[tag_of(p["effect_id"])]
        assert job.ended is not None
        assert charged[p["job"]] / RATE == pytest.approx((job.ended - job.created).total_seconds(), abs=8)
        end = json.loads((folder / "jobs" / p["job"] / "exit.json").read_bytes())
        assert charged[p["job"]] == pytest.approx(RATE * end["seconds"], rel=1e-3)
    assert state.budget.usd_used == pytest.approx(sum(charged.values()))
    report = (folder / "report.md").read_text()
    row = next(line for line in report.splitlines() if line.startswith(f"| {training['job']} sft |"))
    shown = float(row.rstrip(" |").rpartition("$")[2])
    assert shown == pytest.approx(charged[training["job"]], rel=0.05)
    assert "hf-jobs:cpu-basic" in report
    assert "hf_loopback" not in report + str(events)
