"""The fold: pure, exact at any point, tolerant of what it does not know."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
import pytest

from core import events as e
from core.fold import Folder, fold
from core.state import FAILURES_WHOLE, Failure, RunState, from_bytes, to_bytes
from store.event import Event, NewEvent, Record
from store.source import Span


def stored(payloads: list[e.Payload], start: int = 1) -> list[Event]:
    out: list[Event] = []
    for i, p in enumerate(payloads):
        n = e.new(p, actor="host")
        out.append(
            Event(
                seq=start + i,
                id=n.id,
                ts=1_000_000 * (start + i),
                type=n.type,
                v=n.v,
                actor=n.actor,
                cause=n.cause,
                payload=n.payload,
                hash="0",
            )
        )
    return out


CREATED = e.RunCreated(run="r", goal="g", task="t", task_path="/t", model="/m")
STORY: list[e.Payload] = [
    CREATED,
    e.RunStarted(pid=1),
    e.EvaluationFinished(evaluation="e1", label="base", model="/m", split="dev", samples=100, score=0.3, interval=(0.2, 0.4)),
    e.CheckpointPromoted(source="base", path="/f", evaluation="e1", score=0.3),
    e.ExperimentStarted(experiment="x1", hypothesis="h"),
    e.JobLaunched(job="job-1", kind="training", method="sft", title="t", effect_id="f", folder="/j", experiment="x1"),
    *[e.MetricLogged(job="job-1", step=s, values={"loss": 1.0 / (s + 1), "other": 2.0}) for s in range(20)],
    e.FailureDiagnosed(job="job-1", kind="divergence", first_step=3, severity="failing"),
    e.JobFinished(job="job-1", seconds=3.0, checkpoint="/c"),
    e.EvaluationFinished(evaluation="e2", label="sft", model="/c", split="dev", samples=100, score=0.6, interval=(0.5, 0.7), experiment="x1"),
    e.ExperimentConcluded(experiment="x1", verdict="better", delta=0.3, interval=(0.2, 0.4)),
    e.CheckpointPromoted(source="job-1", path="/f", evaluation="e2", score=0.6),
    e.RunFinished(status="finished", reason="done", baseline=0.31, best=0.61, delta=0.3, interval=(0.2, 0.4), checkpoint="/f"),
]  # fmt: skip


def test_folding_leaves_the_state_it_began_with_as_it_was() -> None:
    events = stored(STORY)
    middle = fold(RunState(), events[:10])
    before = to_bytes(middle)
    fold(middle, events[10:])
    assert to_bytes(middle) == before


@pytest.mark.parametrize("cut", range(1, len(STORY)))
def test_a_snapshot_anywhere_and_the_rest_give_the_same_as_all_at_once(cut: int) -> None:
    events = stored(STORY)
    whole = fold(RunState(), events)
    halfway = from_bytes(to_bytes(fold(RunState(), events[:cut])))
    assert to_bytes(fold(halfway, events[cut:])) == to_bytes(whole)


def test_every_number_names_its_event() -> None:
    events = stored(STORY)
    state = fold(RunState(), events)
    by_seq = {event.seq: event.type for event in events}
    assert by_seq[state.scores.baseline_seq] == "evaluation_finished"
    assert by_seq[state.scores.best_seq] == "checkpoint_promoted"
    assert by_seq[state.scores.heldout_seq] == "run_finished"
    assert by_seq[state.jobs["job-1"].last_seq] == "metric_logged"
    assert by_seq[state.failures[0].seq] == "failure_diagnosed"
    assert (state.scores.baseline, state.scores.best) == (0.3, 0.6)


def test_an_unknown_type_is_kept_in_the_feed_and_changes_nothing_else() -> None:
    strange = NewEvent(type="moon_landed", payload=b'{"where":"sea"}', actor="agent")
    event = Event(
        seq=1, id=strange.id, ts=1, type=strange.type, v=9, actor="agent", cause=None, payload=strange.payload, hash="0"
    )
    folder = Folder()
    folder.apply(event)
    assert "sea" in folder.state.feed[0].text
    assert folder.state.seq == 1


def test_a_known_type_of_another_shape_does_not_stop_the_fold() -> None:
    event = stored([CREATED])[0]
    folder = Folder()
    folder.apply(msgspec.structs.replace(event, payload=b'{"run":5}'))
    assert folder.state.seq == 1


def test_a_clock_that_goes_back_does_not_turn_time_round() -> None:
    events = stored(STORY[:3])
    folder = Folder()
    for event, ts in zip(events, (100, 50, 70), strict=True):
        folder.apply(msgspec.structs.replace(event, ts=ts))
    assert folder.state.ts == 100


@pytest.mark.parametrize("name", sorted(e.EVENTS))
def test_every_event_type_survives_the_way_into_the_log_and_back(name: str) -> None:
    cls = e.EVENTS[name]
    fields = {f.name: _sample(f.type) for f in msgspec.structs.fields(cls)}
    payload = msgspec.convert(fields, cls)
    event = stored([payload])[0]
    assert e.payload_of(event) == payload
    folder = Folder()
    folder.apply(event)
    assert folder.state.seq == 1


def _sample(kind: object) -> object:
    text = str(kind)
    if text.startswith("list"):
        return []
    if "dict" in text:
        return {}
    if "tuple" in text:
        return (0.1, 0.2)
    if "bool" in text:
        return True
    if kind is int or "int" in text.split("|")[0]:
        return 3
    if kind is float or "float" in text.split("|")[0]:
        return 0.5
    return "x"


class _Unwalkable(list[Failure]):
    """A list that can be looked into, but not gone through from end to end."""

    def __iter__(self) -> Iterator[Failure]:
        raise AssertionError("a handler goes through all failures there have been")


def test_no_event_of_a_long_run_costs_more_the_more_there_were() -> None:
    folder = Folder()
    seq = count(1)

    def tell(payload: e.Payload, cause: int | None = None) -> int:
        at = next(seq)
        folder.apply(Record(at, at, type(payload).type, 1, "agent", cause, e.encode(payload)))
        return at

    folder.state.failures = _Unwalkable()
    seen = [tell(e.FailureDiagnosed(job="j", kind="divergence", first_step=k, severity="failing")) for k in range(5)]
    for at in seen[1:4]:
        tell(e.RemedyChosen(remedy="lower the learning rate", experiment=f"exp-{at % 2}"), at)
    tell(e.RemedyChosen(remedy="of nothing", experiment="exp-0"), 10_000)
    tell(e.ExperimentConcluded(experiment="exp-0", verdict="better", delta=0.25))
    failures = [folder.state.failures[k] for k in range(5)]
    assert [f.result for f in failures] == ["", "better, +25.0 points", "", "better, +25.0 points", ""]
    assert [f.remedy for f in failures] == ["", *["lower the learning rate"] * 3, ""]
    assert folder.state.on_trial == [seen[2]]


def test_of_failures_long_past_the_texts_are_left_to_their_events() -> None:
    folder = Folder()
    said: dict[str, Any] = {"evidence": ["first", "second"], "causes": ["rate"], "remedies": ["lower it"]}
    for k in range(1, FAILURES_WHOLE + 3):
        p = e.FailureDiagnosed(job="j", kind="divergence", first_step=k, severity="failing", **said)
        folder.apply(Record(k, k, p.type, 1, "agent", None, e.encode(p)))
    failures = folder.state.failures
    assert [f.first_step for f in failures] == list(range(1, FAILURES_WHOLE + 3))
    assert [(f.evidence, f.causes) for f in failures[:2]] == [(["first"], [])] * 2
    assert all((f.evidence, f.remedies) == (["first", "second"], ["lower it"]) for f in failures[2:])


def test_of_the_budget_only_time_in_which_a_host_lived_and_no_pause_was_is_used() -> None:
    second = 1_000_000
    told: list[tuple[int, e.Payload]] = [
        (0, e.RunCreated(run="r", goal="g", model="m", task="t", task_path="t", hours=1.0)),
        (1, e.RunStarted(pid=1)),
        (3, e.NoteAdded(text="a")),
        (5, e.RunPaused(reason="asked")),
        (65, e.NoteAdded(text="b")),
        (66, e.RunResumed()),
        (60, e.NoteAdded(text="the clock went back")),
        (1000, e.NoteAdded(text="its host was gone")),
        (1001, e.RunFinished(status="finished", reason="done")),
        (2000, e.NoteAdded(text="afterwards")),
    ]
    records = [
        Record(seq, 1 + at * second, type(p).type, 1, "host", None, e.encode(p)) for seq, (at, p) in enumerate(told, 1)
    ]
    one_by_one = fold(RunState(), records)
    assert one_by_one.used_s() == 2 + 2 + 10 + 1
    at_once = Folder()
    at_once.apply_span(Span(1, [r.ts for r in records], records))
    assert at_once.state.used_s() == one_by_one.used_s()
    paused = fold(RunState(), records[:4])
    assert paused.used_s(now_us=records[3].ts + 500 * second) == 4
    running = fold(RunState(), records[:3])
    assert running.used_s(now_us=records[2].ts + 2 * second) == 4
