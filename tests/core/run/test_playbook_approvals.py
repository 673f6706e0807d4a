"""The playbook in a whole run whose trainings need a person: others wait while it works; killed, it goes on from there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import events as e
from core.agent.verify import verify_loop
from core.session import command, open_source, state_at
from tests.core.run.quick import Quick

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    with Quick(tmp_path_factory.mktemp("playbook"), INTERN_APPROVAL_PATIENCE_S="0.2") as made:
        yield made


class Person(threading.Thread):
    """Comes back when several calls wait, denies the first and says yes to all others."""

    def __init__(self, run: Path) -> None:
        super().__init__(daemon=True)
        self.run_folder = run
        self.over = threading.Event()
        self.most, self.denied = 0, ""

    def run(self) -> None:
        while not self.over.wait(0.1):
            with contextlib.suppress(Exception):  # the host may die meanwhile: one of the tests is about that
                self._look()

    def _look(self) -> None:
        state = state_at(self.run_folder)
        waiting = state.waiting_approvals()
        self.most = max(self.most, len(waiting))
        asleep = [c for c in state.open_calls.values() if c.approval]
        if (len(waiting) < 2 and not self.denied) or len(asleep) < len(waiting):
            return
        for one in waiting:
            bound = {"approval": one.id, "arguments_hash": one.arguments_hash}
            no = self.denied in ("", one.id)
            command(self.run_folder, "deny" if no else "approve", "not this rate" if no else "", bound)
            self.denied = self.denied or one.id


@pytest.mark.parametrize("fault", ["", "after approval_decided"])
def test_it_asks_for_several_trainings_at_once_and_uses_what_is_decided(quick: Quick, fault: str) -> None:
    # The playbook trains full weights: with adapters asked for, each of its trainings needs a yes.
    run = quick.create("playbook", fixed={"lora": True})
    person = Person(run)
    person.start()
    if fault:
        assert quick.host(run, fault, 2) == -9
    quick.host(run)
    person.over.set()
    person.join()
    state = state_at(run)
    assert person.most >= 2
    assert not state.open_calls
    assert not state.waiting_approvals()
    trained = [j for j in state.jobs.values() if j.kind == "training" and j.status == "finished"]
    assert trained
    assert state.scores.best is not None
    assert state.scores.baseline is not None
    assert state.scores.best > state.scores.baseline
    types = _tool_events(run)
    put_off = types.index("tool_deferred train")
    decided = next(i for i, t in enumerate(types) if t.startswith("approval_decided"))
    assert "tool_deferred train" in types[put_off + 1 : decided], (
        "the second rung was asked for before the first was decided"
    )
    assert any("not this rate" in n for n in state.notes + state.lessons), "it noted the denial"
    assert verify_loop(run).divergence is None


class Interrupts(threading.Thread):
    """Interrupts the first call that waits for them, with a word; says yes to all others."""

    def __init__(self, run: Path) -> None:
        super().__init__(daemon=True)
        self.run_folder = run
        self.over = threading.Event()
        self.expired = ""

    def run(self) -> None:
        while not self.over.wait(0.1):
            with contextlib.suppress(Exception):  # a yes may come as the call ends
                self._look()

    def _look(self) -> None:
        state = state_at(self.run_folder)
        for one in state.waiting_approvals():
            if not self.expired:
                self.expired = one.id
                command(self.run_folder, "interrupt", "use a learning rate of 1e-4")
                return
            if one.id != self.expired:
                command(self.run_folder, "approve", "", {"approval": one.id, "arguments_hash": one.arguments_hash})


def test_an_approval_that_expires_is_asked_for_again_and_its_training_is_not_lost(quick: Quick) -> None:
    """An interruption ends the wait and with it what was asked; the playbook hears the word and then asks anew."""
    run = quick.create("playbook", fixed={"lora": True})
    person = Interrupts(run)
    person.start()
    quick.start(run, INTERN_APPROVAL_PATIENCE_S="60")
    quick.ended()
    person.over.set()
    person.join()
    state = state_at(run)
    assert state.status == "finished", state.reason
    gone = state.approvals[person.expired]
    assert gone.decision == "expired"
    again = [a for a in state.approvals.values() if a.seq > gone.seq and a.arguments == gone.arguments]
    assert [a.decision for a in again] == ["approved"], "the same training, asked for again, once"
    assert any("Heard 'use a learning rate of 1e-4'" in n for n in state.notes)
    assert any(j.kind == "training" and j.status == "finished" for j in state.jobs.values())
    assert not state.waiting_approvals()
    assert not state.open_calls
    assert not any("could not start: The wait was interrupted" in n for n in state.notes)
    assert verify_loop(run).divergence is None


def _tool_events(run: Path) -> list[str]:
    source = open_source(run)
    with contextlib.closing(source):
        payloads = [e.payload_of(x) for x in source.events(1)]
    return [f"{p.type} {getattr(p, 'tool', '')}".strip() for p in payloads]
