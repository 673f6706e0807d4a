"""Jobs from the fork server: the same contract as jobs started cold, without the imports."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from core.compute.local import LocalCompute
from core.compute.spec import JobSpec, JobStatus
from core.compute.warm import ForkServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def compute(tmp_path_factory) -> LocalCompute:
    compute = LocalCompute(tmp_path_factory.mktemp("warm") / "jobs")
    compute.warm_up()
    assert warm(compute).ready(120), (compute.jobs_folder / "forkserver.log").read_text()
    yield compute
    compute.close()


def warm(compute: LocalCompute) -> ForkServer:
    server = compute._warm
    assert server is not None
    return server


def submit(compute: LocalCompute, name: str, spec: dict, **more: object) -> JobStatus:
    """A job whose spec.json is `spec`."""
    folder = compute.jobs_folder / name
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps(spec))
    values = {"effect_id": f"effect-{name}"} | more
    return compute.submit(JobSpec(job=name, kind=str(spec.get("kind")), folder=str(folder), **values))  # type: ignore[arg-type]


def script_spec(tmp_path: Path, code: str, name: str = "script") -> dict:
    """A job that runs `code`; submitted under a kind of ours, so that the fork server takes it."""
    script = tmp_path / f"{name}.py"  # a job may read it after the next one was submitted
    script.write_text(code)
    return {"kind": "script", "script": str(script)}


def submit_code(compute: LocalCompute, tmp_path: Path, name: str, code: str, **more: object) -> JobStatus:
    folder = compute.jobs_folder / name
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps(script_spec(tmp_path, code, name)))
    values = {"effect_id": f"effect-{name}"} | more
    return compute.submit(JobSpec(job=name, kind="sft", folder=str(folder), **values))  # type: ignore[arg-type]


def is_forked(status: JobStatus) -> bool:
    """Its supervisor runs the fork server's program."""
    assert status.supervisor_pid is not None
    return "forkserver.py" in " ".join(psutil.Process(status.supervisor_pid).cmdline())


def test_a_forked_job_has_its_own_log_folder_environment_and_threads(compute: LocalCompute, tmp_path: Path) -> None:
    code = "import os, sys, torch\nprint(os.getcwd(), os.environ['MORE'], torch.get_num_threads(), os.getpgid(0) == os.getpid())\nprint('err', file=sys.stderr)"
    submit_code(compute, tmp_path, "own", code, slots=2, env={"MORE": "yes"})
    status = compute.wait("own", 30)
    assert status.state == "done"
    assert compute.logs("own").text.split() == [str(compute.jobs_folder / "own"), "yes", "2", "True", "err"]


def test_torch_is_there_at_once(compute: LocalCompute, tmp_path: Path) -> None:
    code = "import sys; print('torch' in sys.modules, 'trl' in sys.modules)"
    started = submit_code(compute, tmp_path, "there", "import time; time.sleep(0.5)\n" + code)
    assert is_forked(started)
    assert compute.wait("there", 30).state == "done"
    assert compute.logs("there").text.split() == ["True", "True"]


def test_two_forks_draw_different_random_numbers(compute: LocalCompute, tmp_path: Path) -> None:
    code = "import random, numpy; print(random.random(), numpy.random.rand())"
    for name in ("dice-a", "dice-b"):
        submit_code(compute, tmp_path, name, code)
        assert compute.wait(name, 30).state == "done"
    assert not set(compute.logs("dice-a").text.split()) & set(compute.logs("dice-b").text.split())


def test_a_crash_leaves_its_traceback_and_exit_code(compute: LocalCompute, tmp_path: Path) -> None:
    submit_code(compute, tmp_path, "crash", "raise ValueError('bad reward')")
    status = compute.wait("crash", 30)
    assert status.exit is not None
    assert (status.state, status.exit.exit_code, status.exit.reason) == ("failed", 1, "crashed")
    assert "ValueError: bad reward" in compute.logs("crash").text


def test_a_wrong_spec_is_exit_code_2_with_one_message(compute: LocalCompute) -> None:
    submit(compute, "wrong", {"kind": "no-such-kind"})
    status = compute.wait("wrong", 30)
    assert status.exit is not None
    assert status.exit.exit_code == 2
    assert "unknown kind of job" in compute.logs("wrong").text


def test_the_time_limit_and_cancel_reach_a_forked_job(compute: LocalCompute, tmp_path: Path) -> None:
    submit_code(compute, tmp_path, "sleeper", "import time; time.sleep(600)")
    status = compute.cancel("sleeper", grace_s=0.2)
    assert status.state == "cancelled"
    assert status.exit is not None
    assert status.exit.signal == signal.SIGTERM


def test_jobs_outlive_the_fork_server_and_the_next_one_starts_cold(tmp_path: Path) -> None:
    compute = LocalCompute(tmp_path / "jobs")
    compute.warm_up()
    assert warm(compute).ready(120)
    released = tmp_path / "released"
    code = f"import os, time\nwhile not os.path.exists({str(released)!r}): time.sleep(0.05)\nprint('lived')"
    running = submit_code(compute, tmp_path, "before", code)
    assert is_forked(running)
    os.kill(warm(compute).pid, signal.SIGKILL)
    assert compute.inspect("before").state == "running"
    cold = submit_code(compute, tmp_path, "after", "import sys; time = 1; print('torch' in sys.modules)")
    assert not is_forked(cold)
    assert compute.wait("after", 60).state == "done"
    released.touch()
    assert compute.wait("before", 60).state == "done"
    assert compute.logs("before").text.strip() == "lived"
    compute.close()


def test_a_script_of_somebody_elses_gets_a_clean_process(compute: LocalCompute, tmp_path: Path) -> None:
    spec = script_spec(tmp_path, "import sys; print('torch' in sys.modules)")
    started = submit(compute, "script", spec)
    assert not is_forked(started)
    assert compute.wait("script", 30).state == "done"
    assert compute.logs("script").text.strip() == "False"


def test_the_server_ends_when_the_host_does(tmp_path: Path) -> None:
    server = ForkServer(os.sys.executable, tmp_path / "log", {})
    assert server.ready(120)
    server._socket.close()  # what the kernel does for a host that was killed
    until = time.monotonic() + 10
    while server.lives() and time.monotonic() < until:
        time.sleep(0.05)
    assert not server.lives()


def test_imports_that_fail_mean_cold_jobs_and_a_reason_in_the_log(tmp_path: Path) -> None:
    blocked = tmp_path / "trl.py"
    blocked.write_text("raise ImportError('no trl here')")
    server = ForkServer(os.sys.executable, tmp_path / "log", {"PYTHONPATH": str(tmp_path)})
    assert not server.start_job(tmp_path, 120)
    assert "no trl here" in (tmp_path / "log").read_text()
    server.close()


def spins(server: ForkServer) -> bool:
    """Whether threads of what it forks spin before they sleep: libgomp reads it when the server imports torch."""
    return b"GOMP_SPINCOUNT=" in Path(f"/proc/{server.pid}/environ").read_bytes()


def test_a_job_of_several_threads_gets_a_server_whose_threads_wait_as_its_machine_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    compute = LocalCompute(tmp_path / "jobs")
    monkeypatch.setattr("core.compute.local.cores", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (2.0, 2.0, 2.0))
    compute.warm_up()
    shared = warm(compute)
    assert not spins(shared)
    code = "import torch; print(torch.get_num_threads())"
    try:
        monkeypatch.setattr("core.compute.local.busy_cores", lambda: 0.1)
        submit_code(compute, tmp_path, "one", code, slots=1)
        assert warm(compute) is shared  # one thread waits for nobody
        assert is_forked(submit_code(compute, tmp_path, "alone", "import time; time.sleep(1)\n" + code, slots=2))
        assert spins(warm(compute))
        assert not shared.lives()
        monkeypatch.setattr("core.compute.local.busy_cores", lambda: 1.4)
        submit_code(compute, tmp_path, "beside", code, slots=2)
        assert not spins(warm(compute))
        for name, threads in (("one", "1"), ("alone", "2"), ("beside", "2")):
            assert compute.wait(name, 60).state == "done"
            assert compute.logs(name).text.split() == [threads]
    finally:
        compute.close()
