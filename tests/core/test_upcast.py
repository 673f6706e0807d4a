"""Logs of other versions of the program: older events are brought up to date, newer and foreign ones survive and show."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from core import events as e
from core import upcast
from core.describe import describe
from core.fold import fold
from core.state import RunState
from store.event import Event


def stored(type: str, payload: object, v: int = 1, seq: int = 1) -> Event:
    return Event(
        seq, 1, type, v, "host", None, msgspec.json.encode(payload), "00000000-0000-7000-8000-000000000001", ""
    )


@pytest.fixture
def third_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """`note_added` as if it were at version 3: 1 called its text `words`, 2 had no kind."""
    monkeypatch.setattr(e.NoteAdded, "version", 3)
    monkeypatch.setattr(upcast, "STEPS", {})

    @upcast.upcaster("note_added", 1)
    def _first(payload: dict[str, Any]) -> dict[str, Any]:
        return {"text": payload["words"]}

    @upcast.upcaster("note_added", 2)
    def _second(payload: dict[str, Any]) -> dict[str, Any]:
        return {**payload, "kind": "lesson"}


@pytest.mark.usefixtures("third_version")
@pytest.mark.parametrize(
    ("v", "payload"),
    [(1, {"words": "low rates"}), (2, {"text": "low rates"}), (3, {"text": "low rates", "kind": "lesson"})],
)
def test_an_event_of_any_older_version_reads_and_folds_as_the_present_one(v: int, payload: dict[str, Any]) -> None:
    event = stored("note_added", payload, v)
    assert e.payload_of(event) == e.NoteAdded(text="low rates", kind="lesson")
    assert fold(RunState(), [event]).lessons == ["low rates"]


@pytest.mark.usefixtures("third_version")
def test_an_older_event_that_does_not_fit_its_step_is_kept_and_shown_raw() -> None:
    event = stored("note_added", {"nothing": "known"}, 1)
    payload = e.payload_of(event)
    assert payload == e.Unknown(fields={"nothing": "known"})
    assert "nothing" in describe(event, payload)[0]
    assert fold(RunState(), [event]).seq == 1


def test_a_step_is_written_once() -> None:
    upcast.upcaster("made_up_once", 1)(lambda payload: payload)
    try:
        with pytest.raises(ValueError, match="already"):
            upcast.upcaster("made_up_once", 1)(lambda payload: payload)
    finally:
        del upcast.STEPS["made_up_once", 1]


def test_every_present_version_can_be_reached_from_the_first() -> None:
    for type, cls in e.EVENTS.items():
        assert all((type, leaves) in upcast.STEPS for leaves in range(1, cls.version)), type


def test_an_event_of_a_later_program_is_read_where_it_fits_and_kept_where_not() -> None:
    assert e.payload_of(stored("note_added", {"text": "a", "new_field": 1}, v=9)) == e.NoteAdded(text="a")
    assert e.payload_of(stored("note_added", {"text": 7}, v=9)) == e.Unknown(fields={"text": 7})
    foreign = stored("dreamt_of_sheep", {"sheep": 3})
    assert "dreamt_of_sheep" in describe(foreign, e.payload_of(foreign))[0]
    after = fold(RunState(), [foreign])
    assert (after.seq, after.feed[-1].type) == (1, "dreamt_of_sheep")
