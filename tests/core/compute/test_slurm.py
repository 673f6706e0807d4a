"""What is Slurm's own: arrays, requeue after a dead node, the warning before the time limit, people with scancel."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.compute.clustered import ClusterCompute
from core.compute.launcher import ROOT
from core.compute.shared import SharedCompute
from core.compute.slurm import SlurmEngine, SlurmProfile, read_profile
from core.compute.spec import OPEN, JobSpec, JobStatus, element
from core.errors import JobError, UsageError
from tests.core.compute.conftest import slurm_place
from tests.core.compute.places import Place
from tests.servers.slurm import Slurm, why_not

UNTIL_ASKED = "n = 0\nwhile not asked():\n    n += 1; say(n); time.sleep(.05)\nsave(n)"
RESUMES = """
at = here / 'checkpoint' / 'step.txt'
first = int(at.read_text()) + 1 if at.exists() else 1
print('restarted', os.environ.get('INTERN_RESTARTED'), flush=True)
for n in range(first, 61):
    if asked(): save(n - 1); raise SystemExit
    say(n); save(n); time.sleep(.1)
"""


pytestmark = pytest.mark.soak  # a real slurmctld: minutes, and it needs the machine's ports to itself


@pytest.fixture
def place(slurm: Slurm, tmp_path: Path) -> Place:
    (tmp_path / "jobs").mkdir()
    return slurm_place(slurm, tmp_path / "jobs")


def test_a_requeued_job_goes_on_from_its_checkpoint_under_the_same_id(slurm: Slurm, place: Place) -> None:
    compute = place.connect()
    handle = compute.submit(place.spec(RESUMES)).handle
    wait(lambda: "step 5" in text(place))
    slurm.run("scontrol", "requeue", handle)  # as a preemption does: SIGTERM, then the same job again
    wait(lambda: "BeginTime" in slurm.run("scontrol", "show", "job", handle))  # Slurm lets it wait for two minutes
    # Not at once: a node refuses what it was told to kill within the same seconds ("job credential revoked").
    slurm.run("scontrol", "update", f"jobid={handle}", "StartTime=now+4")
    status = end(compute)
    assert status.state == "done", status
    assert status.handle == handle
    steps = [int(line.split()[1]) for line in text(place).splitlines() if line.startswith("step")]
    assert steps == list(range(1, 61))
    assert "restarted 1" in text(place)


def test_a_job_lost_without_a_word_goes_on_as_a_new_submission_in_its_folder(slurm: Slurm, place: Place) -> None:
    compute = SharedCompute(
        place.folder, SlurmEngine(SlurmProfile(requeue=False), python=sys.executable, env=slurm.env)
    )
    first = compute.submit(place.spec(RESUMES)).handle
    wait(lambda: "step 5" in text(place))
    described = json.loads((place.folder / "job-1" / "job.json").read_bytes())
    for pid in (described["supervisor_pid"], described["pid"]):
        os.kill(pid, signal.SIGKILL)
    assert end(compute).state == "lost"
    compute.resume("job-1", {})
    status = end(compute)
    assert (status.state, status.handle != first) == ("done", True)
    assert compute.find_by_effect(place.spec(RESUMES).effect_id) is not None
    steps = [int(line.split()[1]) for line in text(place).splitlines() if line.startswith("step")]
    assert sorted(set(steps)) == list(range(1, 61))


def test_an_old_start_that_turns_up_again_ends_when_the_folder_has_another_owner(slurm: Slurm, place: Place) -> None:
    compute = SharedCompute(
        place.folder, SlurmEngine(SlurmProfile(requeue=False), python=sys.executable, env=slurm.env)
    )
    compute.submit(place.spec("time.sleep(120)"))
    wait(lambda: (place.folder / "job-1" / "job.json").exists())
    described = json.loads((place.folder / "job-1" / "job.json").read_bytes())
    (place.folder / "job-1" / "claim").write_text("another start")
    wait(
        lambda: (
            not Path(f"/proc/{described['pid']}").exists() and not Path(f"/proc/{described['supervisor_pid']}").exists()
        )
    )
    assert not (place.folder / "job-1" / "exit.json").exists()


def test_the_warning_before_the_time_limit_becomes_a_checkpoint(slurm: Slurm, place: Place) -> None:
    compute = place.connect()
    handle = compute.submit(place.spec(UNTIL_ASKED)).handle
    wait(lambda: "step 5" in text(place))
    slurm.run("scancel", "--batch", "--signal=USR1", handle)  # what --signal=B:USR1 sends
    status = end(compute)
    assert status.exit is not None
    assert (status.state, status.exit.reason) == ("done", "time_limit")
    assert int((place.folder / "job-1" / "checkpoint" / "step.txt").read_text()) >= 5


def sweep(place: Place, code: str, count: int, **more: object) -> list[JobSpec]:
    whole = f"sweep-{place.folder.parent.name}"
    return [place.spec(code, job=f"job-{i}", effect_id=element(whole, i), **more) for i in range(count)]


def test_a_sweep_is_one_array_of_which_no_more_run_at_once_than_the_profile_says(slurm: Slurm, place: Place) -> None:
    engine = SlurmEngine(SlurmProfile(side_by_side=2), python=sys.executable, env=slurm.env)
    compute = ClusterCompute(place.folder, engine)
    specs = sweep(place, "say(1); time.sleep(2)", 5)
    handles = [s.handle for s in compute.submit_many(specs)]
    array = handles[0].partition("_")[0]
    assert handles == [f"{array}_{i}" for i in range(5)]
    most = 0
    until = time.monotonic() + 120
    while any(compute.inspect(s.job).state in OPEN for s in specs):
        assert time.monotonic() < until
        running = slurm.run("squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i", f"--jobs={array}")
        most = max(most, len(running.split()))
        time.sleep(0.1)
    assert most == 2
    assert [compute.inspect(s.job).state for s in specs] == ["done"] * 5
    assert all((Path(s.folder) / "claim").read_text() == h for s, h in zip(specs, handles, strict=True))


def test_a_requeued_task_of_an_array_goes_on_from_its_checkpoint(slurm: Slurm, place: Place) -> None:
    compute = SharedCompute(place.folder, SlurmEngine(python=sys.executable, env=slurm.env))
    handles = [s.handle for s in compute.submit_many(sweep(place, RESUMES, 2))]
    wait(lambda: "step 5" in text(place, "job-0") and "step 5" in text(place, "job-1"))
    slurm.run("scontrol", "requeue", handles[1])
    wait(lambda: "BeginTime" in slurm.run("scontrol", "show", "job", handles[1]))
    slurm.run("scontrol", "update", f"jobid={handles[1]}", "StartTime=now+4")
    assert [end(compute, job).state for job in ("job-0", "job-1")] == ["done", "done"]
    for job, restarted in (("job-0", False), ("job-1", True)):
        steps = [int(line.split()[1]) for line in text(place, job).splitlines() if line.startswith("step")]
        assert steps == list(range(1, 61))
        assert ("restarted 1" in text(place, job)) == restarted
    assert compute.inspect("job-1").handle == handles[1]


def test_a_task_lost_without_a_word_goes_on_as_a_job_of_its_own(slurm: Slurm, place: Place) -> None:
    engine = SlurmEngine(SlurmProfile(requeue=False), python=sys.executable, env=slurm.env)
    compute = SharedCompute(place.folder, engine)
    specs = sweep(place, RESUMES, 2)
    compute.submit_many(specs)
    wait(lambda: "step 5" in text(place, "job-1"))
    described = json.loads((place.folder / "job-1" / "job.json").read_bytes())
    for pid in (described["supervisor_pid"], described["pid"]):
        os.kill(pid, signal.SIGKILL)
    assert end(compute, "job-1").state == "lost"
    compute.resume("job-1", {})
    assert [end(compute, s.job).state for s in specs] == ["done", "done"]
    assert "_" not in compute.inspect("job-1").handle
    found = compute.find_by_effect(specs[1].effect_id)
    assert found is not None
    assert found.job == "job-1"


def test_a_site_without_arrays_gets_a_sweep_one_by_one(slurm: Slurm, place: Place) -> None:
    class NoArrays(SlurmEngine):
        def start_array(self, specs: Sequence[JobSpec], effect_id: str) -> list[str]:
            raise JobError("Slurm refused: Invalid job array specification")

    compute = ClusterCompute(place.folder, NoArrays(python=sys.executable, env=slurm.env))
    specs = sweep(place, "say(1)", 2)
    assert not any("_" in s.handle for s in compute.submit_many(specs))
    assert [end(compute, s.job).state for s in specs] == ["done", "done"]


HOST_INSIDE = """
import sys, time
sys.path.insert(0, {root!r})
from core.compute.shared import SharedCompute
from core.compute.slurm import SlurmEngine
from core.compute.spec import OPEN, JobSpec, element
jobs = {jobs!r}
compute = SharedCompute(jobs, SlurmEngine(python=sys.executable))
code = "import os; print(os.environ['SLURM_JOB_ID'], os.environ['SLURM_CPUS_PER_TASK'])"
specs = [JobSpec(job=f'job-{{i}}', kind='script', effect_id=element('inside', i), folder=f'{{jobs}}/job-{{i}}',
                 argv=(sys.executable, '-c', code)) for i in range(2)]
compute.submit_many(specs)
while any(compute.inspect(s.job).state in OPEN for s in specs): time.sleep(.2)
print([compute.inspect(s.job).state for s in specs])
"""


def test_a_host_inside_an_allocation_has_jobs_beside_it(slurm: Slurm, place: Place, tmp_path: Path) -> None:
    (tmp_path / "host.py").write_text(HOST_INSIDE.format(root=str(ROOT), jobs=str(place.folder)))
    script = tmp_path / "host.sh"
    script.write_text(f"#!/bin/bash\nexec {sys.executable} -P {tmp_path}/host.py\n")
    options = ("--parsable", "--array=7", "--cpus-per-task=2", f"--output={tmp_path}/said", f"--chdir={tmp_path}")
    handle = slurm.run("sbatch", *options, str(script)).strip()
    said = tmp_path / "said"
    wait(lambda: said.exists() and said.read_text().endswith("]\n"))
    assert said.read_text() == "['done', 'done']\n"
    for job in ("job-0", "job-1"):
        number, cores = text(place, job).split()
        assert (number != handle, cores) == (True, "1"), "a job of its own, with what it asked for"


def test_a_person_with_scancel_is_no_failure(slurm: Slurm, place: Place) -> None:
    slurm_without_requeue = SlurmEngine(SlurmProfile(requeue=False), python=sys.executable, env=slurm.env)
    compute = ClusterCompute(place.folder, slurm_without_requeue)
    handle = compute.submit(place.spec(UNTIL_ASKED)).handle
    wait(lambda: "step 5" in text(place))
    slurm.run("scancel", handle)
    assert end(compute).state == "cancelled"
    assert (place.folder / "job-1" / "checkpoint" / "step.txt").exists()


def test_cancelling_a_job_that_slurm_forgot_leaves_alone_who_has_its_id_now(tmp_path: Path) -> None:
    """A controller set back to an earlier state gives the id of a running job out again."""
    if reason := why_not():
        pytest.skip(reason)
    (tmp_path / "jobs").mkdir()
    with Slurm(tmp_path / "slurm") as slurm:
        place = slurm_place(slurm, tmp_path / "jobs")
        compute = place.connect()
        shutil.copytree(slurm.folder / "state", tmp_path / "earlier")
        deaf = "import signal; signal.signal(15, signal.SIG_IGN)\nsay(1)\ntime.sleep(300)"
        forgotten = compute.submit(place.spec(deaf)).handle
        wait(lambda: "step 1" in text(place))
        slurm.kill("slurmctld")
        shutil.rmtree(slurm.folder / "state")
        shutil.copytree(tmp_path / "earlier", slurm.folder / "state")
        slurm.start("slurmctld", same_ids=True)
        wait(lambda: "main" in slurm.run("sinfo", "--noheader"))
        slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")  # nothing more starts
        other = compute.submit(place.spec("say(1)", job="job-2", effect_id="another"))
        assert other.handle == forgotten
        assert compute.cancel("job-1", grace_s=0.2).state == "cancelled"
        assert "REQUEST_KILL_JOB" not in (slurm.folder / "slurmctld.log").read_text()
        described = json.loads((place.folder / "job-1" / "job.json").read_bytes())
        assert not Path(f"/proc/{described['pid']}").exists()
        assert compute.inspect("job-2").state == "queued"
        slurm.kill("slurmd")  # which would take job-2 for a second copy of job-1 and have its node drained
        slurm.start("slurmd")
        slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
        assert end(compute, "job-2").state == "done"
        assert text(place, "job-2").count("started") == 1


def test_a_partition_that_does_not_exist_is_refused_with_slurms_words(slurm: Slurm, place: Place) -> None:
    compute = ClusterCompute(
        place.folder, SlurmEngine(SlurmProfile(partition="nosuch"), python=sys.executable, env=slurm.env)
    )
    with pytest.raises(JobError, match="partition"):
        compute.submit(place.spec("say(1)"))
    assert compute.find_by_effect(place.spec("").effect_id) is None


def test_a_profile_comes_from_the_home_and_the_task_and_says_where_it_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path))
    (tmp_path / "slurm.toml").write_text('partition = "gpu"\naccount = "nlp"\n')
    (tmp_path / "task.toml").write_text('[slurm]\ngres = "gpu:a100"\n')
    assert read_profile(tmp_path) == SlurmProfile(partition="gpu", account="nlp", gres="gpu:a100")
    assert read_profile(tmp_path, "short").partition == "short"
    (tmp_path / "slurm.toml").write_text('partitoin = "gpu"\n')
    with pytest.raises(UsageError, match="partitoin"):
        read_profile(None)


def test_what_sbatch_is_told(place: Place) -> None:
    profile = SlurmProfile(partition="gpu", account="nlp", gres="gpu:a100", memory_mb=64000, extra=("--exclusive",))
    told = SlurmEngine(profile, python=sys.executable).options(place.spec("", gpus=4, slots=8, time_limit_s=7200))
    for part in ("--partition=gpu", "--account=nlp", "--gres=gpu:a100:4", "--cpus-per-task=8", "--time=123", "--mem=64000",
                 "--signal=B:USR1@120", "--requeue", "--exclusive"):  # fmt: skip
        assert part in told


def end(compute: ClusterCompute, job: str = "job-1") -> JobStatus:
    until = time.monotonic() + 150
    while (status := compute.inspect(job)).state in OPEN:
        assert time.monotonic() < until, status
        time.sleep(0.1)
    return status


def text(place: Place, job: str = "job-1") -> str:
    path = place.folder / job / "log.txt"
    return path.read_text() if path.exists() else ""


def wait(true) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)
