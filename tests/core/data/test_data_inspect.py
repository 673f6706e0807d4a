"""Inspection as a whole: one report, the same each time, small enough to read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.data import languages, shapes, verifying
from core.data.cleanliness import personal_kind
from core.data.inspect import inspect
from core.data.job import main
from core.data.schema import Inspection, VerifierSpec
from core.errors import ToolError, UsageError
from intern_tui.commands.data import report
from tests.core.data.planted import prose_data, sums


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def test_the_report_is_deterministic_compact_and_serialises(tmp_path: Path) -> None:
    planted = prose_data(11, rows=400)
    path = planted.write(tmp_path / "d.jsonl")
    first, second = (msgspec.json.encode(inspect(path, evaluation_texts=planted.evaluation)) for _ in range(2))
    assert first == second
    assert len(first) < 16_000
    report = msgspec.json.decode(first, type=Inspection)
    assert all(0 < c.score <= 1 and len(c.examples) <= 5 and c.text for c in report.concerns)
    assert [c.score for c in report.concerns] == sorted((c.score for c in report.concerns), reverse=True)


def test_conflicts_say_whether_a_majority_is_clear(tmp_path: Path) -> None:
    rows = [{"prompt": "1+1=", "answer": a} for a in ("2", "2", "3")] + [
        {"prompt": "2+2=", "answer": a} for a in ("4", "5")
    ]
    rows += [{"prompt": f"{i}+5=", "answer": str(i + 5)} for i in range(95)]
    concern = inspect(_write(tmp_path / "c.jsonl", rows)).concern("conflicting_labels")
    assert concern is not None
    assert concern.count == 5
    assert "2 prompts" in concern.text
    assert "1 of them" in concern.text


def test_labels_are_counted_and_their_imbalance_told(tmp_path: Path) -> None:
    rows = [{"text": f"row number {i}", "label": "pos" if i % 20 else "neg"} for i in range(400)]
    report = inspect(_write(tmp_path / "l.jsonl", rows))
    assert report.shape.classes == {"pos": 380, "neg": 20}
    assert report.concern("unbalanced_labels") is not None


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        (VerifierSpec(kind="regex", pattern=r"\d+"), 2),
        (VerifierSpec(kind="number"), 2),
        (VerifierSpec(kind="choice", values=("1", "2")), 3),
        (VerifierSpec(kind="json", keys=("a",)), 4),
    ],
)
def test_answers_are_held_against_their_verifier(tmp_path: Path, spec: VerifierSpec, wrong: int) -> None:
    path = _write(
        tmp_path / "v.jsonl", [{"prompt": f"p{i}", "answer": a} for i, a in enumerate(("1", "2", "7", "x", '{"a": 1}'))]
    )
    concern = inspect(path, verifier=spec).concern("verifier_mismatch")
    assert concern is not None
    assert concern.count == wrong


def test_a_verifier_in_python_runs_in_its_own_process(tmp_path: Path) -> None:
    code = tmp_path / "verify.py"
    code.write_text(
        "def verify(prompt, answer):\n    print('noise')\n    return eval(prompt.rstrip('=')) == int(answer)\n"
    )
    path = _write(tmp_path / "v.jsonl", [{"prompt": f"{i}+1=", "answer": str(i + 1 + (i == 3))} for i in range(9)])
    concern = inspect(path, verifier=VerifierSpec(kind="python", path=str(code))).concern("verifier_mismatch")
    assert concern is not None
    assert [e.line for e in concern.examples] == [4]
    code.write_text("raise SystemExit('no')\n")
    with pytest.raises(ToolError, match="broke"):
        inspect(path, verifier=VerifierSpec(kind="python", path=str(code)))
    with pytest.raises(UsageError):
        inspect(path, verifier=VerifierSpec(kind="magic"))


def test_a_licence_is_found_in_the_readme(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# Data\n")
    _write(tmp_path / "d.jsonl", [{"prompt": "a", "answer": "b"}])
    assert inspect(tmp_path).licence == "mit"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to a.b@firm.org", "email"),
        ("write to me@example.com", None),
        ("call +49 30 12345678 now", "phone"),
        ("555-123-4567=", None),
        ("12345678901234567=", None),
        ("12+4711-300=", None),
        ("card 4539 1488 0343 6467", "card"),
        ("4539148803436467*2=", None),
        ("DE89 3704 0044 0532 0130 00", "iban"),
        ("it was in 2019-03-04", None),
        ("f(x) = x@y", None),
    ],
)
def test_personal_data_is_told_from_arithmetic(text: str, kind: str | None) -> None:
    assert personal_kind(text) == kind


def test_tokens_are_those_of_the_given_tokenizer(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    vocabulary = {c: i for i, c in enumerate("0123456789+=?")}
    Tokenizer(models.WordLevel(vocabulary, unk_token="?")).save(str(tmp_path / "tokenizer.json"))
    path = sums(3, rows=300).write(tmp_path / "s.jsonl")
    report = inspect(path, tokenizer_json=tmp_path / "tokenizer.json")
    assert report.lengths["prompt_tokens"].unit == "tokens"
    with pytest.raises(ToolError):
        inspect(path, tokenizer_json=tmp_path / "nothing.json")


def test_the_job_writes_its_result_and_says_what_went_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = sums(4, rows=300).write(tmp_path / "s.jsonl")
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"kind": "inspect", "path": str(path), "result": str(tmp_path / "r.json")}))
    assert main(str(spec)) == 0
    assert msgspec.json.decode((tmp_path / "r.json").read_bytes(), type=Inspection).rows == 300
    spec.write_text(
        json.dumps({"kind": "inspect", "path": str(tmp_path / "none"), "result": str(tmp_path / "r2.json")})
    )
    assert main(str(spec)) == 3
    assert "no data at" in capsys.readouterr().err
    assert not (tmp_path / "r2.json").exists()


def test_nothing_heavy_comes_along() -> None:
    code = "import sys, core.data.inspect, core.data.prepare, core.data.noise, core.data.job\n"
    code += "print([m for m in ('torch', 'datasets', 'transformers', 'trl', 'pandas', 'textual', 'numpy') "
    code += "if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "[]"


def test_a_check_that_saw_some_of_the_rows_says_of_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "SAMPLE", 50)
    monkeypatch.setattr(languages, "SAMPLE_ABOVE", 120)
    monkeypatch.setattr(verifying, "SAMPLE", 400)
    essays = [{"prompt": f"Tell me of day {i}", "answer": f"On day {i} it rained, and the river rose by a hand. " * 3} for i in range(400)]  # fmt: skip
    seen = inspect(_write(tmp_path / "essays.jsonl", essays), verifier=VerifierSpec(kind="regex", pattern="On .*"))
    assert (seen.shape.name, seen.shape.checked) == ("text", 50)
    assert seen.sampled == (
        "form of the answers: 50 of 400 rows, evenly spread",
        "languages: 100 of 400 rows, evenly spread",
    )
    assert "form of the answers: 50 of 400" in "\n".join(report(seen))
    numbers = [{"prompt": f"What is {i} and {i}?", "answer": str(2 * i)} for i in range(399)]
    numbers.append({"prompt": "What is a and b?", "answer": "nobody knows"})
    seen = inspect(_write(tmp_path / "numbers.jsonl", numbers))
    # A rule may come of these: the last row breaks it, so all of them are looked at.
    assert (seen.shape.name, seen.shape.checked) == ("integer", 400)
    found = seen.concern("answer_shape")
    assert found is not None
    assert found.count == 1
    assert seen.sampled == ("languages: 100 of 400 rows, evenly spread",)


def test_every_licence_of_the_rows_is_named(tmp_path: Path) -> None:
    rows = [{"prompt": f"q {i}", "answer": f"a {i}", "license": name} for i, name in enumerate(["mit"] * 6 + ["cc-by-nc-4.0"] * 3 + ["", None])]  # fmt: skip
    assert inspect(_write(tmp_path / "d.jsonl", rows)).licence == "mit, cc-by-nc-4.0"
    many = [{"prompt": f"q {i}", "answer": f"a {i}", "license": f"terms-{i % 9}"} for i in range(90)]
    told = inspect(_write(tmp_path / "e.jsonl", many)).licence
    assert told is not None
    assert told.endswith(", others")
