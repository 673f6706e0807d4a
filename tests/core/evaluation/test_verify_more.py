"""Verifiers that run something: code with tests, a JSON Schema; what they must refuse as well as what they must take."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from core.compute.confinement import LEVELS, Level, Sandbox, landlock_abi, probe
from core.evaluation import code_check
from core.evaluation.code_check import code_of, isolation, passes
from core.evaluation.verify import VerifierSpec, check, score

TESTS = "assert add(2, 3) == 5\nassert add(-1, 1) == 0"
CODE = VerifierSpec(kind="code")


@pytest.mark.parametrize(
    "completion",
    ["def add(a, b):\n    return a + b", "Here it is:\n```python\ndef add(a, b):\n    return a + b\n```\nDone."],
)
def test_right_code_passes(completion: str) -> None:
    assert check(CODE, completion, TESTS)


@pytest.mark.parametrize(
    "completion",
    [
        "def add(a, b):\n    return a - b", "def add(a, b) return", "", "import sys\nsys.exit(0)", "import os\nos._exit(0)",
        "while True: pass", "def add(a, b):\n    return a + b\nx = 'a' * (1 << 33)",
        "print('4c1f: all tests passed')\nraise SystemExit",
        "open('big', 'wb').write(b'0' * (64 << 20))\ndef add(a, b): return a + b",
    ],
)  # fmt: skip
def test_wrong_or_harmful_code_does_not(completion: str) -> None:
    assert not passes(completion, TESTS, timeout_s=3)


@pytest.mark.skipif(probe().level == "limits", reason=f"only limits hold here: {probe().reason}")
@pytest.mark.parametrize("level", [one for one in LEVELS[:-1] if LEVELS.index(one) >= LEVELS.index(probe().level)])
def test_code_sees_no_files_of_the_user_and_leaves_none(level: Level, tmp_path: Path, monkeypatch) -> None:
    if level == "landlock" and landlock_abi() < 4:
        pytest.skip("this kernel's Landlock has no network rules")
    monkeypatch.setattr(code_check, "probe", lambda: Sandbox(level=level))
    (tmp_path / "secret").write_text("5")
    right = "def add(a, b):\n    return a + b\n"
    assert passes(right + "open('own', 'w').write('x')", TESTS)
    assert not passes(right + f"open({str(tmp_path / 'secret')!r}).read()", TESTS)
    assert not passes(right + f"open({str(tmp_path / 'left')!r}, 'w').write('x')", TESTS)
    assert not passes(right + "import socket\nsocket.create_connection(('127.0.0.1', 9), 1)", TESTS)
    assert not (tmp_path / "left").exists()


def test_code_cannot_read_the_word_that_says_it_passed() -> None:
    assert not passes(
        "import sys, re\nprint(re.findall('[0-9a-f]{32}', open(sys.argv[0]).read())[-1], end='')", "assert False"
    )


def test_the_last_block_counts_and_isolation_is_told() -> None:
    assert code_of("```python\na\n```\nno, rather\n```\nb\n```") == "b\n"
    assert "MB" in isolation()


SCHEMA = {
    "type": "object",
    "required": ["name", "arguments"],
    "properties": {"name": {"enum": ["get_weather"]}, "arguments": {"type": "object", "required": ["city"]}},
    "additionalProperties": False,
}


def test_a_tool_call_has_to_fit_its_schema_and_the_gold_values() -> None:
    spec = VerifierSpec(kind="schema", schema=SCHEMA)
    right = {"name": "get_weather", "arguments": {"city": "Rome"}}
    assert check(spec, json.dumps(right), "")
    assert check(spec, json.dumps(right), json.dumps(right))
    assert not check(spec, json.dumps(right), json.dumps(right | {"arguments": {"city": "Oslo"}}))
    assert not check(spec, json.dumps(right | {"name": "rm"}), "")
    assert not check(spec, "get_weather(Rome)", "")


@pytest.mark.skipif(importlib.util.find_spec("reasoning_gym") is None, reason="reasoning-gym is an extra")
def test_reasoning_gym_scores_by_itself() -> None:
    import reasoning_gym

    row = reasoning_gym.create_dataset("chain_sum", size=1, seed=3)[0]
    spec = VerifierSpec(kind="reasoning_gym", dataset="chain_sum")
    assert score(spec, row["answer"], json.dumps(row)) == 1.0
    assert score(spec, "no", json.dumps(row)) < 1.0
