"""Rented machines: the price is known before, streams may break, results come home, no job is forgotten or paid twice."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest

from core.compute.flavors import Flavor, choose, training_bytes
from core.compute.hub_jobs import HubCompute, HubEngine, tag_of
from core.compute.spec import OPEN, JobSpec
from core.compute.watch import MetricTail
from core.errors import JobError, Refused
from tests.core.compute.conftest import hub_place
from tests.core.compute.places import Place
from tests.servers.hub_jobs import HubJobs


@pytest.fixture
def hub() -> Generator[HubJobs]:
    with HubJobs() as server:
        yield server


@pytest.fixture
def place(hub: HubJobs, tmp_path: Path) -> Place:
    (tmp_path / "jobs").mkdir()
    return hub_place(hub, tmp_path / "jobs")


STEPS = "for n in range(1, 61):\n    say(n); time.sleep(.02)"


def test_a_stream_that_breaks_again_and_again_loses_and_doubles_nothing(hub: HubJobs, place: Place) -> None:
    hub.cut_after = 5
    place.connect().submit(place.spec(STEPS))
    end(place)
    steps = [row["step"] for row in MetricTail(place.folder / "job-1" / "metrics.jsonl").read()]
    log = (place.folder / "job-1" / "log.txt").read_text().splitlines()
    assert steps == list(range(1, 61))
    assert log == ["started", *(f"step {n}" for n in range(1, 61))]


def test_a_launch_whose_answer_was_lost_is_not_paid_twice(hub: HubJobs, place: Place) -> None:
    hub.lose_next_answer = True
    assert place.connect().submit(place.spec("say(1)")).state in OPEN
    time.sleep(2.1)  # past the pause after an answer that did not come
    assert end(place).state == "done"
    assert len(hub.jobs) == 1


def test_inputs_travel_there_and_results_come_home_with_paths_of_here(
    hub: HubJobs, place: Place, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.txt").write_text("seventeen rows")
    folder = place.folder / "job-1"
    folder.mkdir()
    told = {"kind": "script", "data": str(tmp_path / "data"), "out": str(folder / "model")}
    (folder / "spec.json").write_bytes(msgspec.json.encode(told))
    code = """
spec = json.loads(open('spec.json').read())
os.makedirs(spec['out']); open(spec['out'] + '/weights', 'w').write(open(spec['data'] + '/rows.txt').read())
stream.write(json.dumps({'kind': 'result', 'model': spec['out']}) + '\\n'); stream.flush()
"""
    place.connect().submit(place.spec(code))
    assert end(place).state == "done"
    assert (folder / "model" / "weights").read_text() == "seventeen rows"
    rows = list(MetricTail(folder / "metrics.jsonl").read())
    assert rows[-1]["model"] == str(folder / "model")


def test_the_job_never_sees_the_token_and_the_service_shows_none(hub: HubJobs, place: Place) -> None:
    place.connect().submit(
        place.spec("print('token', os.environ.get('HF_TOKEN'), os.environ.get('MY_KEY'))", secrets={"MY_KEY": "shh"})
    )
    end(place)
    job = next(iter(hub.jobs.values()))
    assert "token None" in (place.folder / "job-1" / "log.txt").read_text()
    assert "hf_loopback" not in str(job.body["environment"]) + str(job.body["command"])
    assert set(job.body["secrets"]) == {"HF_TOKEN", "MY_KEY"}
    assert "shh" not in (place.folder / "job-1" / "submitted.json").read_text()
    assert job.body["labels"]["intern-effect"] == tag_of(place.spec("").effect_id)


def test_the_time_out_of_the_service_is_a_time_limit_not_a_loss(hub: HubJobs, place: Place) -> None:
    place.connect().submit(place.spec("say(1); time.sleep(60)"))
    wait(lambda: hub.jobs and next(iter(hub.jobs.values())).stage == "RUNNING")
    hub._kill(next(iter(hub.jobs.values())), "ERROR", "Job timeout")
    status = end(place)
    assert status.exit is not None
    assert (status.state, status.exit.reason) == ("failed", "time_limit")


def test_a_job_that_no_run_knows_is_listed_with_its_cost(hub: HubJobs, place: Place) -> None:
    compute = place.connect()
    status = compute.submit(place.spec("time.sleep(60)"))
    engine = HubEngine(token="hf_loopback", endpoint=hub.url)
    assert engine.orphans([status.handle]) == []
    [(name, flavor, usd)] = engine.orphans([])
    assert (name, flavor) == (status.handle, "cpu-basic")
    assert 0 <= usd < 0.01
    compute.cancel("job-1", grace_s=0)


def test_a_wrong_token_says_which_scopes_are_needed(hub: HubJobs, tmp_path: Path) -> None:
    compute = HubCompute(tmp_path / "jobs", HubEngine(token="hf_wrong", endpoint=hub.url))
    spec = JobSpec(
        job="j", kind="script", effect_id="e", folder=str(tmp_path / "jobs" / "j"), argv=(sys.executable, "-c", "")
    )
    with pytest.raises(JobError, match=r"job\.write"):
        compute.submit(spec)
    assert compute.find_by_effect("e") is None


def test_the_price_is_rate_times_time_out_times_attempts(place: Place) -> None:
    quote = place.connect().quote(spec(gpus=1, gpu_memory_bytes=20 << 30, time_limit_s=3000))
    assert quote.flavor == "a10g-small"
    assert quote.usd == pytest.approx(0.016667 * 60 * 3600 / 3600)


FLAVORS = [
    Flavor(name="cpu", usd_per_hour=0.01), Flavor(name="t4", usd_per_hour=0.4, gpus=1, gpu_bytes=16 << 30),
    Flavor(name="a100", usd_per_hour=2.5, gpus=1, gpu_bytes=80 << 30), Flavor(name="l4x4", usd_per_hour=3.8, gpus=4, gpu_bytes=24 << 30),
]  # fmt: skip


@pytest.mark.parametrize(
    ("gpus", "parameters", "adapter", "flavor"),
    [
        (0, 0, False, "cpu"),
        (1, 0.5e9, False, "t4"),
        (1, 3e9, False, "a100"),
        (1, 3e9, True, "t4"),
        (2, 0.5e9, False, "l4x4"),
    ],
)
def test_the_cheapest_machine_that_holds_the_model_is_chosen(
    gpus: int, parameters: float, adapter: bool, flavor: str
) -> None:
    need = training_bytes(parameters, adapter=adapter)
    assert choose(FLAVORS, spec(gpus=gpus, gpu_memory_bytes=need)).flavor == flavor


def test_a_model_that_fits_nothing_on_offer_is_refused_before_it_costs() -> None:
    with pytest.raises(Refused, match="needs 1 GPUs of"):
        choose(FLAVORS, spec(gpus=1, gpu_memory_bytes=training_bytes(30e9, adapter=False)))


def spec(**more: object) -> JobSpec:
    return JobSpec(job="j", kind="sft", effect_id="e", folder="/nowhere", **more)  # type: ignore[arg-type]


def end(place: Place):
    compute = place.connect()
    until = time.monotonic() + 60
    while (status := compute.inspect("job-1")).state in OPEN:
        assert time.monotonic() < until, status
        time.sleep(0.05)
    return status


def wait(true) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)
