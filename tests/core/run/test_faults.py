"""The host killed at every commit point of a whole run, before the commit and after it; then taken up again.

The undisturbed run says which points there are: every event of it but metrics and telemetry, which come by the clock.
After each death the run has to end in the same state, with the same conversation, and no job begun twice.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple

import pytest

from core.agent.verify import verify_loop
from core.events import SERIES
from core.session import command, open_source, state_at
from tests.core.run.quick import Person, Quick
from tests.servers.llm import LLMServer, text_of
from tests.servers.researchers import Answer, Capable, call

pytestmark = pytest.mark.slow

LABS = 3
"""Laboratories at once: a run waits more than it works."""


class Point(NamedTuple):
    when: str
    type: str
    count: int

    @property
    def plan(self) -> str:
        return f"{self.when} {self.type}"


EXTRA = [
    lambda good: call("update_plan", steps=[{"id": "a", "title": "train", "status": "doing"}]),
    lambda good: call("note", content="greedy is better", kind="lesson"),
    lambda good: call("write_file", path="notes.txt", content="one\ntwo\n"),
    lambda good: call("edit_file", path="notes.txt", old="two", new="two and two"),
    lambda good: call("run_command", command="cat notes.txt notes.txt > twice.txt; wc -l twice.txt"),
    lambda good: call("search_recipes", query="sft"),
    lambda good: call("search_papers", query="grpo"),
    lambda good: {"calls": [call("budget"), call("note", content="two calls in one answer"), call("read_file", path="twice.txt")]},
    lambda good: call("ask_human", question="Shall I go on?"),
]  # fmt: skip


class Scene:
    """One laboratory with its model server, and a person who speaks at fixed turns of the conversation."""

    def __init__(self, folder: Path) -> None:
        self.quick = Quick(folder, INTERN_PROBE="1")
        self.capable = Capable({"max_steps": 4}, EXTRA)
        self.server = LLMServer(self.answer, streams=True)
        self.run: Path | None = None

    def close(self) -> None:
        self.server.close()
        self.quick.__exit__()

    def answer(self, messages: list[dict[str, Any]]) -> Answer:
        turn = sum("Calling tools:" in text_of(m) for m in messages)
        if turn == 3:
            self.say_once("steer", "look at the wrong answers")
        if turn == 5:
            self.say_once("queue", "and be quick")
        if turn == 6:
            self.say_once("pause", "")
        return self.capable(messages)

    def say_once(self, name: str, text: str) -> None:
        """A command, unless the log has it: the host may have died in the middle of it. One that was refused because of
        that is said again, as its sender is told to."""
        assert self.run is not None
        with contextlib.suppress(Exception):  # the host may die at any word of ours: that is the test
            if not any(c.command == name and c.status != "rejected" for c in state_at(self.run).commands):
                command(self.run, name, text)

    def play(self, name: str, point: Point | None, deaths: Path | None = None) -> Path:
        """A run to its end, killed once on the way, or at every point of a list in turn."""
        quick = self.quick
        run = quick.create(f"openai:tiny@{self.server.url}", goal="faults", autonomy="workspace", hours=1.0)
        self.run = run
        self.server.requests.clear()
        quick.starts_file.unlink(missing_ok=True)
        person = Person(run)
        person.start()
        try:
            if point is not None:
                assert quick.host(run, point.plan, point.count) == -9, f"{name} was not reached"
            code = quick.host(run, deaths=deaths)
            while code == -9 and deaths is not None:
                if state_at(run).status == "finished":  # died after its last event: nothing is left to do
                    code = 0
                    break
                code = quick.host(run, deaths=deaths)
        finally:
            person.over.set()
            person.join()
        assert code == 0, state_at(run).reason + (run / "host.log").read_text()[-2000:]
        return run


def events_of(run: Path) -> list[Any]:
    source = open_source(run)
    try:
        return list(source.events(1))
    finally:
        source.close()


def end_state(run: Path) -> dict[str, Any]:
    """What counts of a run's end, without times, numbers of events and the run's own name."""
    s = state_at(run)
    told = {
        "status": s.status,
        "plan": [(p.id, p.title, p.status) for p in s.plan],
        "jobs": {
            j.id: (j.kind, j.method, j.title, j.status, j.experiment, j.step, j.metric_rows, j.effect_id)
            for j in s.jobs.values()
        },
        "experiments": {x.id: (x.verdict, x.delta, x.interval, x.jobs, x.evaluations) for x in s.experiments.values()},
        "evaluations": {
            x.id: (x.label, x.score, x.samples, x.delta, x.done, x.split) for x in s.evaluations.values()
        },
        "datasets": {d.name: (d.rows, d.train_rows, d.dev_rows, d.dropped) for d in s.datasets.values()},
        "scores": (s.scores.baseline, s.scores.best, s.scores.heldout_baseline, s.scores.heldout_best),
        "notes": s.notes,
        "lessons": s.lessons,
        "papers": sorted(s.papers),
        "recipes": sorted(s.recipes),
        "commands": sorted({(c.command, c.text, c.status) for c in s.commands if c.command in ("steer", "queue")}),
        "approvals": {a.id: a.decision for a in s.approvals.values() if not a.id.startswith("repeat-")},
        "questions": {q.id: bool(q.answer) for q in s.questions.values()},
        "workspace": {
            p.name: p.read_text() for p in sorted((run / "workspace").iterdir()) if p.is_file()
        },
        "final_model": (run / "final_model" / "skill.txt").read_text(),
        "open_calls": sorted(s.open_calls),
        "step": s.step,
    }  # fmt: skip
    return json.loads(json.dumps(told).replace(run.name, "RUN"))


_CLOCK = re.compile(r'("?seconds[a-z_]*"?: ?|"(?:time_limit_s|seconds_per_step)": ?)[\d.eE+-]+')


def conversation(server: LLMServer, run: Path) -> list[str]:
    """The last request's messages without times and the run's name; then what the person said.

    Words said while the model was thinking come after its answer, or, if the host died before the answer, before it.
    """
    said = "\n".join(text_of(m) for m in server.requests[-1]["messages"])
    said = _CLOCK.sub(r"\1_", said.replace(run.name, "RUN"))
    words = re.findall(r"New task:\nMessage from the person[^\n]*", said)
    rest = re.sub(r"\n?New task:\nMessage from the person[^\n]*", "", said)
    return [*re.split(r"\n(?=Calling tools:|Observation:)", rest), *words]


class Baseline(NamedTuple):
    points: list[Point]
    state: dict[str, Any]
    talk: list[str]
    starts: list[str]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue[Scene]]:
    made: Queue[Scene] = Queue()
    all_of_them = [Scene(tmp_path_factory.mktemp(f"lab{i}")) for i in range(LABS)]
    for scene in all_of_them:
        made.put(scene)
    yield made
    for scene in all_of_them:
        scene.close()


@pytest.fixture(scope="module")
def baseline(scenes: Queue[Scene]) -> Baseline:
    scene = scenes.get()
    run = scene.play("undisturbed", None)
    seen: Counter[str] = Counter()
    points: list[Point] = []
    for event in events_of(run)[1:]:
        if event.type not in SERIES:
            seen[event.type] += 1
            points += [Point("before", event.type, seen[event.type]), Point("after", event.type, seen[event.type])]
    found = Baseline(points, end_state(run), conversation(scene.server, run), started(scene, run))
    assert found.state["status"] == "finished"
    assert found.state["scores"][3] > found.state["scores"][2]
    scenes.put(scene)
    return found


def started(scene: Scene, run: Path) -> list[str]:
    return [line.replace(str(run), "RUN").replace(str(scene.quick.folder), "LAB") for line in scene.quick.starts]


def check(scenes: Queue[Scene], baseline: Baseline, points: list[Point]) -> str:
    """Play one run that dies at each of these points in turn; what went wrong, or nothing."""
    scene = scenes.get()
    point = points[0] if len(points) == 1 else f"{len(points)} deaths in one run"
    deaths = scene.quick.folder / "deaths.txt"
    deaths.write_text("".join(f"{p.plan}:{p.count}\n" for p in points))
    try:
        run = scene.play(str(point), None, deaths)
        problems: list[str] = []
        if deaths.read_text():
            problems.append(f"not reached: {deaths.read_text().split(chr(10))[:20]}")
        state = end_state(run)
        for key, value in state.items():
            wanted = baseline.state[key]
            if json.dumps(value).replace(str(scene.quick.folder), "") != json.dumps(wanted).replace(
                str(scene.quick.folder), ""
            ):
                problems.append(f"{key}: {value} instead of {wanted}")
        if started(scene, run) != baseline.starts:
            problems.append(f"jobs began: {started(scene, run)}")
        talk = conversation(scene.server, run)
        for mine, theirs in zip(talk, baseline.talk, strict=False):
            if _plain(mine) != _plain(theirs):
                problems.append(f"said {mine[-300:]!r} instead of {theirs[-300:]!r}")
                break
        if len(talk) != len(baseline.talk):
            problems.append(f"{len(talk)} messages instead of {len(baseline.talk)}")
        found = verify_loop(run)
        if found.divergence:
            problems.append(f"verify: {found.divergence}")
        return f"{point}: " + "; ".join(problems) if problems else ""
    except AssertionError as error:
        return f"{point}: {error}"
    finally:
        scenes.put(scene)


def _plain(text: str) -> str:
    """Laboratories have folders of their own, and what a recovered call took is not what it took before."""
    return re.sub(r"/\S*?/lab\d+", "LAB", text)


def run_all(
    scenes: Queue[Scene], baseline: Baseline, runs: list[list[Point]], say: Callable[[str, object], None]
) -> None:
    with ThreadPoolExecutor(LABS) as pool:
        problems = [p for p in pool.map(lambda points: check(scenes, baseline, points), runs) if p]
    tried = sum(map(len, runs))
    say(
        "fault injection",
        f"{len(baseline.points)} commit points in a whole run, {tried} tried in {len(runs)} runs, {len(problems)} of them failed",
    )
    assert not problems, "\n".join(problems)


PAUSE = ("command_requested", "command_applied", "run_paused", "run_resumed")
"""A pause begins at the end of a step, and no host lives that long where many deaths are in one run: a run each."""


def in_turn(points: list[Point]) -> list[list[Point]]:
    """Every point once, at the price of a host's start each and not of a whole run each."""
    rest = [p for p in points if p.type not in PAUSE]
    return [*(rest[i::LABS] for i in range(LABS)), *([p] for p in points if p.type in PAUSE)]


def test_a_run_killed_at_points_of_every_kind_ends_as_if_nothing_had_happened(
    scenes: Queue[Scene], baseline: Baseline, record_property: Callable[[str, object], None]
) -> None:
    """Before and after the first event of every type, and at every fourth point besides; `make soak` takes them all."""
    firsts = {(p.when, p.type): p for p in reversed(baseline.points)}.values()
    some = [p for i, p in enumerate(baseline.points) if p in firsts or (i % 4 == 0 and p.type not in PAUSE)]
    run_all(scenes, baseline, in_turn(some), record_property)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_run_killed_at_each_of_its_commit_points_in_turn_ends_as_if_nothing_had_happened(
    scenes: Queue[Scene], baseline: Baseline, record_property: Callable[[str, object], None]
) -> None:
    run_all(scenes, baseline, in_turn(baseline.points), record_property)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_run_killed_at_every_commit_point_ends_as_if_nothing_had_happened(
    scenes: Queue[Scene], baseline: Baseline, record_property: Callable[[str, object], None]
) -> None:
    run_all(scenes, baseline, [[p] for p in baseline.points], record_property)
