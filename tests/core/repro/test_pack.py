"""The reproducibility pack: only what led to the final model, digests that hold, a rerun that makes the model again."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core import events as e
from core.errors import Refused
from core.evaluation import guard
from core.evaluation.prompting import Decoding, Prompting
from core.evaluation.sampler import SampleSpec, Variant
from core.repro.lineage import Lineage, Promoted, Trained, lineage
from core.repro.pack import write_pack
from core.repro.rerun import at, base_folder, with_base
from core.tasks import load_task
from core.training.spec import TrainSpec, write_spec
from store.log import EventLog

TASK = load_task("pocket/addition")
BASE = str(TASK.base_model)


def same(payloads: list[e.Payload]) -> list[e.Payload]:
    return payloads


def record(
    folder: Path, *, steps: int = 8, planned: int = 20, base: str = BASE,
    change: Callable[[list[e.Payload]], list[e.Payload]] = same,
) -> Lineage:  # fmt: skip
    """A run that trained three jobs and promoted base, job-1, job-3 (from final); job-2 led nowhere. Moved since.

    `change`: what else its log says.
    """
    old = "/somewhere/else/run-1"
    rows = [{"id": str(i), "prompt": f"{i}+1=", "answer": str(i + 1)} for i in range(64)]
    data = folder / "data" / "clean"
    data.mkdir(parents=True)
    for name in ("train", "dev"):
        (data / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    guard.record(TASK, folder / "guard")
    prompting = Prompting(template_path=TASK.templates[0])
    for job, start in (("job-1", base), ("job-2", base), ("job-3", f"{old}/final_model")):
        spec = TrainSpec(
            kind="sft", model=start, data=f"{old}/data/clean", prompting=prompting, max_steps=planned, batch_size=8,
            lr=1e-3, threads=1, time_limit_s=60.0, eval_samples=8, trackio_project="p", run_name=job,
        )  # fmt: skip
        write_spec(folder / "jobs" / job, spec)
    payloads: list[e.Payload] = [
        e.RunCreated(run="run-1", goal="add", task="pocket/addition", task_path=TASK.path, model=base),
        e.DatasetPrepared(name="clean", sources=["x"], path=f"{old}/data/clean", rows=64, dev_rows=64, read=64, digest="d"),
    ]  # fmt: skip
    for n, (job, source, start) in enumerate(
        [("", "base", ""), ("job-1", "job-1", "base"), ("job-2", "", "base"), ("job-3", "job-3", "final")], start=10
    ):
        if job:
            payloads.append(e.JobLaunched(job=job, kind="training", method="sft", title=job, effect_id=job, folder=f"{old}/jobs/{job}", config={"model": start, "data": "clean"}))  # fmt: skip
            payloads.append(e.JobFinished(job=job, seconds=1.0, result={"steps": steps, "status": "time_limit"}))
        if source:
            folder_of = folder / "jobs" / f"job-{n}"
            way = Variant(name="greedy", decoding=Decoding(max_new_tokens=8), prompting=prompting)
            write_spec(folder_of, SampleSpec(model=BASE, data="d", output_folder="o", variants=(way,)))
            (folder_of / "out").mkdir()
            (folder_of / "out" / "result.json").write_text('{"variants": [{"name": "greedy", "stop_ids": [4]}]}')
            payloads.append(e.CheckpointPromoted(source=source, path=f"{old}/final_model", evaluation=f"job-{n}/greedy", score=0.1 * n, digest="?"))  # fmt: skip
    with EventLog.create(folder / "log") as log:
        log.append([e.new(p, actor="agent") for p in change(payloads)])
        found = lineage(log.subscribe(1).batch(100))
    assert found is not None
    return found


def rerun(pack: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "rerun.py", *arguments], cwd=pack, capture_output=True, text=True, timeout=500, check=False
    )


def test_dead_ends_are_left_out_and_the_order_is_kept(tmp_path: Path) -> None:
    steps = record(tmp_path / "run").steps
    assert [(type(s), s.job if isinstance(s, Trained) else s.source) for s in steps] == [
        (Trained, "job-1"),
        (Promoted, "job-1"),
        (Trained, "job-3"),
        (Promoted, "job-3"),
    ]


def test_a_pack_names_no_place_outside_itself_and_notices_every_change(tmp_path: Path) -> None:
    line = record(tmp_path / "run")
    made = write_pack(tmp_path / "run", line, tmp_path / "pack")
    with pytest.raises(Refused, match="exists"):
        write_pack(tmp_path / "run", line, made)
    plan: dict[str, Any] = json.loads((made / "plan.json").read_text())
    used = json.dumps([plan["steps"], plan["task"]])
    assert "/somewhere" not in used
    assert str(tmp_path) not in used
    assert TASK.path not in used
    first = plan["steps"][0]["spec"]
    assert (first["model"], first["data"], first["stop_after"], first["time_limit_s"]) == ("@pack/base", "@pack/data/clean", 8, None)  # fmt: skip
    assert plan["steps"][2]["spec"]["model"] == "@work/final_model"
    moved = tmp_path / "far" / "away"
    moved.parent.mkdir()
    shutil.move(made, moved)
    assert rerun(moved, "--check").returncode == 0
    with (moved / "data" / "clean" / "train.jsonl").open("a") as rows:
        rows.write("{}\n")
    changed = rerun(moved)
    assert changed.returncode == 3
    assert "changed: data/clean/train.jsonl" in changed.stdout
    assert not (moved / "rerun").exists()


def plan_of(pack: Path) -> dict[str, Any]:
    return json.loads((pack / "plan.json").read_text())


def test_a_job_that_was_stopped_is_repeated_as_far_as_its_model_came(tmp_path: Path) -> None:
    def stopped(payloads: list[e.Payload]) -> list[e.Payload]:
        """job-3 saved a checkpoint after five train steps and was then stopped; it has no result."""
        saved = e.CheckpointSaved(job="job-3", path="/somewhere/else/run-1/jobs/job-3/checkpoint-5", step=5)
        gone = [p for p in payloads if not (isinstance(p, e.JobFinished) and p.job == "job-3")]
        return [*gone[:-1], saved, e.JobCancelled(job="job-3", reason="asked to stop"), gone[-1]]

    line = record(tmp_path / "run", change=stopped)
    assert [s.steps for s in line.steps if isinstance(s, Trained)] == [8, 5]
    made = write_pack(tmp_path / "run", line, tmp_path / "pack")
    assert [s["spec"]["stop_after"] for s in plan_of(made)["steps"] if s["do"] == "train"] == [8, 5]
    assert "job-3 ended after 5 of 20 train steps" in (made / "README.md").read_text()


def test_a_model_of_a_script_is_copied_and_said_to_be(tmp_path: Path) -> None:
    def scripted(payloads: list[e.Payload]) -> list[e.Payload]:
        old = "/somewhere/else/run-1"
        launched = e.JobLaunched(job="job-7", kind="script", method="script", title="own", effect_id="7", folder=f"{old}/jobs/job-7")  # fmt: skip
        done = e.JobFinished(job="job-7", seconds=1.0, checkpoint=f"{old}/jobs/job-7/out/best")
        last = payloads[-1]
        assert isinstance(last, e.CheckpointPromoted)
        return [*payloads, launched, done, msgspec.structs.replace(last, source="job-7")]

    line = record(tmp_path / "run", change=scripted)
    shutil.copytree(BASE, tmp_path / "run" / "jobs" / "job-7" / "out" / "best")
    made = write_pack(tmp_path / "run", line, tmp_path / "pack")
    (step,) = plan_of(made)["steps"]
    assert step["do"] == "promote"
    assert (made / step["source"].removeprefix("@pack/") / "config.json").is_file()
    assert "came from no recorded training" in (made / "README.md").read_text()


def test_rows_that_are_not_those_trained_on_are_said_and_unused_data_is_left_out(tmp_path: Path) -> None:
    def checked(digest: str) -> Callable[[list[e.Payload]], list[e.Payload]]:
        seen = e.ContaminationChecked(dataset="clean", against=1, rows=64, overlapping=0, digest=digest)
        unused = e.DatasetPrepared(name="unused", sources=["y"], path="/d", rows=1, dev_rows=1, read=2)
        return lambda payloads: [*payloads[:2], seen, unused, *payloads[2:]]

    line = record(tmp_path / "a", change=checked("f" * 64))
    text = (write_pack(tmp_path / "a", line, tmp_path / "pack-a") / "README.md").read_text()
    assert "`clean` was prepared anew after job-1 read it" in text
    assert "unused" not in text
    record(tmp_path / "b")
    right = hashlib.sha256((tmp_path / "b" / "data" / "clean" / "train.jsonl").read_bytes()).hexdigest()
    shutil.rmtree(tmp_path / "b")
    line = record(tmp_path / "b", change=checked(right))
    text = (write_pack(tmp_path / "b", line, tmp_path / "pack-b") / "README.md").read_text()
    assert "prepared anew" not in text
    assert right in text


def test_answers_drawn_until_the_time_was_over_are_taken_along(tmp_path: Path) -> None:
    line = record(tmp_path / "run")
    for job, prompts in (("job-1", 64), ("job-3", 40)):
        accepted = tmp_path / "run" / "jobs" / job / "accepted"
        accepted.mkdir()
        (accepted / "drawn.json").write_text(json.dumps({"prompts": prompts, "size": 3, "counts": {}}))
        (accepted / "train.jsonl").write_text("{}\n")
    made = write_pack(tmp_path / "run", line, tmp_path / "pack")
    first, _, third, _ = plan_of(made)["steps"]
    assert "given" not in first
    assert (made / third["given"]["accepted"].removeprefix("@pack/") / "train.jsonl").is_file()
    assert "job-3 sampled for 40 of 64 prompts" in (made / "README.md").read_text()


def cached(cache: Path, name: str) -> Path:
    """The base as the Hub's client keeps it: links into a folder of blobs."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc123")
    for file in Path(BASE).iterdir():
        shutil.copyfile(file, repository / "blobs" / file.name)
        (snapshot / file.name).symlink_to(repository / "blobs" / file.name)
    return snapshot


def test_a_base_of_the_hub_is_packed_with_its_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    cached(tmp_path / "cache", "ana/base-1.7B")
    made = write_pack(tmp_path / "run", record(tmp_path / "run", base="ana/base-1.7B"), tmp_path / "pack")
    plan = plan_of(made)
    assert (plan["base"]["at"], plan["base"]["revision"]) == ("@pack/base", "abc123")
    assert plan["steps"][0]["spec"]["model"] == "@pack/base"
    assert not any(p.is_symlink() for p in made.rglob("*"))
    assert rerun(made, "--check").returncode == 0


def test_a_base_too_large_for_the_pack_is_named_checked_and_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("core.repro.pack.LARGEST", 10_000)
    base = tmp_path / "base"
    shutil.copytree(BASE, base)
    made = write_pack(tmp_path / "run", record(tmp_path / "run", base=str(base)), tmp_path / "pack")
    plan = plan_of(made)
    assert plan["base"]["at"] == plan["steps"][0]["spec"]["model"] == "@base"
    assert not (made / "base").exists()
    assert base_folder(plan["base"], "") == str(base)
    moved = tmp_path / "models" / "base"
    moved.parent.mkdir()
    shutil.move(base, moved)
    asked = rerun(made)
    assert asked.returncode == 3
    assert "name its folder with --base" in asked.stdout
    assert not list((made / "rerun").iterdir())
    capsys.readouterr()
    assert base_folder(plan["base"], str(moved)) == str(moved)
    assert not capsys.readouterr().out
    (moved / "config.json").write_text("{}")
    base_folder(plan["base"], str(moved))
    assert "not those of the run" in capsys.readouterr().out
    assert with_base(plan["steps"], "/b")[0]["spec"]["model"] == "/b"


def test_only_the_packs_own_marks_are_places(tmp_path: Path) -> None:
    marked = {"a": "@work/x", "b": "@workshop", "c": ["@pack"], "d": "@packed/y"}
    found = at(marked, tmp_path)
    assert (found["a"], found["b"], found["d"]) == (f"{tmp_path}/x", "@workshop", "@packed/y")
    assert Path(found["c"][0]).is_dir()


@pytest.mark.soak
def test_two_reruns_make_the_same_bytes_and_stop_where_the_run_stopped(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "run", record(tmp_path / "run"), tmp_path / "pack")
    digests: list[str] = []
    for work in ("a", "b"):
        ended = rerun(pack, "--work", str(tmp_path / work))
        assert ended.returncode == 0, ended.stdout + ended.stderr
        digests.append(json.loads((tmp_path / work / "result.json").read_text())["digest"])
    assert digests[0] == digests[1]
    lines = (tmp_path / "a" / "jobs" / "job-3" / "metrics.jsonl").read_text().splitlines()
    result = next(r for r in map(msgspec.json.decode, lines) if r.get("kind") == "result")
    assert result["steps"] == 8
