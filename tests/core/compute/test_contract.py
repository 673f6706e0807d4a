"""What every backend promises; one suite, run against each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.compute.protocol import Compute, submit_many
from core.compute.spec import OPEN, JobSpec, JobStatus, element
from core.compute.watch import MetricTail
from core.errors import NotFound
from tests.core.compute.places import Place

STEPS = "for n in range(1, 41):\n    say(n); time.sleep(.05)"
UNTIL_ASKED = "n = 0\nwhile not asked():\n    n += 1; say(n); time.sleep(.05)\nsave(n)"


def test_a_backend_has_the_whole_protocol(place: Place) -> None:
    assert isinstance(place.connect(), Compute)


def test_submitting_one_effect_twice_starts_one_job(place: Place) -> None:
    first = place.connect().submit(place.spec(STEPS))
    again = place.connect().submit(place.spec(STEPS, job="job-2", effect_id=first.effect_id))
    assert again.job == first.job
    assert not (place.folder / "job-2").exists()
    ended = over(place)
    assert ended.state == "done"
    assert log(place).count("started") == 1


def test_two_that_submit_the_same_effect_at_once_start_one_job(place: Place) -> None:
    computes = [place.connect() for _ in range(4)]
    found: list[JobStatus] = []
    threads = [threading.Thread(target=lambda c=c: found.append(c.submit(place.spec("say(1)")))) for c in computes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [f.job for f in found] == ["job-1"] * 4
    assert over(place).state == "done"
    assert log(place).count("started") == 1


def test_a_new_process_finds_the_job_again_by_its_effect(place: Place) -> None:
    spec = place.spec(STEPS)
    place.connect().submit(spec)
    found = place.connect().find_by_effect(spec.effect_id)
    assert found is not None
    assert found.job == "job-1"
    assert place.connect().find_by_effect("never submitted") is None
    assert over(place).state == "done"


def test_logs_and_metrics_come_once_and_in_order_over_reconnections(place: Place) -> None:
    place.connect().submit(place.spec(STEPS))
    tail = MetricTail(place.folder / "job-1" / "metrics.jsonl")
    text, cursor, steps, ended = "", 0, [], False
    until = time.monotonic() + 60 * place.slow
    while not ended and time.monotonic() < until:
        piece = place.connect().logs("job-1", cursor, limit=97)
        text, cursor, ended = text + piece.text, piece.cursor, piece.ended
        steps += [row["step"] for row in tail.read()]
    steps += [row["step"] for row in tail.read()]
    assert ended
    assert [int(line.split()[1]) for line in text.splitlines() if line.startswith("step")] == list(range(1, 41))
    assert steps == list(range(1, 41))


def test_cancel_saves_a_checkpoint(place: Place) -> None:
    place.connect().submit(place.spec(UNTIL_ASKED))
    wait(lambda: "step 5" in log(place), 60 * place.slow)
    status = place.connect().cancel("job-1", grace_s=20 * place.slow)
    assert status.state == "cancelled"
    saved = int((place.folder / "job-1" / "checkpoint" / "step.txt").read_text())
    assert saved >= 5
    assert place.connect().cancel("job-1").state == "cancelled"


def test_a_job_that_does_not_listen_is_taken_down(place: Place) -> None:
    place.connect().submit(place.spec("import signal; signal.signal(15, signal.SIG_IGN)\nsay(1)\ntime.sleep(300)"))
    wait(lambda: "step 1" in log(place), 60 * place.slow)
    assert place.connect().cancel("job-1", grace_s=0.2).state == "cancelled"


def test_a_crash_is_failed_with_its_traceback(place: Place) -> None:
    place.connect().submit(place.spec("raise ValueError('bad reward')"))
    status = over(place)
    assert status.state == "failed"
    assert status.exit is not None
    assert status.exit.exit_code == 1
    assert "ValueError: bad reward" in log(place)


def test_unknown_is_not_failed(place: Place) -> None:
    if place.cut_off is None:
        pytest.skip(f"{place.name}: there is no scheduler that could be cut off")
    compute = place.connect()
    compute.submit(place.spec(STEPS))
    wait(lambda: "step 1" in log(place), 60 * place.slow)
    with place.cut_off():
        seen = {place.connect().inspect("job-1").state for _ in range(3)}
        assert seen <= {"unknown", "running", "done"}
    assert over(place).state == "done"
    assert log(place).count("started") == 1


def test_a_job_submitted_while_the_scheduler_is_away_is_handed_over_once_later(place: Place) -> None:
    if place.cut_off is None:
        pytest.skip(f"{place.name}: there is no scheduler that could be cut off")
    with place.cut_off():
        assert place.connect().submit(place.spec("say(1)")).state in ("unknown", "queued")
    assert over(place).state == "done"
    assert log(place).count("started") == 1


def test_a_submission_whose_answer_was_lost_is_found_not_repeated(place: Place) -> None:
    spec = place.spec(STEPS)
    place.connect().submit(spec)
    (place.folder / "job-1" / "handle.json").unlink(missing_ok=True)  # as if killed before it was written
    again = place.connect().submit(spec)
    assert again.job == "job-1"
    assert over(place).state == "done"
    assert log(place).count("started") == 1


def sweep(place: Place, code: str, count: int = 4) -> list[JobSpec]:
    """Jobs of one sweep, as the desk makes them."""
    whole = f"{place.name}-{place.folder.parent.name}:sweep"
    return [place.spec(code, job=f"job-{i}", effect_id=element(whole, i)) for i in range(count)]


def test_the_jobs_of_a_sweep_are_each_one_job_however_often_it_is_submitted(place: Place) -> None:
    specs = sweep(place, "say(1); say(2)")
    first = submit_many(place.connect(), specs)
    again = submit_many(place.connect(), specs)
    one = place.connect().submit(specs[2])
    assert [s.job for s in first] == [s.job for s in again] == [s.job for s in specs]
    assert one.job == "job-2"
    assert [over(place, s.job).state for s in specs] == ["done"] * 4
    assert [log(place, s.job).count("started") for s in specs] == [1] * 4
    found = [place.connect().find_by_effect(s.effect_id) for s in specs]
    assert [f.job if f else "" for f in found] == [s.job for s in specs]
    assert [[row["step"] for row in MetricTail(place.folder / s.job / "metrics.jsonl").read()] for s in specs] == [
        [1, 2]
    ] * 4


def test_a_sweep_whose_answer_was_lost_is_found_not_repeated(place: Place) -> None:
    specs = sweep(place, STEPS)
    submit_many(place.connect(), specs)
    for spec in specs:
        (Path(spec.folder) / "handle.json").unlink(missing_ok=True)  # as if killed before they were written
    submit_many(place.connect(), [*specs[1:], specs[0]])
    assert [over(place, s.job).state for s in specs] == ["done"] * 4
    assert [log(place, s.job).count("started") for s in specs] == [1] * 4


def test_a_sweep_that_grows_starts_what_is_new(place: Place) -> None:
    specs = sweep(place, "say(1)", 5)
    submit_many(place.connect(), specs[:2])
    submit_many(place.connect(), specs)
    assert [over(place, s.job).state for s in specs] == ["done"] * 5
    assert [log(place, s.job).count("started") for s in specs] == [1] * 5


def test_one_job_of_a_sweep_is_cancelled_and_the_others_go_on(place: Place) -> None:
    specs = sweep(place, "n = 0\nwhile not asked() and n < 60:\n    n += 1; say(n); time.sleep(.05)\nsave(n)", 2)
    submit_many(place.connect(), specs)
    wait(lambda: "step 5" in log(place, "job-1"), 60 * place.slow)
    assert place.connect().cancel("job-1", grace_s=20 * place.slow).state == "cancelled"
    assert int((place.folder / "job-1" / "checkpoint" / "step.txt").read_text()) < 60
    assert over(place, "job-0").state == "done"
    assert int((place.folder / "job-0" / "checkpoint" / "step.txt").read_text()) == 60


def test_a_sweep_submitted_while_the_scheduler_is_away_is_handed_over_once_later(place: Place) -> None:
    if place.cut_off is None:
        pytest.skip(f"{place.name}: there is no scheduler that could be cut off")
    specs = sweep(place, "say(1)")
    with place.cut_off():
        assert {s.state for s in submit_many(place.connect(), specs)} <= {"unknown", "queued"}
    assert [over(place, s.job).state for s in specs] == ["done"] * 4
    assert [log(place, s.job).count("started") for s in specs] == [1] * 4


def test_a_job_nobody_submitted_is_not_found(place: Place) -> None:
    for ask in (place.connect().inspect, place.connect().logs, place.connect().cancel):
        with pytest.raises(NotFound):
            ask("nobody")


def over(place: Place, job: str = "job-1") -> JobStatus:
    compute = place.connect()
    until = time.monotonic() + 60 * place.slow
    while (status := compute.inspect(job)).state in OPEN:
        assert time.monotonic() < until, status
        time.sleep(0.05)
    return status


def log(place: Place, job: str = "job-1") -> str:
    return place.connect().logs(job).text


def wait(true: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)
