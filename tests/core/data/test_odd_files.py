"""Files with odd names, columns and containers are read, or refused with a word that helps."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from core.data.files import open_data
from core.data.inspect import inspect
from core.errors import ToolError


def _prompts(path: Path) -> list[str | None]:
    with open_data(path) as data:
        return [p for (p,) in data.all("SELECT prompt FROM rows ORDER BY n")]


@pytest.mark.parametrize("stream", [True, False])
def test_a_folder_of_save_to_disk_is_read_by_its_arrow_files_and_not_by_what_describes_them(
    tmp_path: Path, stream: bool
) -> None:
    table = pa.table({"question": ["a b", "c d"], "answer": ["1", "2"]})
    with pa.OSFile(str(tmp_path / "data-00000-of-00001.arrow"), "wb") as file:
        new = pa.ipc.new_stream if stream else pa.ipc.new_file
        with new(file, table.schema) as out:
            out.write_table(table)
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
    (tmp_path / "dataset_info.json").write_text('{"features": {"question": {"dtype": "string"}}}')
    assert _prompts(tmp_path) == ["a b", "c d"]


def test_a_broken_arrow_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.arrow").write_bytes(b"no arrow at all")
    with pytest.raises(ToolError, match="arrow"):
        open_data(tmp_path / "x.arrow")


def test_a_key_without_a_name_does_not_cost_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"": "x", "question": "q", "answer": "1"}\n' * 2)
    assert _prompts(tmp_path / "a.jsonl") == ["q", "q"]


def test_the_question_is_found_behind_a_hundred_other_columns(tmp_path: Path) -> None:
    row = {f"c{i}": i for i in range(100)} | {"question": "q", "answer": "a"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    assert _prompts(tmp_path / "a.jsonl") == ["q"]


@pytest.mark.parametrize("text", ["[]", "{}", '{"data": []}', "\n \n"])
def test_nothing_is_called_empty(tmp_path: Path, text: str) -> None:
    name = "a.jsonl" if text.isspace() else "a.json"
    (tmp_path / name).write_text(text)
    with pytest.raises(ToolError, match="empty"):
        open_data(tmp_path / name)


def test_a_cell_larger_than_the_reader_s_own_limit(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('question,answer\n"' + "word " * 500_000 + '",1\nb,2\n')
    assert [len(p or "") for p in _prompts(tmp_path / "a.csv")] == [2_500_000, 1]


def test_records_nested_in_rows_are_told_before_their_json_is_trained_on(tmp_path: Path) -> None:
    articles = [{"title": f"t{i}", "paragraphs": [{"context": "c", "qas": [{"question": "q?"}]}]} for i in range(5)]
    (tmp_path / "squad.json").write_text(json.dumps({"data": articles}))
    duckdb.sql(
        f"COPY (SELECT {{'role': 'user', 'content': 'hi ' || i}} AS turn FROM range(9) t(i)) TO '{tmp_path / 's.parquet'}'"
    )
    for name, rows in (("squad.json", 5), ("s.parquet", 9)):
        concern = inspect(tmp_path / name).concern("nested")
        assert concern is not None, name
        assert (concern.count, "one row for each record" in concern.text) == (rows, True)
    (tmp_path / "flat.jsonl").write_text('{"question": "Why?", "answer": "So."}\n' * 3)
    assert inspect(tmp_path / "flat.jsonl").concern("nested") is None
