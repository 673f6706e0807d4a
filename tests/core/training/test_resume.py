"""A training that was killed goes on from its newest whole checkpoint, and its stream says each metric once."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from core.compute.local import LocalCompute
from core.compute.spec import JobSpec
from core.training.resume import is_over, is_whole, newest_checkpoint
from core.training.spec import LoraSpec, write_spec
from core.training.stream import Stream
from tests.core.training.conftest import Lab, read_stream
from tests.core.training.test_training_jobs import run_here, spec_for


def said(folder: Path) -> list[tuple[int, str]]:
    """Every (train step, name) of the stream, without TRL's summary: it names its last step's epoch once more."""
    rows = [r for r in read_stream(folder) if r["kind"] == "metric" and "train_runtime" not in r["values"]]
    return [(r["step"], name) for r in rows for name in r["values"]]


def test_a_training_killed_with_its_supervisor_goes_on_in_its_folder(lab: Lab, tmp_path: Path) -> None:
    spec = spec_for(lab, max_steps=60, save_every=5, log_every=1, eval_every=20)
    folder = tmp_path / "j"
    write_spec(folder, spec)
    compute = LocalCompute(tmp_path)
    first = compute.submit(JobSpec(job="j", kind="sft", effect_id="e", folder=str(folder)))
    wait(lambda: newest_checkpoint(folder) is not None)
    for pid in (first.supervisor_pid, first.pid):
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    wait(lambda: compute.inspect("j").state == "lost")
    saved = newest_checkpoint(folder)
    assert saved is not None
    compute.resume("j", {"resume_from": str(saved)})
    assert compute.wait("j", 300).state == "done"
    found = said(folder)
    assert len(found) == len(set(found)), "a metric was said twice"
    assert {step for step, name in found if name == "loss"} == set(range(1, 61)), "a metric was lost"
    result = read_stream(folder)[-1]
    assert (result["kind"], result["status"], result["steps"]) == ("result", "finished", 60)
    notes = [r["text"] for r in read_stream(folder) if r["kind"] == "note"]
    assert any(saved.name in n for n in notes)


def test_a_preempted_training_leaves_a_checkpoint_and_no_result(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "control").write_text("stop\n")
    (tmp_path / "stopping").write_text("preempted\n")
    run_here(tmp_path, spec_for(lab, max_steps=6, lora=LoraSpec(r=4)))
    assert not is_over(tmp_path)
    assert not (tmp_path / "model").exists()
    saved = newest_checkpoint(tmp_path)
    assert saved is not None
    assert saved.name == "checkpoint-1"
    for name in ("control", "stopping"):
        (tmp_path / name).unlink()
    run_here(tmp_path, spec_for(lab, max_steps=6, lora=LoraSpec(r=4)))
    assert is_over(tmp_path)
    assert len(said(tmp_path)) == len(set(said(tmp_path)))


def test_a_schedulers_time_limit_leaves_a_checkpoint_and_a_model(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "control").write_text("stop\n")
    (tmp_path / "stopping").write_text("time_limit\n")
    run_here(tmp_path, spec_for(lab, max_steps=6))
    assert is_over(tmp_path)
    assert newest_checkpoint(tmp_path) is not None


def test_a_checkpoint_that_was_not_written_to_its_end_is_passed_over(lab: Lab, tmp_path: Path) -> None:
    run_here(tmp_path, spec_for(lab, max_steps=4, save_every=2))
    older, newer = (tmp_path / "checkpoints" / f"checkpoint-{n}" for n in (2, 4))
    assert newest_checkpoint(tmp_path) == newer
    for name in ("model.safetensors", "optimizer.pt", "trainer_state.json", "scheduler.pt"):
        whole = (newer / name).read_bytes()
        (newer / name).write_bytes(whole[: len(whole) - 20])
        assert not is_whole(newer), name
        assert newest_checkpoint(tmp_path) == older
        (newer / name).write_bytes(whole)
    assert newest_checkpoint(tmp_path) == newer


@pytest.mark.parametrize("cut", [0, 1, 20])
def test_a_line_that_a_kill_cut_off_is_neither_glued_nor_kept(tmp_path: Path, cut: int) -> None:
    stream = Stream(tmp_path)
    for step in range(3):
        stream.metric(step, {"loss": 1.0})
    path = tmp_path / "metrics.jsonl"
    os.truncate(path, path.stat().st_size - cut)
    again = Stream(tmp_path)
    for step in range(1, 5):
        again.metric(step, {"loss": 2.0, "dev_score": 0.5} if step == 2 else {"loss": 2.0})
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [r["step"] for r in rows if "loss" in r["values"]] == [0, 1, 2, 3, 4]
    assert [r["step"] for r in rows if "dev_score" in r["values"]] == [2]


def wait(true) -> None:
    until = time.monotonic() + 240
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)
