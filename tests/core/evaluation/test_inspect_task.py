"""inspect-ai tasks: a task folder like any other, scored by inspect-ai itself on a local model, split by the prompt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("inspect_ai", reason="the extra [eval] is not installed")

from core.errors import EvaluationError, TaskInvalid
from core.evaluation.benchmark import Request, read_samples, run_benchmark
from core.evaluation.inspect_task import task_functions
from core.tasks import load_task
from intern_tui.cli import main

TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import exact
from inspect_ai.solver import generate
from sums import pairs  # a helper beside the task


@task
def additions(n: int = 20):
    asked = pairs(n) + pairs(3)
    samples = [Sample(id=i, input=f"{a}+{b}=", target=str(a + b)) for i, (a, b) in enumerate(asked)]
    return Task(dataset=samples, solver=generate(max_tokens=8), scorer=exact())


@task
def broken():
    raise RuntimeError("no data here")


@task
def twice():
    return Task(dataset=[Sample(id=1, input="1+1=", target="2")] * 2, solver=generate(), scorer=exact())
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTERN_HOME", str(tmp_path / "home"))
    (tmp_path / "sums.py").write_text("def pairs(n):\n    return [(7 * i % 50, 11 * i % 50) for i in range(n)]\n")
    path = tmp_path / "tasks.py"
    path.write_text(TASK)
    return path


def evaluate(name: str, out: Path, **more):
    base = load_task("pocket/addition").base_model
    assert base is not None
    return run_benchmark(
        load_task(name), Request(model_path=base, output_folder=str(out), timeout_s=280, threads=2, **more)
    )


@pytest.mark.slow
def test_a_local_model_is_scored_by_inspect_ai_and_every_prompt_is_on_one_side(file: Path, tmp_path: Path) -> None:
    name = f"inspect/{file}@additions"
    task = load_task(name)
    assert task.has_dev_split
    assert task.name == name
    assert {"--split", "--samples-output-file"} <= set(task.evaluate_flags)
    dev = evaluate(name, tmp_path / "dev", split="dev")
    assert dev.samples_path is not None
    rows = read_samples(Path(dev.samples_path))
    assert 0 < len(rows) < 23
    assert dev.n == len(rows)
    assert dev.metric == "accuracy"
    right = [int(r.completion.strip(" ().") == r.answer) for r in rows]  # exact() leaves punctuation out
    assert dev.score == pytest.approx(sum(right) / len(right))
    assert [r.correct for r in rows] == [bool(x) for x in right]
    log = (tmp_path / "dev" / "log.txt").read_text()
    assert log.count("Loading weights: 100%") == 1
    assert "Retrying" not in log, "nobody is asked over the network about a local model"
    whole = evaluate(name, tmp_path / "held", split="heldout")
    assert whole.samples_path is not None
    others = read_samples(Path(whole.samples_path))
    assert not {r.prompt for r in rows} & {r.prompt for r in others}, "repeated prompts too"
    assert len(rows) + len(others) == 23


@pytest.mark.slow
def test_a_task_that_fails_says_what_it_said(file: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no data here"):
        evaluate(f"inspect/{file}@broken", tmp_path / "x")
    with pytest.raises(EvaluationError, match="duplicate sample ids"):
        evaluate(f"inspect/{file}@twice", tmp_path / "y")


def test_a_task_file_that_was_changed_is_another_task(file: Path, tmp_path: Path) -> None:
    first = load_task(f"inspect/{file}@additions")
    assert load_task(f"inspect/{file}@additions").path == first.path
    file.write_text(TASK + "\n# another version\n")
    assert load_task(f"inspect/{file}@additions").path != first.path
    base = load_task("pocket/addition").base_model
    with pytest.raises(EvaluationError, match="was changed since"):
        run_benchmark(first, Request(model_path=str(base), output_folder=str(tmp_path / "o"), timeout_s=60))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("inspect/{file}", "several inspect-ai tasks"),
        ("inspect/{file}@nothing", "no inspect-ai task 'nothing'"),
        ("inspect/nowhere.py@x", "no such file"),
        ("inspect/not_a_package_here/gsm8k", "is not installed"),
        ("inspect/gsm8k", "names no inspect-ai task"),
    ],
)
def test_a_name_that_is_none_says_what_to_do(file: Path, name: str, said: str) -> None:
    with pytest.raises(TaskInvalid, match=said) as error:
        load_task(name.format(file=file))
    assert error.value.next


def test_reading_a_task_runs_nothing_of_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(TASK + "\nraise SystemExit('it ran')\n")
    assert task_functions(file) == ["additions", "broken", "twice"]
    load_task(f"inspect/{file}@additions")
    assert main(["run", "--task", f"inspect/{file}"]) == 3
    assert "several inspect-ai tasks" in capsys.readouterr().err
    assert json.loads((Path(load_task(f"inspect/{file}@broken").path) / "evaluation_code" / "inspect.json").read_text())["file"] == str(file)  # fmt: skip
