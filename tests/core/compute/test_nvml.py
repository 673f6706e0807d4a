"""The real NVML binding on a library built here: what a GPU host would show, labelled fake."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from core import events as e
from core.compute.machine import Machine
from core.compute.telemetry import GpuSample
from core.compute.usage import charge, gpu_hours
from core.fold import fold
from core.host import _gpu
from core.journal import Journal
from core.redact import Redactor
from core.report import render_report
from core.state import RunState
from core.tables import TABLES
from screens.view import View
from screens.widgets.devices import Devices
from store.log import EventLog

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the stand-in library with")
    folder = tmp_path_factory.mktemp("nvml")
    source = ROOT / "tests" / "servers" / "fake_nvml.c"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(folder / "libnvidia-ml.so.1"), str(source)], check=True
    )
    return folder


def run(library: Path, code: str, **env: str) -> str:
    """In a process of its own: the loader reads LD_LIBRARY_PATH only at its start."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"LD_LIBRARY_PATH": str(library)} | env, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


SAMPLE = (
    "import os, msgspec; from core.compute.telemetry import Telemetry; "
    "print(msgspec.json.encode(Telemetry().sample([os.getppid()])).decode())"
)


def test_two_gpus_with_their_processes_power_heat_and_faults(library: Path) -> None:
    first, second = msgspec.json.decode(run(library, SAMPLE, INTERN_FAKE_PID=str(os.getpid())), type=list[GpuSample])
    assert (first.source, second.source) == ("fake", "fake")
    assert (first.name, first.utilisation, first.power_w, first.temperature_c) == ("Fake H100 0", 0.87, 412.0, 61)
    assert (first.own_pids, first.own_memory_bytes, first.others) == ((os.getpid(),), 3 << 30, 0)
    assert (first.throttled, first.ecc_errors, first.note) == ((), 0, "")
    assert second.power_w is None  # no sensor is no value, not 0
    assert (second.others, second.own_memory_bytes) == (3, 0)
    assert second.throttled == ("power cap", "heat (hardware)")
    assert second.note == "throttled: power cap, heat (hardware); 3 uncorrected memory errors"


def test_the_queue_sees_the_free_gpu_and_leaves_the_other_to_its_people(library: Path) -> None:
    code = (
        "import time; from core.compute.machine import Machine; from core.compute.schedule import *; c = Machine().capacity(); "
        "t = [Ticket(key=str(i), run='r', folder='', gpus=1, asked=i) for i in range(3)]; "
        "print([d.free_bytes >> 30 for d in c.gpus], [b.gpus for b in decide(t, [], c, time.time())])"
    )
    assert run(library, code).strip() == "[76, 10] [(0,)]"


def test_a_machine_without_gpus_has_cores() -> None:
    capacity = Machine().capacity()
    assert capacity.cpus == len(os.sched_getaffinity(0))


def test_gpu_hours_and_dollars_of_a_job(tmp_path: Path) -> None:
    assert gpu_hours(4, 1800) == 2.0
    assert charge(tmp_path, 600) == (0.0, "")
    (tmp_path / "quote.json").write_text('{"flavor":"a100-large","usd_per_hour":2.5,"timeout_s":7200,"attempts":1}')
    usd, what = charge(tmp_path, 1440)
    assert usd == pytest.approx(1.0)
    assert what == "a100-large, 24.0 min at $2.50/h"
    assert charge(tmp_path, 0)[0] == pytest.approx(5.0)  # how long it ran is not known: no less than may be owed


def run_on_fake_gpus(library: Path, folder: Path) -> RunState:
    """A run's state after readings of the stand-in library and two jobs: one on a GPU, one rented."""
    samples = msgspec.json.decode(run(library, SAMPLE, INTERN_FAKE_PID=str(os.getpid())), type=list[GpuSample])
    with EventLog.create(folder, TABLES) as log:
        journal = Journal(log, RunState(), Redactor({}))
        journal.emit_many([_gpu(s) for s in samples])
        for job, gpus in (("job-1", 2), ("job-2", 1), ("job-3", 0)):
            launched = {"kind": "training", "method": "sft", "title": job, "effect_id": job, "folder": "/nowhere"}
            journal.emit(e.JobLaunched(job=job, gpus=gpus, **launched))  # type: ignore[arg-type]
            journal.emit(e.JobFinished(job=job, seconds=1800))
        journal.emit(e.BudgetCharged(kind="usd", amount=1.25, what="job-2: a100-large", job="job-2"))
        journal.emit_many([_gpu(s) for s in samples])
        return fold(RunState(), log.events())


def drawn(state: RunState) -> str:
    rows = Devices().rows(View(state, state.ts), 80, 40)
    return "\n".join("".join(span.text for span in row.spans) for row in rows)


def test_screen_and_report_call_a_fake_gpu_fake_and_say_what_is_wrong_with_it(library: Path, tmp_path: Path) -> None:
    state = run_on_fake_gpus(library, tmp_path)
    shown = drawn(state)
    assert "FAKE GPU 0" in shown
    assert "FAKE GPU 1" in shown
    assert "3.0 ours" in shown
    assert "3 other processes" in shown
    assert "throttled: power cap, heat (hardware)" in shown
    assert "3 uncorrected memory errors" in shown
    report = render_report(state)
    assert report.count("FAKE: a stand-in library, not a GPU") == 2
    assert "at times throttled: power cap, heat (hardware); 3 uncorrected memory errors" in report


def test_each_job_says_its_gpu_hours_and_dollars(library: Path, tmp_path: Path) -> None:
    state = run_on_fake_gpus(library, tmp_path)
    shown = drawn(state)
    assert "1.00 GPU-hours" in shown
    assert "0.50 GPU-hours, $1.25" in shown
    report = render_report(state)
    assert "| job-1 sft | 2 | 0.50 | 1.00 | $0.00 |" in report
    assert "| job-2 sft | 1 | 0.50 | 0.50 | $1.25 |" in report
    assert "job-3" not in report, "a job that held no GPU and cost nothing is not in the table"
    assert "2 jobs were given GPUs or cost money: 1.50 GPU-hours, $1.25" in report
