"""A training shared by several processes: one stream, one model, the same batch whatever their number, one stop for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from core.compute.launcher import accelerate_argv, job_env
from core.compute.spec import JobSpec
from core.errors import UsageError
from core.training.recipe import share_of_batch
from core.training.spec import TrainSpec, write_spec
from core.training.stream import Stream
from tests.core.training.conftest import make_model, make_tokenizer, read_stream, series, write_sums


def spec_of(root: Path, **more) -> TrainSpec:
    given = {"kind": "sft", "model": str(root / "base"), "data": str(root / "data"), "lr": 1e-3, "max_steps": 4, "batch_size": 32, "log_every": 1, "eval_every": 2, "eval_samples": 8, "max_completion_length": 6, "threads": 1, "device": "cpu", "trackio_project": "several"}  # fmt: skip
    return msgspec.convert(given | more, TrainSpec)


def launched(folder: Path, spec: TrainSpec, processes: int) -> None:
    """With the very command a job on several GPUs starts with; on a CPU its processes talk through gloo."""
    write_spec(folder, spec)
    job = JobSpec(job="j", kind=spec.kind, effect_id="e", folder=str(folder), slots=1, gpus=processes)

    done = subprocess.run(accelerate_argv(sys.executable, job), env={**os.environ, **job_env(job)}, capture_output=True, text=True, cwd=folder, timeout=280)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.soak
def test_two_processes_make_one_training(tmp_path: Path) -> None:
    make_model(tmp_path / "base", make_tokenizer())
    write_sums(tmp_path / "data")
    for name, processes in (("one", 1), ("two", 2)):
        launched(tmp_path / name, spec_of(tmp_path), processes)
    rows = [r for r in read_stream(tmp_path / "two") if r["kind"] == "metric" and "loss" in r["values"]]
    assert [r["step"] for r in rows] == [1, 2, 3, 4], "each step once"
    assert sum(r["kind"] == "result" for r in read_stream(tmp_path / "two")) == 1
    assert series(tmp_path / "two", "loss")[0] == pytest.approx(series(tmp_path / "one", "loss")[0], rel=0.1)
    assert len(series(tmp_path / "two", "dev_score")) == len(series(tmp_path / "one", "dev_score"))
    assert (tmp_path / "two" / "model" / "model.safetensors").is_file()
    assert not list((tmp_path / "two").glob("*.partial"))
    assert (tmp_path / "two" / "trackio" / "several.db").is_file()


@pytest.mark.soak
def test_a_stop_reaches_all_processes_at_one_step(tmp_path: Path) -> None:
    make_model(tmp_path / "base", make_tokenizer())
    write_sums(tmp_path / "data")
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "control").write_text("stop\n")
    launched(tmp_path / "job", spec_of(tmp_path, max_steps=200), 2)
    (result,) = [r for r in read_stream(tmp_path / "job") if r["kind"] == "result"]
    assert (result["status"], result["steps"]) == ("stopped", 1)
    assert (tmp_path / "job" / "model" / "model.safetensors").is_file()


def test_the_batch_is_shared_so_that_a_train_step_stays_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = TrainSpec(kind="sft", model="m", data="d", batch_size=64)
    assert share_of_batch(spec) == 64
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert share_of_batch(spec) == 8
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UsageError, match=r"64 does not divide among 3.*Use 63"):
        share_of_batch(spec)


def test_only_the_first_process_writes_and_reads_the_jobs_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    other = Stream(tmp_path)
    other.metric(1, {"loss": 1.0})
    other.heartbeat(1)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("RANK", "0")
    Stream(tmp_path).metric(1, {"loss": 1.0})
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["values"] == {"loss": 1.0}
