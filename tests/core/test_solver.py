"""What `intern solve` takes over from its runs: every better model, whole, and no mixture of two."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from core import events as e
from core.contract import Contract
from core.errors import JobError, UsageError
from core.journal import Journal
from core.solve import Solver
from core.state import RunState
from core.submission import Submission
from core.tables import TABLES
from core.training.promote import swap_directory, tree_digest
from store.log import EventLog

BASE = Path(__file__).parents[2] / "core" / "pocket" / "addition" / "base"


def model(folder: Path, mark: float) -> Path:
    """A copy of the base that is known by its weights."""
    shutil.copytree(BASE, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][:] = mark
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def mark_of(folder: Path) -> float:
    return float(load_file(folder / "model.safetensors")["model.norm.weight"][0])


class ARun:
    """A run's folder and log, without a host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.created = False

    def swap(self, mark: float) -> str:
        """The first half of a promotion: the folder."""
        fresh = model(self.folder / "fresh", mark)
        digest = tree_digest(fresh)
        swap_directory(fresh, self.folder / "final_model")
        return digest

    def record(self, score: float, digest: str) -> None:
        """The second half: the log."""
        opened = EventLog.open(self.folder, TABLES) if self.created else EventLog.create(self.folder, TABLES)
        with opened as log:
            journal = Journal(log, RunState())
            if not self.created:
                journal.emit(e.RunCreated(run=self.folder.name, goal="", task="t", task_path="", model=""))
            path = str(self.folder / "final_model")
            journal.emit(e.CheckpointPromoted(source="job-1", path=path, evaluation="x", score=score, digest=digest))
        self.created = True


@pytest.fixture
def solver(tmp_path: Path) -> Solver:
    contract = Contract(folder=str(tmp_path), model=str(BASE), benchmark="", hours=1.0, agent="", gpus=None, prompt="")
    made = Solver(contract, {}, lambda line: None)
    made.submission = Submission(tmp_path / "final_model", BASE)
    made.submission.offer(BASE)
    return made


def test_a_model_whose_score_is_not_in_the_log_yet_is_taken_once_it_is(solver: Solver, tmp_path: Path) -> None:
    """A promotion exchanges the folder and then records it; whoever looks between the two must look again."""
    run, final = ARun(tmp_path / "run"), tmp_path / "final_model"
    first = run.swap(0.5)
    seen = solver._take(run.folder, None)
    run.record(0.3, first)
    seen = solver._take(run.folder, seen)
    assert (solver.best, mark_of(final)) == (0.3, 0.5)
    second = run.swap(0.75)
    seen = solver._take(run.folder, seen)  # between
    assert (solver.best, mark_of(final)) == (0.3, 0.5)
    run.record(0.9, second)
    seen = solver._take(run.folder, seen)
    assert (solver.best, mark_of(final)) == (0.9, 0.75)
    third = run.swap(0.25)  # a worse one of a later round stays where it is
    run.record(0.6, third)
    solver._take(run.folder, seen)
    assert (solver.best, mark_of(final)) == (0.9, 0.75)


def test_a_model_that_was_exchanged_while_it_was_copied_is_not_submitted(solver: Solver, tmp_path: Path) -> None:
    """Two models of one architecture have files of the same sizes: only the digest tells a mixture."""
    run = ARun(tmp_path / "run")
    measured = run.swap(0.5)
    run.swap(0.75)
    assert solver.submission is not None
    with pytest.raises(JobError, match="changed while it was copied"):
        solver.submission.offer(run.folder / "final_model", measured)
    assert mark_of(tmp_path / "final_model") == mark_of(BASE)


def test_a_dead_host_is_replaced_and_one_that_ended_is_not(
    solver: Solver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []
    monkeypatch.setattr("core.solve.start_host", started.append)
    run = ARun(tmp_path / "run")
    run.record(0.3, "")
    assert solver._taken_up(run.folder)
    with EventLog.open(run.folder, TABLES) as log:
        Journal(log, RunState()).emit(e.RunFinished(status="finished", reason=""))
    assert not solver._taken_up(run.folder)
    solver.ending.set()
    assert started == [run.folder]


def again(solver: Solver) -> tuple[Solver, list[str]]:
    """Another start of the agent in the same folder, up to where final_model is there."""
    said: list[str] = []
    made = Solver(solver.contract, {}, said.append)
    made.submission = Submission(Path(solver.contract.folder) / "final_model", BASE)
    made._put_first(made.submission)
    return made, said


def test_another_start_in_the_folder_keeps_the_best_of_the_one_before(
    solver: Solver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path / "home"))
    run, final = ARun(tmp_path / "run"), tmp_path / "final_model"
    run.record(0.7, run.swap(0.5))
    solver._take(run.folder, None)
    second, said = again(solver)
    assert (second.best, mark_of(final)) == (0.7, 0.5)
    assert "it stays" in said[0]
    worse = ARun(tmp_path / "later")
    worse.record(0.6, worse.swap(0.25))
    second._take(worse.folder, None)
    assert mark_of(final) == 0.5


def test_a_final_model_that_nobody_recorded_is_set_aside_and_the_base_is_not(
    solver: Solver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path / "home"))
    final = tmp_path / "final_model"
    assert again(solver)[1][0].startswith("final_model holds the base")
    shutil.rmtree(final)
    model(final, 0.5)
    made, said = again(solver)
    assert (made.best, mark_of(final), mark_of(tmp_path / "final_model.before")) == (None, mark_of(BASE), 0.5)
    assert "final_model.before" in said[0]
    shutil.rmtree(final)
    final.write_text("a file")
    again(solver)
    assert (tmp_path / "final_model.before-1").read_text() == "a file"


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = Contract(folder=str(tmp_path), model=str(BASE), benchmark="", hours=1.0, agent="", gpus=None, prompt="")

    def full(self: Submission, source: Path, digest: str = "") -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Submission, "offer", full)
    monkeypatch.setattr("core.solve.signal.signal", lambda *_: None)
    with pytest.raises(UsageError, match="final_model cannot be written: Read-only file system"):
        Solver(contract, {}, lambda line: None).solve()


def test_a_brain_that_fails_gives_way_to_the_playbook(solver: Solver) -> None:
    said: list[str] = []
    solver.say, solver.brain = said.append, "openai:m@http://nowhere/v1"
    solver._without_llm("its run failed")
    solver._without_llm("its run failed")
    assert (solver.brain, len(said)) == ("playbook", 1)
