"""The last evaluation of a run stands in the machine's queue like every other evaluation."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import events as e
from core.compute.queue import Queue, this_process
from core.compute.queued import job_runs
from core.compute.schedule import Capacity, Device, Ticket
from core.session import open_source, state_at
from tests.core.run.quick import Quick, wait_for
from tests.servers.llm import LLMServer
from tests.servers.researchers import Answer, Capable

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
NOTES_ITS_GPUS = (
    "import os; Path(__file__).with_name('gpus.txt').write_text(os.environ.get('CUDA_VISIBLE_DEVICES', 'all'))\n"
)


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    """A laboratory whose machine has one GPU that is free and one that others use, by a library labelled fake."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the stand-in library with")
    folder = tmp_path_factory.mktemp("gpu")
    source = ROOT / "tests" / "servers" / "fake_nvml.c"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(folder / "libnvidia-ml.so.1"), str(source)], check=True
    )
    with Quick(folder / "lab", LD_LIBRARY_PATH=str(folder)) as made:
        script = made.task / "evaluate.py"
        script.write_text(script.read_text().replace("skill =", NOTES_ITS_GPUS + "skill ="))
        yield made


@pytest.fixture(scope="module")
def cores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    with Quick(tmp_path_factory.mktemp("cores")) as made:
        yield made


class Crowded(Capable):
    """Takes the whole machine for another run just before it says that it is done."""

    def __init__(self, quick: Quick, gpu: bool) -> None:
        super().__init__({"max_steps": 4})
        devices = (Device(index=0, total_bytes=80 << 30, free_bytes=80 << 30),) if gpu else ()
        capacity = Capacity(cpus=os.cpu_count() or 1, gpus=devices)
        self.queue = Queue(Path(quick.env["INTERN_HOME"]) / "queue", lambda: capacity, job_runs)
        pid, start = this_process()
        self.ticket = Ticket(
            key="theirs", run="theirs", folder="/runs/theirs/jobs/job-9", cpus=capacity.cpus, gpus=len(devices), by_owner=True,
            asked=1.0, owner_pid=pid, owner_start=start,
        )  # fmt: skip

    def __call__(self, messages: list[dict[str, Any]]) -> Answer:
        answer = super().__call__(messages)
        if answer["name"] == "final_answer":
            while self.queue.turn(self.ticket) is None:
                time.sleep(0.05)
        return answer

    def leave(self) -> None:
        self.queue.leave("theirs")


def events_of(run: Path) -> list[Any]:
    source = open_source(run)
    with contextlib.closing(source):
        return [e.payload_of(x) for x in source.events(1)]


def notes(run: Path) -> list[str]:
    return [p.text for p in events_of(run) if isinstance(p, e.NoteAdded)]


def heldout_begun(run: Path) -> bool:
    return any(isinstance(p, e.EvaluationStarted) and p.split == "heldout" for p in events_of(run))


def test_it_waits_until_another_run_gives_the_gpu_back_and_is_shown_that_gpu_only(gpu: Quick) -> None:
    brain = Crowded(gpu, gpu=True)
    with LLMServer(brain) as server:
        run = gpu.create(f"openai:t@{server.url}", autonomy="workspace", hours=1.0)
        gpu.start(run)
        wait_for(run, lambda s: any("waits for its place" in n for n in s.notes), 120)
        assert not heldout_begun(run)
        assert any("job-9 of run theirs" in n for n in notes(run))
        brain.leave()
        assert gpu.ended() == 0
    state = state_at(run)
    assert state.status == "finished", state.reason
    assert state.scores.heldout_best is not None
    assert (gpu.task / "gpus.txt").read_text() == "0"
    assert not brain.queue.read().held, "nothing is left held"


def test_a_run_whose_gpu_stays_taken_ends_with_its_model_and_says_why_there_is_no_score(gpu: Quick) -> None:
    brain = Crowded(gpu, gpu=True)
    with LLMServer(brain) as server:
        run = gpu.create(f"openai:t@{server.url}", autonomy="workspace", hours=0.04)
        assert gpu.host(run) == 1
        brain.leave()
    state = state_at(run)
    assert state.status == "failed"
    assert "the machine had no place" in state.reason
    assert "job-9 of run theirs" in state.reason
    assert not heldout_begun(run), "it was never begun beside another's training"
    assert state.scores.heldout_best is None
    assert (run / "final_model" / "config.json").exists()
    assert "the machine had no place" in (run / "report.md").read_text()


def test_solve_that_has_no_time_left_ends_the_wait_at_once(gpu: Quick) -> None:
    brain = Crowded(gpu, gpu=True)
    with LLMServer(brain) as server:
        run = gpu.create(f"openai:t@{server.url}", autonomy="workspace", hours=10.0, unattended=True)
        pid = gpu.start(run)
        wait_for(run, lambda s: any("waits for its place" in n for n in s.notes), 120)
        os.kill(pid, signal.SIGUSR1)
        gpu.ended()
        brain.leave()
    state = state_at(run)
    assert state.status == "finished"
    assert state.scores.heldout_best is None
    assert (run / "final_model" / "config.json").exists()


def test_on_cores_alone_it_begins_in_the_end_beside_what_runs(cores: Quick) -> None:
    brain = Crowded(cores, gpu=False)
    with LLMServer(brain) as server:
        run = cores.create(f"openai:t@{server.url}", autonomy="workspace", hours=0.04)
        assert cores.host(run) == 0
        brain.leave()
    said = notes(run)
    waits = next(i for i, n in enumerate(said) if "waits for its place" in n)
    begins = next(i for i, n in enumerate(said) if "begins beside job-9 of run theirs" in n)
    assert waits < begins
    assert state_at(run).scores.heldout_best is not None


def test_a_script_that_counts_in_percent_is_read_in_one_scale_from_the_first_look_on(tmp_path: Path) -> None:
    """Its base has 0.8 %, which could be a share; final_model then shows that it is none."""
    with Quick(tmp_path / "lab") as lab:
        (lab.task / "base" / "skill.txt").write_text("0.0")
        script = (lab.task / "evaluate.py").read_text()
        share = 'sum(x["correct"] for x in out) / len(out), "n": len(out)'
        assert share in script
        script = script.replace(share, '0.8 + 99 * sum(x["correct"] for x in out) / len(out)')
        (lab.task / "evaluate.py").write_text(script.replace("if a.samples_output_file:", "if False:"))
        with LLMServer(Capable({"max_steps": 4})) as server:
            run = lab.create(f"openai:t@{server.url}", autonomy="workspace")
            assert lab.host(run) == 0
    state = state_at(run)
    assert state.status == "finished", state.reason
    assert state.scores.scale == "percent"
    assert state.scores.heldout_baseline == pytest.approx(0.008)
    assert 0.2 < (state.scores.heldout_best or 0.0) < 0.5
    assert all(x.score == pytest.approx(0.008) for x in state.evaluations.values() if x.split == "contract")
    assert "gives percent" in (run / "report.md").read_text()


def test_a_held_out_split_that_is_too_long_for_the_time_is_read_in_its_first_samples(tmp_path: Path) -> None:
    """The whole must not use up the time that its first samples need."""
    with Quick(tmp_path / "lab") as lab:
        rows = [json.dumps({"id": f"h-{i}", "prompt": f"{i}+{i}=", "answer": str(2 * i)}) for i in range(600, 1400)]
        (lab.task / "evaluation_data" / "heldout.jsonl").write_text("\n".join(rows) + "\n")
        slow = "import time; time.sleep(0.06 * len(rows) if a.split == 'heldout' else 0)\n"
        script = (lab.task / "evaluate.py").read_text()
        (lab.task / "evaluate.py").write_text(script.replace("skill =", slow + "skill ="))
        with LLMServer(Capable({"max_steps": 4})) as server:
            run = lab.create(f"openai:t@{server.url}", autonomy="workspace", hours=0.015)
            assert lab.host(run) == 0
    state = state_at(run)
    assert state.status == "finished", state.reason
    assert any("does not fit" in n for n in notes(run))
    assert state.evaluations["heldout-base"].samples == state.evaluations["heldout-final_model"].samples == 200
    assert state.scores.heldout_best is not None
