"""Synthesis: quotas are met by verified, different, clean rows; every attempt is accounted for; kill -9 costs one row."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from core import install
from core.agent.teacher import TeacherModel
from core.data.synthesis import teacher as teaching
from core.data.synthesis.making import synthesize
from core.data.synthesis.plan import Scenario, Synthesis, SynthesisSpec
from core.data.synthesis.program import Program
from core.errors import NotFound, Refused, UsageError
from tests.core.cli import Intern
from tests.servers.llm import LLMServer, text_of

GENERATOR = """
import random, time
def generate(seed, scenario):
    r = random.Random(seed)
    a, b = r.randint(2, 60), r.randint(2, 60)
    time.sleep({pause})
    if scenario == "rare" and r.random() < 0.5:
        return None
    wrong = r.random() < 0.2
    words = "minus" if scenario == "rare" else "plus"
    return {{"prompt": f"What is {{a}} {{words}} {{b}}?", "answer": str((a - b if words == "minus" else a + b) + wrong)}}
def verify(prompt, answer):
    a, word, b = prompt.removeprefix("What is ").rstrip("?").split()
    return int(answer) == (int(a) - int(b) if word == "minus" else int(a) + int(b))
"""
SCENARIOS = (Scenario(name="common", quota=60), Scenario(name="rare", quota=15, upsample=3))


def generator(folder: Path, pause: float = 0.0) -> str:
    path = folder / "generator.py"
    path.write_text(GENERATOR.format(pause=pause))
    return str(path)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def from_program(folder: Path, out: str, texts: list[str] | None = None, tries: int = 6) -> Synthesis:
    source = Program(generator(folder))
    try:
        return synthesize(SynthesisSpec(scenarios=SCENARIOS, tries=tries), source, folder / out, evaluation_texts=texts)
    finally:
        source.close()


def test_quotas_are_met_by_right_different_rows_and_edge_cases_are_upsampled(tmp_path: Path) -> None:
    made = from_program(tmp_path, "a")
    rows = rows_of(tmp_path / "a")
    assert [(s.name, s.kept, s.rows) for s in made.scenarios] == [("common", 60, 60), ("rare", 15, 45)]
    assert len(rows) == made.rows == 105
    assert len({r["prompt"] for r in rows}) == made.kept == 75
    assert sum("minus" in r["prompt"] for r in rows) == 45
    assert {"nothing_generated", "wrong_answer"} <= made.dropped.keys()
    assert made.attempts == made.kept + sum(made.dropped.values())
    assert from_program(tmp_path, "b").digest == made.digest, "deterministic"
    assert from_program(tmp_path, "a").attempts == made.attempts, "what is finished is not made again"


def test_without_reasoning_gym_the_command_that_fits_the_installation_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "python"
    bare.write_text("""#!/bin/sh\necho '{"error": "ModuleNotFoundError: No module named '"'reasoning_gym'"'"}'\n""")
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(NotFound, match="not installed") as missing:
        Program("gym:countdown")
    assert install.command("gym") in str(missing.value.next)


@pytest.mark.skipif(importlib.util.find_spec("reasoning_gym") is None, reason="reasoning-gym is an extra")
def test_reasoning_gym_makes_the_same_verified_rows_twice_and_judges_by_its_own_scorer(tmp_path: Path) -> None:
    spec = SynthesisSpec(scenarios=(Scenario(name="any", quota=8),), seed=5)
    digests: list[str] = []
    for out in ("a", "b"):
        source = Program("gym:countdown", spec.seed)
        try:
            made = synthesize(spec, source, tmp_path / out)
            first, second = rows_of(tmp_path / out)[:2]
            # The scorer takes any right way to the number, and holds each answer against its own puzzle.
            assert source.check(first["prompt"], f"({first['answer']})") is True
            assert source.check(first["prompt"], second["answer"]) is False
            assert source.check("a puzzle it never made", "1") is None
        finally:
            source.close()
        digests.append(made.digest)
        assert (made.kept, made.source) == (8, "gym:countdown")
    assert digests[0] == digests[1]
    with pytest.raises(UsageError, match="nosuchpuzzle"):
        Program("gym:nosuchpuzzle")


def test_rows_that_are_evaluation_samples_are_left_out_and_made_anew(tmp_path: Path) -> None:
    leaked = [r["prompt"] for r in rows_of_first(tmp_path)][:10]
    made = from_program(tmp_path, "clean", leaked)
    assert made.dropped["contaminated"] == len(leaked)
    assert not {r["prompt"] for r in rows_of(tmp_path / "clean")} & set(leaked)
    assert made.scenarios[0].kept == 60
    assert made.decontaminated


def rows_of_first(folder: Path) -> list[dict[str, Any]]:
    from_program(folder, "first")
    return rows_of(folder / "first")


def test_a_killed_synthesis_goes_on_row_by_row_and_ends_the_same(tmp_path: Path) -> None:
    whole = from_program(tmp_path, "whole")
    command = [
        sys.executable, "-m", "intern_tui", "synthesize", "--generator", generator(tmp_path, pause=0.01), "--out",
        str(tmp_path / "killed"), "--scenario", "common=60", "--scenario", "rare=15x3", "--json",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ledger = tmp_path / "killed" / "attempts.jsonl"
    deadline = time.monotonic() + 60
    while not (ledger.exists() and ledger.read_bytes().count(b"\n") >= 20) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with ledger.open("ab") as stream:
        stream.write(b'{"i":9999,"scen')  # torn by the kill
    before = ledger.read_bytes().splitlines()[:-1]
    assert 20 <= len(before) < whole.attempts
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    told = json.loads(done.stdout)
    assert ledger.read_bytes().splitlines()[: len(before)] == before, "nothing was made twice"
    assert told["attempts"] == told["kept"] + sum(told["dropped"].values())
    assert told["digest"] == whole.digest


def test_another_specification_is_not_mixed_in(tmp_path: Path) -> None:
    from_program(tmp_path, "a")
    with pytest.raises(Refused, match="Another synthesis was begun here"):
        from_program(tmp_path, "a", tries=5)


class Writer:
    """A teacher: every fifth row is wrong, every seventh is no JSON; answers sums anew rightly; judges by a word."""

    def __init__(self) -> None:
        self.written = 0

    def __call__(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        system, user = text_of(messages[0]), text_of(messages[-1])
        if system.startswith("You check"):
            return {"content": json.dumps({"ok": "12 +" not in user, "why": "twelve"})}
        if system.startswith("Answer"):
            return {"content": str(sum(int(w) for w in user.replace("?", "").split() if w.isdigit()))}
        self.written += 1
        if self.written % 7 == 0:
            return {"content": "I would rather not."}
        a, b = self.written, 3 * self.written
        row = {"prompt": f"Add {a} + {b} ?", "answer": str(a + b + (self.written % 5 == 0))}
        return {"content": f"```json\n{json.dumps(row)}\n```"}


def test_a_teachers_rows_are_agreed_upon_judged_and_paid_for(tmp_path: Path) -> None:
    spec = SynthesisSpec(scenarios=(Scenario(name="sums", about="plain sums", quota=12),), consistency=3, judge=True)
    with LLMServer(Writer(), faults=[500, None, "drop", 429], price=0.01) as server:
        model = TeacherModel(f"openai:t@{server.url}", wait=lambda _: None)
        source = teaching.Teacher(model.name, model.ask, spec)
        made = synthesize(spec, source, tmp_path / "t", evaluation_texts=None)
        assert made.kept == made.rows == 12
        assert made.dropped["inconsistent"]
        assert made.dropped["malformed"]
        assert made.dropped["judged_unfit"] == 1
        assert made.spent.calls == len(server.requests) - 3
        assert made.spent.usd == pytest.approx(0.01 * made.spent.calls)
        assert made.attempts <= teaching.quote(spec, None).calls / 5
        assert all("Add " in text_of(r["messages"][-1]) for r in server.requests[20:22]), "earlier prompts are shown"
    assert all(int(r["answer"]) == sum(map(int, r["prompt"][4:-2].split("+"))) for r in rows_of(tmp_path / "t"))


def test_dollars_are_a_limit_and_more_of_them_let_it_go_on(tmp_path: Path) -> None:
    def made(usd: float) -> Synthesis:
        spec = SynthesisSpec(scenarios=(Scenario(name="sums", quota=10),), max_usd=usd)
        model = TeacherModel(f"openai:t@{server.url}")
        return synthesize(spec, teaching.Teacher(model.name, model.ask, spec), tmp_path / "t", reserve_usd=0.01)

    with LLMServer(Writer(), price=0.01) as server:
        first = made(0.05)
        assert first.spent.usd == pytest.approx(0.05)
        assert "stopped before $0.05" in first.notes[0]
        assert made(1.0).kept == 10


def test_the_cost_is_said_and_nothing_starts_without_a_yes(tmp_path: Path) -> None:
    intern = Intern(tmp_path / "home")
    with LLMServer(Writer()) as server:
        order = ["synthesize", "--teacher", f"openai:t@{server.url}", "--count", "5", "--out", str(tmp_path / "o")]
        asked = intern(*order)
        assert asked.returncode == 4
        assert "up to 20 calls" in asked.stderr
        assert "price unknown" in asked.stderr
        assert not server.requests
        (tmp_path / "home").mkdir(exist_ok=True)
        (tmp_path / "home" / "prices.toml").write_text('["t"]\ninput = 1.0\noutput = 2.0\n')
        done = intern(*order, "--yes", "--json")
        assert "$0.0" in done.stderr
        told = json.loads(done.stdout)
        assert told["kept"] == 5
        assert told["spent"]["usd"] == pytest.approx(told["spent"]["calls"] * (100 * 1 + 10 * 2) / 1e6)


def test_bad_requests_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(UsageError, match="no function generate"):
        Program(str(tmp_path / "empty.py"))
    (tmp_path / "broken.py").write_text("def (\n")
    with pytest.raises(UsageError, match="SyntaxError"):
        Program(str(tmp_path / "broken.py"))
    intern = Intern(tmp_path / "home")
    out = ["--out", str(tmp_path / "o")]
    assert intern("synthesize", "--generator", str(tmp_path / "none.py"), "--count", "3", *out).returncode == 3
    assert intern("synthesize", "--count", "3", *out).returncode == 2
    assert intern("synthesize", "--generator", generator(tmp_path), *out).returncode == 2
    assert intern("synthesize", "--generator", generator(tmp_path), "--scenario", "a", *out).returncode == 2


def test_withdrawn_rows_stay_withdrawn_after_a_restart(tmp_path: Path) -> None:
    leaked = [r["prompt"] for r in rows_of_first(tmp_path)][:5]
    made = from_program(tmp_path, "clean", leaked)
    again = from_program(tmp_path, "clean", leaked)
    assert (again.attempts, again.digest, again.dropped) == (made.attempts, made.digest, made.dropped)
