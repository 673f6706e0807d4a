"""Data as found: every format, every usual flaw, read or refused with a clear word."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from core.data.files import Data, open_data
from core.errors import NotFound, ToolError


def _pairs(data: Data) -> list[tuple[int, str | None, str | None]]:
    return data.all("SELECT line, prompt, answer FROM rows ORDER BY n")


def _read(path: Path, content: str | bytes) -> list[tuple[int, str | None, str | None]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with open_data(path) as data:
        return _pairs(data)


def test_a_jsonl_with_broken_and_blank_lines_keeps_its_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"prompt":"x","answer":1}\r\n\r\n{"prompt":"y","answer":"z"}\n{bad\n[1]\n{"prompt":"q","answer":null}'
    )
    with open_data(path) as data:
        assert _pairs(data) == [(1, "x", "1"), (3, "y", "z"), (6, "q", None)]
        assert (data.files[0].broken_lines, data.files[0].broken_at, data.files[0].blank_lines) == (2, (4, 5), 1)
        assert data.mixed == {"answer": {"NUMBER": 1, "VARCHAR": 1}}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.json", json.dumps([{"prompt": "a", "answer": "b"}])),
        ("wrapped.json", json.dumps({"meta": 1, "data": [{"prompt": "a", "answer": "b"}]})),
        ("columns.json", json.dumps({"prompt": ["a"], "answer": ["b"], "n": [1]})),
        ("by_key.json", json.dumps({"k1": {"prompt": "a", "answer": "b"}})),
        ("lines.json", '{"prompt":"a","answer":"b"}\n{"prompt":"a","answer":"b"}\n'),
        ("array.jsonl", '[{"prompt":"a","answer":"b"},\n {"prompt":"c","answer":"d"}]'),
        ("table.csv", "prompt,answer\na,b\n"),
        ("table.tsv", "prompt\tanswer\na\tb\n"),
        ("wide.jsonl", '{"prompt":"a","answer":"b"}\n'.encode("utf-16")),
    ],
)
def test_the_usual_wrappings_are_read(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert _read(tmp_path / name, content)[0][1:] == ("a", "b")


def test_parquet_with_nested_columns_and_a_folder_with_splits(tmp_path: Path) -> None:
    for split, first in (("train", 0), ("test", 50)):
        target = tmp_path / "data" / f"{split}-00000-of-00001.parquet"
        target.parent.mkdir(exist_ok=True)
        duckdb.sql(
            f"COPY (SELECT 'q' || i AS question, [i, i + 1] AS answer FROM range({first}, {first} + 3) t(i)) TO "
            f"'{target}'"
        )
    with open_data(tmp_path) as data:
        assert data.all("SELECT split, prompt, answer FROM rows ORDER BY split, n")[0] == ("test", "q50", "[50,51]")
        assert data.rows == 6


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("empty.jsonl", "", "empty"),
        ("bare.json", "3", "bare value"),
        ("broken.json", "[1,", "Not valid JSON"),
        ("head.csv", "prompt,answer\n", "empty"),
        ("junk.parquet", "junk", "parquet"),
        ("prose.jsonl", "no json here\n", "JSON object"),
        ("thing.bin", "x", "format"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path: Path, name: str, content: str, word: str) -> None:
    with pytest.raises(ToolError, match=f"(?i){word}") as error:
        _read(tmp_path / name, content)
    assert name in str(error.value)


def test_a_missing_path_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_data(tmp_path / "nowhere")


def test_bytes_that_are_not_utf8_and_a_csv_with_too_many_fields_lose_one_row_at_most(tmp_path: Path) -> None:
    assert _read(tmp_path / "b.jsonl", b'{"prompt":"\xfcber","answer":"a"}\n') == [(1, "über", "a")]
    path = tmp_path / "c.csv"
    path.write_text('question,label\n"a, ""b""",1\nfoo,2,3,4\n"multi\nline",3\n')
    with open_data(path) as data:
        assert [row[1:] for row in _pairs(data)] == [('a, "b"', "1"), ("multi\nline", "3")]
        assert data.files[0].broken_lines == 1


@pytest.mark.parametrize(
    ("row", "kind", "prompt", "answer"),
    [
        ({"instruction": "do", "input": "it", "output": "done"}, "answers", "do\n\nit", "done"),
        ({"id": 1, "Question": "q", "final_answer": "a"}, "answers", "q", "a"),
        ({"text": "nice film", "label": 1}, "answers", "nice film", "1"),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, "messages", "q", "a"),
        ({"prompt": "q", "chosen": "good", "rejected": "bad"}, "preference", "q", "good"),
        (
            {
                "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
                "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}],
            },
            "preference",
            "q",
            "a",
        ),
        (
            {"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]},
            "answers",
            "q",
            "a",
        ),
        ({"prompt": "q"}, "prompts", "q", None),
        ({"text": "running text"}, "text", None, "running text"),
        ({"left": "q", "right": "a"}, "answers", "q", "a"),
    ],
)
def test_the_parts_of_a_row_are_recognised(
    tmp_path: Path, row: dict[str, object], kind: str, prompt: str | None, answer: str
) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with open_data(path) as data:
        assert data.roles.kind == kind
        assert data.roles.reason
        assert data.all("SELECT prompt, answer FROM rows") == [(prompt, answer)]
        assert data.roles.sure == ("left" not in row)
