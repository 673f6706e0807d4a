"""The reproducibility pack: only what led to the final model, digests that hold, a rerun that makes the model again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
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
from core.tasks import load_task
from core.training.spec import TrainSpec, write_spec
from store.log import EventLog

TASK = load_task("pocket/addition")
BASE = str(TASK.base_model)


def record(folder: Path, *, steps: int = 8, planned: int = 20) -> Lineage:
    """A run that trained three jobs and promoted base, job-1, job-3 (from final); job-2 led nowhere. Moved since."""
    old = "/somewhere/else/run-1"
    rows = [{"id": str(i), "prompt": f"{i}+1=", "answer": str(i + 1)} for i in range(64)]
    data = folder / "data" / "clean"
    data.mkdir(parents=True)
    for name in ("train", "dev"):
        (data / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    guard.record(TASK, folder / "guard")
    prompting = Prompting(template_path=TASK.templates[0])
    for job, start in (("job-1", BASE), ("job-2", BASE), ("job-3", f"{old}/final_model")):
        spec = TrainSpec(
            kind="sft", model=start, data=f"{old}/data/clean", prompting=prompting, max_steps=planned, batch_size=8,
            lr=1e-3, threads=1, time_limit_s=60.0, eval_samples=8, trackio_project="p", run_name=job,
        )  # fmt: skip
        write_spec(folder / "jobs" / job, spec)
    payloads: list[e.Payload] = [
        e.RunCreated(run="run-1", goal="add", task="pocket/addition", task_path=TASK.path, model=BASE),
        e.DatasetPrepared(name="clean", sources=["x"], path=f"{old}/data/clean", rows=64, dev_rows=64, read=64, digest="d"),
    ]  # fmt: skip
    for n, (job, source, start) in enumerate(
        [("", "base", ""), ("job-1", "job-1", "base"), ("job-2", "", "base"), ("job-3", "job-3", "final")], start=10
    ):
        if job:
            payloads.append(e.JobLaunched(job=job, kind="training", method="sft", title=job, effect_id=job, folder=f"{old}/jobs/{job}", config={"model": start}))  # fmt: skip
            payloads.append(e.JobFinished(job=job, seconds=1.0, result={"steps": steps, "status": "time_limit"}))
        if source:
            folder_of = folder / "jobs" / f"job-{n}"
            way = Variant(name="greedy", decoding=Decoding(max_new_tokens=8), prompting=prompting)
            write_spec(folder_of, SampleSpec(model=BASE, data="d", output_folder="o", variants=(way,)))
            (folder_of / "out").mkdir()
            (folder_of / "out" / "result.json").write_text('{"variants": [{"name": "greedy", "stop_ids": [4]}]}')
            payloads.append(e.CheckpointPromoted(source=source, path=f"{old}/final_model", evaluation=f"job-{n}/greedy", score=0.1 * n, digest="?"))  # fmt: skip
    with EventLog.create(folder / "log") as log:
        log.append([e.new(p, actor="agent") for p in payloads])
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
