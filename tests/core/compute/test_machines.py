"""What machines a run's jobs get where this one has no GPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.agent.desk import Desk
from core.compute.clustered import ClusterCompute
from core.compute.hub_jobs import HubEngine
from core.compute.ray_jobs import RayEngine
from core.compute.slurm import MOST_GPUS, SlurmEngine, SlurmProfile
from tests.servers.hub_jobs import HubJobs


@pytest.fixture
def sinfo(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """An `sinfo` that prints what it is told, and keeps how it was called; the environment that finds it."""

    def made(text: str) -> dict[str, str]:
        (tmp_path / "said.txt").write_text(text)
        (tmp_path / "sinfo").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked.txt\ncat {tmp_path}/said.txt\n')
        (tmp_path / "sinfo").chmod(0o755)
        return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    return made


@pytest.mark.parametrize(
    ("said", "gres", "machines"),
    [
        ("64 (null)\n", "gpu", (0, 64)),
        ("32 gpu:2\n64 gpu:1\n", "gpu", (2, 32)),
        ("96 gpu:a100:8(S:0-1)\n", "gpu", (MOST_GPUS, 96)),
        ("96 gpu:a100:3(S:0-1),shard:12\n", "gpu", (3, 96)),
        ("48 gpu:a100:2,gpu:t4:1\n", "gpu:t4", (1, 48)),
        ("128+ craynetwork:4,gpu:h100:2(IDX:0-1)\n", "gpu", (2, 128)),
        ("", "gpu", (0, 0)),
    ],
)
def test_slurm_tells_what_its_nodes_have(
    sinfo: Callable[[str], dict[str, str]], tmp_path: Path, said: str, gres: str, machines: tuple[int, int]
) -> None:
    engine = SlurmEngine(SlurmProfile(partition="long", gres=gres), python=sys.executable, env=sinfo(said))
    assert engine.machines() == machines
    assert "--partition=long" in (tmp_path / "asked.txt").read_text()
    told = SlurmEngine(SlurmProfile(gpus=6, gres=gres), python=sys.executable, env=sinfo(said))
    assert told.machines()[0] == 6


def test_a_hub_job_gets_one_gpu_or_those_of_the_flavour_that_was_named() -> None:
    with HubJobs() as hub:

        def engine(flavor: str) -> HubEngine:
            return HubEngine(token="hf_loopback", endpoint=hub.url, flavor=flavor)

        assert engine("").machines()[0] == 1
        by_name = {f.name: f.gpus for f in engine("").flavors()}
        assert {engine(name).machines()[0] for name in by_name if not by_name[name]} == {0}
        for name, count in by_name.items():
            assert engine(name).machines()[0] == count


def test_a_ray_cluster_tells_its_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = RayEngine("ray://127.0.0.1:1", python=sys.executable)
    monkeypatch.setattr(engine, "usage", lambda: {"CPU": (1.0, 16.0), "GPU": (0.0, 2.0)})
    assert engine.machines() == (2, 0)


def test_a_ray_head_that_has_just_started_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = RayEngine("ray://127.0.0.1:1", python=sys.executable)
    said = iter([{}, {}, {"CPU": (0.0, 16.0), "GPU": (0.0, 2.0)}])
    monkeypatch.setattr(engine, "usage", lambda: next(said))
    assert engine.machines() == (2, 0)


class _Counted:
    name = "slurm"
    asked = 0

    def machines(self) -> tuple[int, int]:
        self.asked += 1
        return 2, 1


def test_jobs_elsewhere_ask_for_the_gpus_there_and_no_more_cores_than_there_are(tmp_path: Path) -> None:
    engine: Any = _Counted()
    desk = Desk.__new__(Desk)
    desk.compute, desk.gpus = ClusterCompute(tmp_path, engine), 0  # this machine has none
    assert (desk.gpus, desk.device, desk.cores) == (2, "cuda", 1)
    assert [desk.gpus_for("sft", {}), desk.gpus_for("sample", {"gpus": 5}), desk.gpus_for("prepare", {})] == [1, 2, 0]
    assert engine.asked == 1
