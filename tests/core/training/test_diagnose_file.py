"""`intern diagnose FILE` on files of strangers: every layout is read, rubbish is an error that says why."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from core.errors import NotFound, UsageError
from core.training.diagnose_file import diagnose_file

DEAD = [{"step": i, "reward": 0.0, "frac_reward_zero_std": 1.0, "grad_norm": 0.0, "loss": 0.0} for i in range(1, 13)]
GOOD = [{"step": i, "loss": 2 / i + 0.5, "grad_norm": 1.0, "learning_rate": 1e-4} for i in range(1, 31)]


def lines(rows: list[dict], end: str = "\n") -> str:
    return "".join(json.dumps(r) + end for r in rows)


def write(tmp_path: Path, name: str, text: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def trackio_db(path: Path, rows: list[dict]) -> Path:
    """As TRL's own reporter fills it: a prefix on the keys, profiling rows between, steps that count log calls."""
    stored = []
    for i, row in enumerate(rows):
        metrics = {f"train/{k}": v for k, v in row.items() if k != "step"} | {"train/global_step": row["step"]}
        stored += [(f"2026-01-01T00:00:{i:02}", 7 * i, json.dumps(metrics))]
        stored += [(f"2026-01-01T00:00:{i:02}", 7 * i + 1, json.dumps({"profiling/Time taken: x": 1.0}))]
    with sqlite3.connect(path) as database:
        database.execute("create table metrics (timestamp text, run_name text, step integer, metrics text)")
        database.executemany("insert into metrics values (?, 'r', ?, ?)", stored)
    return path


def test_each_layout_gives_the_same_verdict(tmp_path: Path) -> None:
    state = {"max_steps": 12, "log_history": DEAD, "global_step": 12}
    console = "Some text\n" + "".join(f"{ {k: str(v) if k == 'loss' else v for k, v in r.items()} }\n" for r in DEAD)
    rows = [(r["step"], {k: v for k, v in r.items() if k != "step"}) for r in DEAD]
    ours = lines([{"kind": "plan", "max_steps": 12}])
    ours += lines([{"kind": "metric", "step": step, "ts": 1.0, "values": values} for step, values in rows])
    files = [
        write(tmp_path, "a.jsonl", lines(DEAD)),
        write(tmp_path, "crlf.jsonl", lines(DEAD, "\r\n")),
        write(tmp_path, "bom.jsonl", b"\xef\xbb\xbf" + lines(DEAD).encode()),
        write(tmp_path, "utf16.jsonl", lines(DEAD).encode("utf-16")),
        write(tmp_path, "trainer_state.json", json.dumps(state, indent=2)),
        write(tmp_path, "list.json", json.dumps(DEAD)),
        write(tmp_path, "console.log", console),
        write(tmp_path, "metrics.jsonl", ours),
        write(tmp_path, "half_a_last_line.jsonl", lines(DEAD) + '{"step": 13, "rew'),
        trackio_db(tmp_path / "t.db", DEAD),
        tmp_path,
    ]
    for file in files:
        found = diagnose_file(file)
        assert (found.trainer, found.verdict, found.steps) == ("grpo", "failing", 12), file
        assert [(f.kind, f.first_step) for f in found.findings] == [("no_learning_signal", 1)], file


def test_a_healthy_log_is_healthy_under_any_trainer_name(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", lines(GOOD))
    assert diagnose_file(path).verdict == "healthy"
    assert (diagnose_file(path, "dpo").trainer, diagnose_file(path).trainer) == ("dpo", "sft")


@pytest.mark.parametrize("word", ["NaN", "nan", '"NaN"', "Infinity", "-inf"])
def test_a_value_that_is_not_finite_is_found_however_it_is_spelled(tmp_path: Path, word: str) -> None:
    text = lines(GOOD[:5]) + f'{{"step": 6, "loss": {word}, "grad_norm": 1.0}}\n'
    (found,) = diagnose_file(write(tmp_path, "a.jsonl", text)).findings
    assert (found.kind, found.first_step) == ("non_finite", 6)


def test_rows_without_a_step_are_counted(tmp_path: Path) -> None:
    text = lines([{k: v for k, v in r.items() if k != "step"} for r in GOOD])
    assert diagnose_file(write(tmp_path, "a.jsonl", text)).steps == 30


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\x7fELF\x00\x00\x00\x01", "binary"),
        (b"SQLite format 3\x00 and then rubbish", "no Trackio store"),
        (b'{"step": 1, "loss": 0.', "cut off"),
        (b'{"log_history": [{"step": 1, "loss"', "broken JSON"),
        (b'{"log_history": 3}', "no list"),
        (b"hello\nworld\n", "no JSON object"),
        (b'{"epoch": 1}\n', "no loss and no reward"),
        (b'{"kind": "plan", "max_steps": 3}\n', "no train step"),
        (b"[1, 2", "broken JSON"),
        (b"[1, 2]", "no train step"),
        (b"\n\n  \n", "no train step"),
        (b'{"step": "one", "loss": "high"}\n', "no train step"),
    ],
)
def test_rubbish_is_an_error_that_says_why(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        diagnose_file(write(tmp_path, "x", content))


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        diagnose_file(tmp_path / "no.jsonl")
    with pytest.raises(NotFound):
        diagnose_file(tmp_path)


def test_a_cancelled_job_is_not_called_crashed(tmp_path: Path) -> None:
    write(tmp_path, "metrics.jsonl", lines(GOOD))
    write(tmp_path, "exit.json", json.dumps({"exit_code": None, "signal": 15, "seconds": 1, "reason": "cancelled"}))
    assert diagnose_file(tmp_path).verdict == "healthy"


def test_a_job_that_died_before_its_first_step_is_a_crash(tmp_path: Path) -> None:
    write(tmp_path, "exit.json", json.dumps({"exit_code": 1, "signal": None, "seconds": 1, "reason": "crashed"}))
    write(tmp_path, "log.txt", "Traceback (most recent call last):\nKeyError: 'answer'\n")
    (found,) = diagnose_file(tmp_path).findings
    assert (found.kind, found.evidence[-1]) == ("crash", "KeyError: 'answer'")
