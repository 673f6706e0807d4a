"""A folder with only evaluate.py is a task; what is wrong with a folder is said with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from foreign import FLAGS, GOOD, write_model, write_task

from core.errors import TaskInvalid
from core.tasks import list_tasks, load_task


def test_evaluate_py_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / "evaluate.py").write_text("import evaluation_code")
    task = load_task(tmp_path)
    assert (task.name, task.base_model, task.verifier, task.metric, task.hours) == (tmp_path.name, *[None] * 4)
    assert task.data_files == task.templates == task.eval_text_files == task.evaluate_flags == ()
    assert not task.has_dev_split


def test_the_current_folder_is_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_task(tmp_path / "mine"))
    task = load_task(".")
    assert (task.name, task.path) == ("mine", str(tmp_path / "mine"))
    assert "--json-output-file" in task.evaluate_flags


def test_a_foreign_folder_is_read_whole(tmp_path: Path) -> None:
    toml = """
name = "theirs"
base_model = "Qwen/Qwen3-1.7B-Base"
hours = 2
metric = "f1"
higher_is_better = true
[verifier]
kind = "numeric"
[sample]
prompt = "1?"
answer = "1"
[their_own]
key = 1
"""
    folder = write_task(tmp_path / "task", flags=FLAGS, toml=toml)
    (folder / "test_questions.jsonl").write_text('{"question": "x"}\n')
    (folder / "evaluation_data").mkdir()
    (folder / "evaluation_data" / "a.json").write_text("[]")
    (folder / "evaluation_data" / "notes.md").write_text("x")
    write_model(folder / "checkpoint")
    task = load_task(folder)
    assert (task.name, task.base_model, task.hours, task.metric) == ("theirs", "Qwen/Qwen3-1.7B-Base", 2.0, "f1")
    assert task.verifier is not None
    assert task.verifier.kind == "numeric"
    assert task.sample == ("1?", "1")
    assert task.has_dev_split
    assert [Path(f).name for f in task.eval_text_files] == ["a.json", "test_questions.jsonl"]
    assert [Path(t).name for t in task.templates] == ["qwen3.jinja"]
    assert [(d.format, d.note) for d in task.data_files] == [("jsonl", "")]


def test_a_base_model_inside_the_folder_is_found_with_and_without_being_named(tmp_path: Path) -> None:
    folder = write_task(tmp_path / "task")
    write_model(folder / "base")
    assert load_task(folder).base_model == str(folder / "base")
    (folder / "task.toml").write_text('base_model = "base"')
    assert load_task(folder).base_model == str(folder / "base")


def test_broken_data_files_are_kept_with_a_note(tmp_path: Path) -> None:
    data = write_task(tmp_path / "task") / "data"
    (data / "half.jsonl").write_text('{"a": 1}\n{"a": \n')
    (data / "none.jsonl").write_text("hello\nworld\n")
    (data / "wrong.parquet").write_bytes(b"hello")
    (data / "latin.csv").write_bytes("q,a\nça,1\n".encode("latin-1"))
    (data / "empty.json").write_text("")
    (data / "broken.json").write_text("[1,")
    notes = {Path(d.path).name: d.note for d in load_task(data.parent).data_files}
    assert notes["train.jsonl"] == ""
    assert "1 of 2 lines" in notes["half.jsonl"]
    assert "line 2" in notes["half.jsonl"]
    assert notes["none.jsonl"] == "no line is JSON"
    assert "parquet" in notes["wrong.parquet"]
    assert "UTF-8" in notes["latin.csv"]
    assert "empty" in notes["empty.json"]
    assert "not JSON" in notes["broken.json"]


@pytest.mark.parametrize(
    ("toml", "what"),
    [
        ('name = "x"\nhours = = 2', "line 2"),
        ('hours = "two"', "hours"),
        ('[verifier]\nkind = "magic"', "verifier"),
        ('dev_file = "gone.jsonl"', "dev_file"),
    ],
)
def test_a_task_toml_that_cannot_be_used_says_where(tmp_path: Path, toml: str, what: str) -> None:
    folder = write_task(tmp_path / "task", GOOD, toml=toml)
    with pytest.raises(TaskInvalid, match=what) as caught:
        load_task(folder)
    assert caught.value.where
    assert caught.value.next
    assert caught.value.exit_code == 3


def test_unknown_names_list_the_shipped_tasks_and_suggest_the_nearest(tmp_path: Path) -> None:
    for wrong in ("pocket/adition", "pocket/nothing-like-it", "addition"):
        with pytest.raises(TaskInvalid, match="no task") as caught:
            load_task(wrong)
        assert "pocket/addition, pocket/choice, pocket/formula, pocket/sorting, pocket/toolcall" in caught.value.next
    with pytest.raises(TaskInvalid) as caught:
        load_task("pocket/adition")
    assert "Did you mean pocket/addition?" in caught.value.next
    with pytest.raises(TaskInvalid, match="does not exist"):
        load_task(tmp_path / "none")
    with pytest.raises(TaskInvalid, match=r"no evaluate\.py"):
        load_task(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(TaskInvalid, match="is a file"):
        load_task(tmp_path / "file")


def test_the_shipped_tasks_load_with_base_data_and_a_development_split() -> None:
    tasks = list_tasks()
    assert [t.name for t in tasks] == [
        f"pocket/{name}" for name in ("addition", "choice", "formula", "sorting", "toolcall")
    ]
    for task in tasks:
        assert task.base_model is not None
        assert task.has_dev_split
        assert task.dev_file is not None
        assert task.verifier is not None
        assert task.data_files
        assert len(task.eval_text_files) == 2
