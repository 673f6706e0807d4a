"""kill -9 at random of all that carries jobs: no job twice, none forgotten, no metric lost or doubled."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.core.compute.trials import Campaign, kill_of_job
from tests.servers import ray_cluster
from tests.servers import slurm as slurm_server
from tests.servers.hub_jobs import HubJobs


def local_campaign(folder: Path, rng: random.Random) -> Campaign:
    return Campaign(
        folder, "local", None,
        {
            "supervisor": lambda: kill_of_job(folder, ("supervisor_pid",), rng),
            "supervisor and job": lambda: kill_of_job(folder, ("supervisor_pid", "pid"), rng),
        },
    )  # fmt: skip


def trials(most: int, make: Callable[[int], Campaign], rng: random.Random, **more: tuple[float, float]) -> Counter[str]:
    """Campaigns until `most` faults were done; what of each kind."""
    done: Counter[str] = Counter()
    for number in range(most):
        campaign = make(number)
        campaign.run(most - sum(done.values()), rng, **more)
        campaign.check()
        done += campaign.done
        if sum(done.values()) >= most:
            break
    print(dict(done), flush=True)
    return done


@pytest.mark.slow
def test_a_few_kills_of_host_supervisor_and_job(tmp_path: Path) -> None:
    rng = random.Random(time.time_ns())
    done = trials(6, lambda n: local_campaign(tmp_path / str(n), rng), rng)
    assert sum(done.values()) == 6


@pytest.mark.soak
def test_trials_on_this_machine(tmp_path: Path) -> None:
    rng = random.Random(time.time_ns())
    done = trials(90, lambda n: local_campaign(tmp_path / str(n), rng), rng)
    assert min(done[k] for k in ("host", "supervisor", "supervisor and job")) > 10


@pytest.mark.soak
@pytest.mark.parametrize("together", [False, True])
def test_trials_on_slurm(tmp_path: Path, together: bool) -> None:
    if reason := slurm_server.why_not():
        pytest.skip(reason)
    # A job that was about to end when its slurmd was killed stays COMPLETING and holds its core until an administrator sees
    # to it: more cores than there are faults.
    with slurm_server.Slurm(tmp_path / "slurm", cpus=64) as slurm:
        _trials_on(slurm, tmp_path, together)


def _trials_on(slurm: slurm_server.Slurm, tmp_path: Path, together: bool) -> None:
    rng = random.Random(time.time_ns())

    def fault(daemon: str) -> bool:
        slurm.kill(daemon)
        time.sleep(rng.uniform(0, 2))
        slurm.start(daemon)
        return True

    def make(number: int) -> Campaign:
        faults = {"slurmctld": lambda: fault("slurmctld"), "slurmd": lambda: fault("slurmd")}
        return Campaign(tmp_path / str(number), "slurm", slurm.env, faults, together=together)

    done = trials(25, make, rng)
    assert min(done[k] for k in ("host", "slurmctld", "slurmd")) > 1


@pytest.mark.soak
def test_trials_on_the_hubs_jobs(tmp_path: Path) -> None:
    rng = random.Random(time.time_ns())
    with HubJobs() as hub:

        def away() -> bool:
            hub.gone = True
            time.sleep(rng.uniform(0.2, 2))
            hub.gone = False
            return True

        done = trials(50, lambda n: Campaign(tmp_path / str(n), "hf-jobs", hub.url, {"hub": away}), rng)
    assert min(done[k] for k in ("host", "hub")) > 10


@pytest.mark.soak
def test_trials_on_ray(ray: ray_cluster.RayCluster, tmp_path: Path) -> None:
    rng = random.Random(time.time_ns())

    def head() -> bool:
        ray.kill()
        ray.start()
        return True

    done = trials(10, lambda n: Campaign(tmp_path / str(n), "ray", ray.address, {"ray head": head}), rng, gap_s=(2, 8))
    assert done["ray head"] > 0
