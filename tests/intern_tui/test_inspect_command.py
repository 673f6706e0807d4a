"""`intern inspect` works on any data by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.core.cli import Intern


@pytest.fixture
def intern(tmp_path: Path) -> Intern:
    return Intern(tmp_path / "home")


def test_concerns_come_with_rows_to_look_at(intern: Intern, tmp_path: Path) -> None:
    rows = [{"question": f"How many legs have {n} spiders in the cellar?", "answer": str(8 * n)} for n in range(2, 60)]
    rows += [rows[0], {"question": "", "answer": "3"}]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = intern("inspect", str(tmp_path / "d.jsonl"), "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    concerns = {c["name"]: c for c in told["concerns"]}
    assert told["rows"] == 60
    assert concerns["repeated_row"]["count"] == 1
    assert concerns["empty"]["examples"][0]["line"] == 60
    assert "repeated_row" in intern("inspect", str(tmp_path)).stdout


def test_the_task_says_what_leaked(intern: Intern, tmp_path: Path) -> None:
    data = Path(__file__).parents[2] / "core/pocket/addition/data"
    told = json.loads(intern("inspect", str(data), "--task", "pocket/addition", "--json").stdout)
    assert next(c for c in told["concerns"] if c["name"] == "contaminated")["count"] == 60
    assert "prompt_tokens" in told["lengths"]


def test_bad_input_is_named(intern: Intern, tmp_path: Path) -> None:
    assert intern("inspect", str(tmp_path / "none.jsonl")).returncode == 3
    assert intern("inspect", str(tmp_path), "--limit", "0").returncode == 2


def test_answers_that_the_datas_own_verifier_refuses_are_counted(intern: Intern, tmp_path: Path) -> None:
    rows = [{"question": f"{n}+1=", "answer": str(n + 1 + (n == 7))} for n in range(40)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "v.py").write_text("def verify(prompt, answer):\n    return eval(prompt[:-1]) == int(answer)\n")
    told = json.loads(
        intern("inspect", str(tmp_path / "d.jsonl"), "--verifier", str(tmp_path / "v.py"), "--json").stdout
    )
    found = next(c for c in told["concerns"] if c["name"] == "verifier_mismatch")
    assert (found["count"], found["checked"], found["examples"][0]["line"]) == (1, 40, 8)
    assert intern("inspect", str(tmp_path / "d.jsonl"), "--verifier", "none.py").returncode == 2
