"""Backends for the contract: this machine, its shared queue, a real Slurm, a real Ray head, the Hub's jobs on loopback."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.compute.clustered import ClusterCompute
from core.compute.hub_jobs import HubCompute, HubEngine
from core.compute.local import LocalCompute
from core.compute.queued import QueuedLocal
from core.compute.ray_jobs import RayEngine
from core.compute.schedule import Capacity
from core.compute.slurm import SlurmEngine
from tests.core.compute.places import Place
from tests.servers import ray_cluster
from tests.servers import slurm as slurm_server
from tests.servers.hub_jobs import HubJobs


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Generator[slurm_server.Slurm]:
    reason = slurm_server.why_not()
    if reason:
        pytest.skip(reason)
    with slurm_server.Slurm(tmp_path_factory.mktemp("slurm")) as server:
        yield server


@pytest.fixture(scope="session")
def ray() -> Generator[ray_cluster.RayCluster]:
    reason = ray_cluster.why_not()
    if reason:
        pytest.skip(reason)
    with ray_cluster.RayCluster() as cluster:
        yield cluster


def slurm_place(server: slurm_server.Slurm, jobs: Path) -> Place:
    @contextmanager
    def cut_off() -> Generator[None]:
        server.kill("slurmctld")
        try:
            yield
        finally:
            server.start("slurmctld")

    return Place(
        "slurm", jobs, lambda: ClusterCompute(jobs, SlurmEngine(python=sys.executable, env=server.env)), cut_off, slow=3
    )


def ray_place(cluster: ray_cluster.RayCluster, jobs: Path) -> Place:
    return Place("ray", jobs, lambda: ClusterCompute(jobs, RayEngine(cluster.address, python=sys.executable)), slow=4)


def hub_place(hub: HubJobs, jobs: Path) -> Place:
    @contextmanager
    def cut_off() -> Generator[None]:
        hub.gone = True
        try:
            yield
        finally:
            hub.gone = False

    def connect() -> HubCompute:
        return HubCompute(jobs, HubEngine(token="hf_loopback", endpoint=hub.url, run="test", poll_s=0.3))

    return Place("hf-jobs", jobs, connect, cut_off, slow=2)


CLUSTERS = [pytest.param(name, marks=pytest.mark.soak) for name in ("slurm", "hf-jobs", "ray")]
"""Really started schedulers: minutes for the whole suite, so they belong to `make soak`."""


@pytest.fixture(params=["local", "queued", *CLUSTERS])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Place]:
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    if request.param == "local":
        yield Place("local", jobs, lambda: LocalCompute(jobs))
        return
    if request.param == "queued":
        queue = tmp_path / "queue"
        yield Place("queued", jobs, lambda: QueuedLocal(jobs, queue, lambda: Capacity(cpus=4)))
        return
    if request.param == "hf-jobs":
        with HubJobs() as hub:
            yield hub_place(hub, jobs)
        return
    if request.param == "slurm":
        yield slurm_place(request.getfixturevalue("slurm"), jobs)
        return
    yield ray_place(request.getfixturevalue("ray"), jobs)
