"""Jobs of this machine: one effect one job, an end that is always known or called lost, limits that hold."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from core.compute import priority
from core.compute.local import LocalCompute
from core.compute.spec import JobSpec
from core.errors import JobError, NotFound
from core.evaluation import process
from intern_tui import supervisor


@pytest.fixture
def compute(tmp_path: Path) -> LocalCompute:
    return LocalCompute(tmp_path / "jobs")


def python(compute: LocalCompute, code: str, job: str = "a", **more: object) -> JobSpec:
    values = {"effect_id": f"effect-{job}"} | more
    return JobSpec(
        job=job, kind="script", folder=str(compute.jobs_folder / job), argv=(sys.executable, "-c", code), **values
    )  # type: ignore[arg-type]


def test_a_job_runs_in_its_folder_and_its_end_is_written(compute: LocalCompute) -> None:
    compute.submit(python(compute, "import os; print('hello', os.getcwd())"))
    status = compute.wait("a", 20)
    assert status.state == "done"
    assert status.exit is not None
    assert (status.exit.exit_code, status.exit.reason) == (0, "finished")
    assert compute.logs("a").text.strip() == f"hello {compute.jobs_folder / 'a'}"


def test_the_job_sees_its_threads_and_no_pythonpath_of_the_user(compute: LocalCompute, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    code = "import os; print(os.environ.get('PYTHONPATH'), os.environ['OMP_NUM_THREADS'], os.environ['MORE'])"
    compute.submit(python(compute, code, slots=3, env={"MORE": "yes"}))
    compute.wait("a", 20)
    assert compute.logs("a").text.split() == ["None", "3", "yes"]


def test_jobs_evaluations_and_commands_step_back_behind_the_host(compute: LocalCompute, tmp_path: Path) -> None:
    own = psutil.Process().nice()
    wanted = max(priority.NICE, own)
    assert priority.NICE == supervisor.NICE
    say = "import os; print(os.getpriority(os.PRIO_PROCESS, 0), open('/proc/self/autogroup').read() if os.path.exists('/proc/self/autogroup') else '')"
    compute.submit(python(compute, say))
    compute.wait("a", 60)
    nice, *group = compute.logs("a").text.split()
    assert int(nice) == wanted
    assert not group or group[-1] == str(priority.NICE), "Linux weighs the session as well"
    log = tmp_path / "log.txt"
    asleep = f"import time; time.sleep(1); {say}"  # the priority is set from outside, just after the start
    process.run([sys.executable, "-c", asleep], cwd=tmp_path, env=dict(os.environ), log=log, timeout_s=60)
    assert int(log.read_text().split()[0]) == wanted
    assert psutil.Process().nice() == own, "the host does not"


def test_one_effect_is_one_job_also_for_another_host(compute: LocalCompute) -> None:
    first = compute.submit(python(compute, "import time; time.sleep(30)"))
    again = LocalCompute(compute.jobs_folder).submit(
        python(compute, "import time; time.sleep(30)", job="b", effect_id="effect-a")
    )
    assert (again.job, again.pid, again.pid_start) == ("a", first.pid, first.pid_start)
    assert not (compute.jobs_folder / "b").exists()
    compute.cancel("a", grace_s=0)


def test_another_effect_cannot_take_a_folder_that_is_in_use(compute: LocalCompute) -> None:
    compute.submit(python(compute, "pass"))
    with pytest.raises(JobError, match="belongs to another job"):
        compute.submit(python(compute, "pass", effect_id="other"))


def test_a_crash_is_failed_with_its_traceback(compute: LocalCompute) -> None:
    compute.submit(python(compute, "raise ValueError('bad reward')"))
    status = compute.wait("a", 20)
    assert status.state == "failed"
    assert status.exit is not None
    assert (status.exit.exit_code, status.exit.reason) == (1, "crashed")
    assert "ValueError: bad reward" in compute.logs("a").text


def test_a_command_that_does_not_exist_is_said_in_the_log(compute: LocalCompute) -> None:
    compute.submit(
        JobSpec(job="a", kind="script", effect_id="e", folder=str(compute.jobs_folder / "a"), argv=("/no/such",))
    )
    status = compute.wait("a", 20)
    assert status.state == "failed"
    assert status.exit is not None
    assert status.exit.reason == "cannot_start"
    assert "/no/such" in compute.logs("a").text


def test_cancel_asks_first_and_a_job_that_listens_ends_well(compute: LocalCompute) -> None:
    code = "import os,time\nwhile not os.path.exists('control'): time.sleep(.01)\nprint(open('control').read())"
    compute.submit(python(compute, code))
    status = compute.cancel("a", grace_s=20)
    assert status.state == "cancelled"
    assert status.exit is not None
    assert status.exit.exit_code == 0
    assert "stop" in compute.logs("a").text


def test_cancel_takes_a_deaf_job_and_its_children_down(compute: LocalCompute) -> None:
    code = (
        "import subprocess,sys,time,signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "p=subprocess.Popen([sys.executable,'-c','import signal,time;signal.signal(15,1);time.sleep(60)'])\n"
        "print(p.pid, flush=True)\ntime.sleep(60)"
    )
    compute.submit(python(compute, code))
    _until(lambda: compute.logs("a").text.strip().isdigit())
    child = int(compute.logs("a").text)
    status = compute.cancel("a", grace_s=0.1)
    assert status.state == "cancelled"
    assert status.exit is not None
    assert status.exit.signal == signal.SIGKILL
    _until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_the_time_limit_asks_the_job_to_stop(compute: LocalCompute) -> None:
    code = "import os,time\nwhile not os.path.exists('control'): time.sleep(.01)"
    compute.submit(python(compute, code, time_limit_s=0.5))
    status = compute.wait("a", 20)
    assert status.state == "done"
    assert status.exit is not None
    assert status.exit.reason == "time_limit"


def test_a_job_over_its_memory_limit_is_out_of_memory(compute: LocalCompute) -> None:
    compute.submit(python(compute, "x = bytearray(1 << 30)", memory_limit_bytes=512 << 20))
    status = compute.wait("a", 20)
    assert status.state == "failed"
    assert status.exit is not None
    assert status.exit.reason == "out_of_memory"


def test_a_kill_from_outside_is_failed_as_killed(compute: LocalCompute) -> None:
    started = compute.submit(python(compute, "import time; time.sleep(60)"))
    assert started.pid is not None
    os.kill(started.pid, signal.SIGTERM)
    status = compute.wait("a", 20)
    assert status.exit is not None
    assert (status.state, status.exit.signal, status.exit.reason) == ("failed", signal.SIGTERM, "killed")


def test_a_job_whose_supervisor_is_gone_without_a_word_is_lost_not_failed(compute: LocalCompute) -> None:
    started = compute.submit(python(compute, "import time; time.sleep(60)"))
    assert started.pid is not None
    assert started.supervisor_pid is not None
    os.kill(started.supervisor_pid, signal.SIGKILL)
    os.kill(started.pid, signal.SIGKILL)
    assert compute.wait("a", 10).state == "lost"


def test_a_job_of_an_earlier_boot_is_lost(compute: LocalCompute) -> None:
    compute.submit(python(compute, "import time; time.sleep(60)"))
    path = compute.jobs_folder / "a" / "job.json"
    running = json.loads(path.read_text())
    path.write_text(json.dumps(running | {"boot_id": "another"}))
    assert compute.inspect("a").state == "lost"
    path.write_text(json.dumps(running))
    compute.cancel("a", grace_s=0)


def test_a_job_outlives_the_process_that_started_it(compute: LocalCompute) -> None:
    root = Path(__file__).resolve().parents[3]
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r})\n"
        "from core.compute.local import LocalCompute\nfrom core.compute.spec import JobSpec\n"
        f"c = LocalCompute({str(compute.jobs_folder)!r})\n"
        "c.submit(JobSpec(job='a', kind='script', effect_id='e', folder=str(c.jobs_folder / 'a'), "
        "argv=(sys.executable, '-c', 'import time; time.sleep(1); print(42)')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    assert compute.inspect("a").state == "running"
    assert compute.wait("a", 20).state == "done"
    assert compute.logs("a").text.strip() == "42"


def test_logs_go_on_from_the_cursor(compute: LocalCompute) -> None:
    compute.submit(python(compute, "print('x' * 100)"))
    compute.wait("a", 20)
    first = compute.logs("a", limit=40)
    rest = compute.logs("a", first.cursor)
    assert (len(first.text), len(rest.text), first.ended, rest.ended) == (40, 61, False, True)


def test_an_unknown_job_is_not_found(compute: LocalCompute) -> None:
    with pytest.raises(NotFound):
        compute.inspect("nobody")


def test_the_supervisor_needs_the_standard_library_only() -> None:
    supervisor = Path(__file__).resolve().parents[3] / "intern_tui" / "supervisor.py"
    heavy = "[m for m in sys.modules if m in ('msgspec', 'psutil', 'torch')]"
    code = f"import runpy,sys; runpy.run_path({str(supervisor)!r}); print({heavy})"
    done = subprocess.run([sys.executable, "-P", "-S", "-c", code], capture_output=True, text=True, timeout=20)
    assert done.stdout.strip() == "[]", done.stderr


def _until(true, timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
