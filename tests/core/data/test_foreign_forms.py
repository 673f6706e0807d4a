"""Data sets in the forms people have: each gives the right parts, or a clear word about what is not used or cannot be read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from core.data.files import open_data
from core.data.inspect import inspect
from core.data.prepare import PrepareOptions, prepare
from core.errors import InternError, ToolError

N = 60
QUESTIONS = [f"What is the capital of region {i} of the atlas?" for i in range(N)]
ANSWERS = [f"It is town {7 * i}, the map on page {i} says." for i in range(N)]
PAIRS = list(zip(QUESTIONS, ANSWERS, strict=True))
Made = Callable[[str, str, int], Mapping[str, Any]]


def lines(path: Path, make: Made) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(make(q, a, i)) + "\n" for i, (q, a) in enumerate(PAIRS)))
    return path


def first(path: Path, *columns: str) -> tuple[str, tuple[Any, ...]]:
    """The kind, and some parts of the first row."""
    with open_data(path) as data:
        row = data.all(f"SELECT {', '.join(columns)} FROM rows ORDER BY n LIMIT 1")[0]
        assert data.rows == N
        return data.roles.kind, row


def turn(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


CALL = {"id": "c", "type": "function", "function": {"name": "look_up", "arguments": '{"page": 3}'}}
CALLED = '<tool_call>\n{"name": "look_up", "arguments": {"page": 3}}\n</tool_call>'
CHATS: dict[str, tuple[str, Made, str]] = {
    "sharegpt": (
        "messages", lambda q, a, i: {"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]}, ANSWERS[0],
    ),
    "parts": (
        "messages",
        lambda q, a, i: {"messages": [turn("user", [{"type": "text", "text": q}]), turn("assistant", [{"type": "text", "text": a}])]},
        ANSWERS[0],
    ),
    "a call at the end": (
        "messages", lambda q, a, i: {"messages": [turn("user", q), turn("assistant", None, tool_calls=[CALL])]}, CALLED,
    ),
    "a call with arguments as an object": (
        "messages",
        lambda q, a, i: {"messages": [turn("user", q), turn("assistant", "", tool_calls=[{"function": {"name": "look_up", "arguments": {"page": 3}}}])]},
        '<tool_call>\n{"name": "look_up", "arguments": {"page":3}}\n</tool_call>',
    ),
    "alpaca": ("answers", lambda q, a, i: {"instruction": q, "input": "", "output": a}, ANSWERS[0]),
    "chosen and rejected texts": ("preference", lambda q, a, i: {"prompt": q, "chosen": a, "rejected": f"no {i}"}, ANSWERS[0]),
    "chosen and rejected messages": (
        "preference",
        lambda q, a, i: {"chosen": [turn("user", q), turn("assistant", a)], "rejected": [turn("user", q), turn("assistant", f"no {i}")]},
        ANSWERS[0],
    ),
    "transcripts": (
        "preference",
        lambda q, a, i: {"chosen": f"\n\nHuman: {q}\n\nAssistant: {a}", "rejected": f"\n\nHuman: {q}\n\nAssistant: no {i}"},
        ANSWERS[0],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHATS)
def test_chats_and_preferences_are_told_and_prepared_whole(tmp_path: Path, name: str) -> None:
    kind, make, answer = CHATS[name]
    path = lines(tmp_path / "a.jsonl", make)
    assert first(path, "prompt", "answer") == (kind, (QUESTIONS[0], answer))
    assert not [c for c in inspect(path).concerns if c.name in ("empty", "broken_turns", "answer_shape")]
    form = kind if kind != "answers" else "messages"
    made = prepare([path], tmp_path / "out", options=PrepareOptions(format=form, dev_rows=0, conflicts="keep"))  # type: ignore[arg-type]
    written = [json.loads(line) for line in Path(made.folder, "train.jsonl").read_text().splitlines()]
    calls = "call" in name
    assert len(written) == N, made.dropped
    if form == "messages":
        assert written[0]["messages"] == [turn("user", QUESTIONS[0]), turn("assistant", answer)]
    else:
        assert (written[1]["chosen"], written[1]["rejected"]) == (ANSWERS[1], "no 1")
    assert calls == ("<tool_call>" in written[0]["answer"])


TABLES: dict[str, tuple[str, bytes]] = {
    "semicolons": ("a.csv", ("question;answer\n" + "".join(f'"{q}";"{a}"\n' for q, a in PAIRS)).encode()),
    "byte order mark": ("a.csv", b"\xef\xbb\xbf" + ("question,answer\r\n" + "".join(f'"{q}","{a}"\r\n' for q, a in PAIRS)).encode()),
    "header lines in the middle": (
        "a.csv", ("question,answer\n" + "".join(f'"{q}","{a}"\n' + "question,answer\n" * (i % 20 == 9) for i, (q, a) in enumerate(PAIRS))).encode(),
    ),
    "no header": ("a.csv", "".join(f'"{q}","{a}"\n' for q, a in PAIRS).encode()),
    "compressed": ("a.jsonl.gz", gzip.compress("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in PAIRS).encode(), mtime=0)),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables_lose_no_row_and_gain_none(tmp_path: Path, name: str) -> None:
    file, content = TABLES[name]
    (tmp_path / file).write_bytes(content)
    assert first(tmp_path / file, "prompt", "answer") == ("answers", (QUESTIONS[0], ANSWERS[0]))


def test_a_western_encoding_keeps_its_letters_and_a_damaged_utf8_file_keeps_its_own(tmp_path: Path) -> None:
    western = tmp_path / "w.csv"
    western.write_bytes('question,answer\n"Où est l\'été ?",à côté\n'.encode("latin-1"))
    with open_data(western) as data:
        assert data.all("SELECT prompt, answer FROM rows") == [("Où est l'été ?", "à côté")]
        assert "Windows-1252" in data.files[0].notes[0]
    damaged = tmp_path / "d.csv"
    damaged.write_bytes(b"question,answer\n" + "où été à côté,".encode() + b"\xe9\n")
    with open_data(damaged) as data:
        assert data.all("SELECT prompt, answer FROM rows") == [("où été à côté", "\ufffd")]


UNUSED: dict[str, tuple[Made, str]] = {
    "choices": (lambda q, a, i: {"question": q, "choices": ["x", "y"], "answerKey": "AB"[i % 2]}, "not part of the prompt"),
    "tools": (lambda q, a, i: {"tools": [{"name": "f"}], "messages": [turn("user", q), turn("assistant", a)]}, "declarations"),
    "history": (lambda q, a, i: {"instruction": q, "output": a, "history": [["x", "y"]] * (i % 2)}, "earlier turns"),
    "label": (lambda q, a, i: {"prompt": q, "completion": a, "label": bool(i % 2)}, "KTO"),
    "image": (lambda q, a, i: {"image": {"bytes": "abc", "path": "x.png"}, "question": q, "answer": a}, "pictures"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSED)
def test_what_belongs_to_a_row_and_is_not_used_is_said(tmp_path: Path, name: str) -> None:
    make, word = UNUSED[name]
    concern = inspect(lines(tmp_path / "a.jsonl", make)).concern("unused_columns")
    assert concern is not None
    assert f"'{name}'" in concern.text
    assert word in concern.text
    assert concern.count == (N // 2 if name == "history" else N)


def test_of_two_responses_neither_is_taken_for_the_answer(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "a.jsonl",
        lambda q, a, i: {"question": q, "response_a": a, "response_b": f"no {i}", "preference": "a"},
    )
    with open_data(path) as data:
        assert (data.roles.kind, data.roles.answer) == ("prompts", None)


def test_nested_parquet_gives_the_text_of_an_answer_and_pictures_are_no_question(tmp_path: Path) -> None:
    squad, pictures = tmp_path / "s.parquet", tmp_path / "p.parquet"
    duckdb.sql(
        f"""COPY (SELECT 'ctx ' || i AS context, 'who ' || i AS question, {{'text': ['name' || i, 'other'], 'answer_start': [3, 9]}} AS answers
        FROM range({N}) t(i)) TO '{squad}'"""
    )
    assert first(squad, "prompt", "answer") == ("answers", ("ctx 0\n\nwho 0", "name0"))
    duckdb.sql(
        f"COPY (SELECT {{'bytes': 'abc'::BLOB, 'path': 'x.png'}} AS image, i % 3 AS label FROM range({N}) t(i)) TO '{pictures}'"
    )
    assert first(pictures, "prompt")[0] != "answers"


def test_shards_with_other_names_are_one_data_set_and_shards_of_another_kind_are_told(tmp_path: Path) -> None:
    lines(tmp_path / "same" / "a.jsonl", lambda q, a, i: {"question": q, "answer": a})
    lines(tmp_path / "same" / "b.jsonl", lambda q, a, i: {"instruction": "Say: " + q, "output": a, "source": "x"})
    assert [c.name for c in inspect(tmp_path / "same").concerns if "kind" in c.name] == []
    lines(tmp_path / "other" / "a.jsonl", lambda q, a, i: {"messages": [turn("user", q), turn("assistant", a)]})
    lines(tmp_path / "other" / "b.jsonl", lambda q, a, i: {"prompt": q + " Say.", "chosen": a, "rejected": "no"})
    seen = inspect(tmp_path / "other")
    mixed = seen.concern("mixed_kinds")
    assert mixed is not None
    assert (mixed.count, "preference" in mixed.text) == (N, True)
    assert seen.concern("broken_turns") is None, "rows of the other file are no broken chats"


ODD: Sequence[tuple[str, bytes, str]] = [
    ("empty.jsonl", b"", "no row"),
    ("header.csv", b"question,answer\n", "no row"),
    ("cut.jsonl.gz", gzip.compress(b'{"question": "a", "answer": "b"}\n' * 500, mtime=0)[:-30], "Cannot read"),
    ("table.xlsx", b"PK", "Unknown format"),
]


@pytest.mark.parametrize(("name", "content", "word"), ODD)
def test_what_holds_nothing_or_is_broken_says_so_and_what_to_do(
    tmp_path: Path, name: str, content: bytes, word: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ToolError, match=word) as refused:
        inspect(tmp_path / name)
    assert isinstance(refused.value, InternError)
    assert refused.value.next


def test_one_row_a_huge_column_and_types_that_change_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps({"question": "Why?", "answer": "So."}))
    assert inspect(tmp_path / "one.json").rows == 1
    huge = inspect(lines(tmp_path / "huge.jsonl", lambda q, a, i: {"question": q, "answer": a, "page": "x" * 200_000}))
    assert (huge.rows, huge.roles.kind) == (N, "answers")
    mixed = inspect(lines(tmp_path / "m.jsonl", lambda q, a, i: {"question": q, "answer": [a, i, None, ["x"]][i % 4]}))
    assert {"mixed_types", "empty"} <= {c.name for c in mixed.concerns}
