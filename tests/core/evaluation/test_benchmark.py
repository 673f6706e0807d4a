"""Somebody's evaluate.py gives a usable score or one clear error, always ends, and leaves nothing behind."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
import pytest
from foreign import FLAGS, GOOD, write_task

from core.errors import EvaluationError
from core.evaluation import guard as guards
from core.evaluation.benchmark import BenchmarkResult, Request, measure_guarded, pick_score, run_benchmark
from core.tasks import load_task


def evaluate(folder: Path, *, timeout_s: float = 60, split: str | None = None, limit: int = -1) -> BenchmarkResult:
    out = folder.parent / "out"
    request = Request(model_path="m", output_folder=str(out), timeout_s=timeout_s, split=split, limit=limit)
    return run_benchmark(load_task(folder), request)


def test_a_plain_script_with_the_three_flags_is_enough(tmp_path: Path) -> None:
    result = evaluate(write_task(tmp_path / "task"), limit=80)
    assert (result.score, result.stderr, result.metric, result.n) == (0.25, 0.05, "accuracy", 80)
    assert result.samples_path is None
    assert len(result.digest) == 64


def test_without_a_limit_the_count_is_worked_out_from_the_standard_error(tmp_path: Path) -> None:
    assert evaluate(write_task(tmp_path / "task")).n == round(0.25 * 0.75 / 0.05**2)


def test_optional_flags_are_given_when_the_script_has_them(tmp_path: Path) -> None:
    body = """
assert args.split == "dev" and args.templates_dir.endswith("templates") and os.path.isabs(args.templates_dir)
row = {"id": "a", "prompt": "p", "answer": "1", "completion": "1", "correct": True}
pathlib.Path(args.samples_output_file).write_text(json.dumps(row) + "\\n" + "{broken\\n")
out.write_text(json.dumps({"accuracy": 1, "n": 7}))
"""
    result = evaluate(write_task(tmp_path / "task", body, flags=FLAGS), split="dev")
    assert result.n == 1
    assert result.samples_path is not None


def test_it_runs_in_the_task_folder_without_our_python_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    body = f"""
assert "PYTHONPATH" not in os.environ
assert pathlib.Path.cwd() == pathlib.Path({str(tmp_path / "task")!r})
{GOOD}
"""
    assert evaluate(write_task(tmp_path / "task", body)).score == 0.25


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("raise RuntimeError('no such tensor')", "no such tensor"),
        ("os.kill(os.getpid(), 9)", "signal 9"),
        ("pass", "wrote no score"),
        ("out.write_text('{\"accuracy\": 0.4')", "not one JSON object"),
        ("out.write_text('[0.4]')", "a list, not an object"),
        ("out.write_bytes(b'\\xff\\xfe')", "not one JSON object"),
        ("out.write_text(json.dumps({'accuracy': float('nan')}))", "not finite"),
        ("out.write_text(json.dumps({'accuracy': float('inf')}))", "not finite"),
        ("out.write_text(json.dumps({'accuracy': None}))", "not a number"),
        ("out.write_text(json.dumps({'accuracy': True}))", "not a number"),
        ("out.write_text(json.dumps({'accuracy': 141.0}))", "outside [0, 1]"),
        ("out.write_text(json.dumps({'accuracy': -0.1}))", "outside [0, 1]"),
        ("out.write_text(json.dumps({'score': 7.3}))", "does not say that it is a rate in percent"),
        ("out.write_text(json.dumps({'perplexity': 7.3}))", 'scale = "percent"'),
        ("out.write_text(json.dumps({'stderr': 0.1, 'n': 50}))", "no clear score"),
        ("out.write_text(json.dumps({'bleu': 0.1, 'rouge': 0.2}))", "several numbers"),
    ],
)
def test_every_way_to_fail_says_what_where_and_what_next(tmp_path: Path, body: str, what: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        evaluate(write_task(tmp_path / "task", body))
    assert what in str(caught.value)
    assert caught.value.where
    assert caught.value.next


def test_a_script_that_hangs_is_killed_with_children_that_ignore_sigterm_or_left_its_session(tmp_path: Path) -> None:
    body = """
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
children = [subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=away) for away in (False, True)]
pathlib.Path(args.json_output_file + ".pids").write_text(" ".join(str(c.pid) for c in children))
print("still loading", flush=True)
time.sleep(300)
"""
    folder = write_task(tmp_path / "task", body)
    with pytest.raises(EvaluationError, match="did not end within 3 s") as caught:
        evaluate(folder, timeout_s=3)
    assert "still loading" in caught.value.next
    assert_gone(tmp_path / "out" / "score.json.pids")


def test_children_left_by_a_script_that_ended_well_are_killed_too(tmp_path: Path) -> None:
    body = f"""
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
pathlib.Path(args.json_output_file + ".pids").write_text(str(child.pid))
{GOOD}
"""
    assert evaluate(write_task(tmp_path / "task", body)).score == 0.25
    assert_gone(tmp_path / "out" / "score.json.pids")


def assert_gone(pids: Path) -> None:
    numbers = [int(n) for n in pids.read_text().split()]
    assert numbers
    for number in numbers:
        assert not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE


def test_a_person_can_stop_it(tmp_path: Path) -> None:
    folder, stop = write_task(tmp_path / "task", "time.sleep(300)"), threading.Event()
    threading.Timer(0.5, stop.set).start()
    request = Request(model_path="m", output_folder=str(tmp_path / "out"), timeout_s=200)
    started = time.monotonic()
    with pytest.raises(EvaluationError, match="stopped"):
        run_benchmark(load_task(folder), request, stop=stop)
    assert time.monotonic() - started < 100  # far from the 200 s it was given


def test_a_script_that_edits_itself_is_named_and_put_back(tmp_path: Path) -> None:
    body = f"pathlib.Path(__file__).write_text('raise SystemExit')\n{GOOD}"
    folder = write_task(tmp_path / "task", body)
    before = (folder / "evaluate.py").read_text()
    with pytest.raises(EvaluationError, match=r"while it ran: changed evaluate\.py") as caught:
        evaluate(folder)
    assert caught.value.where.endswith("evaluate.py")
    assert (folder / "evaluate.py").read_text() == before


def test_edits_between_two_evaluations_are_found_against_the_first_record(tmp_path: Path) -> None:
    folder = write_task(tmp_path / "task")
    task = load_task(folder)
    guard = guards.record(task, tmp_path / "guard")
    (folder / "templates" / "qwen3.jinja").write_text("easier")
    (folder / "templates" / "llama.jinja").write_text("new")
    (folder / "json.py").write_text("dumps = lambda x: '{\"accuracy\": 1}'")
    (folder / "my_training.py").write_text("print('work of the agent, no harm')")
    assert guards.record(task, tmp_path / "guard") == guard  # a second record does not launder the change
    request = Request(model_path="m", output_folder=str(tmp_path / "out"))
    with pytest.raises(EvaluationError, match="before it ran") as caught:
        run_benchmark(task, request, guard=guard)
    for change in (r"changed templates/qwen3.jinja", "added templates/llama.jinja", "added json.py"):
        assert change in str(caught.value)
    assert (folder / "my_training.py").exists()
    assert not (folder / "json.py").exists()
    assert (tmp_path / "guard" / "added" / "json.py").exists()
    assert run_benchmark(task, request, guard=guard).score == 0.25


def test_two_scores_of_the_same_evaluation_have_the_same_digest(tmp_path: Path) -> None:
    first, second = write_task(tmp_path / "a" / "task"), write_task(tmp_path / "b" / "task")
    assert evaluate(first).digest == evaluate(second).digest
    third = write_task(tmp_path / "c" / "task", GOOD + "  # eased")
    assert evaluate(third).digest != evaluate(first).digest


def test_a_stale_score_is_never_read(tmp_path: Path) -> None:
    folder = write_task(tmp_path / "task")
    evaluate(folder)
    script = (folder / "evaluate.py").read_text().replace(GOOD, "pass")
    (folder / "evaluate.py").write_text(script)
    request = Request(model_path="m", output_folder=str(tmp_path / "out"))
    fresh = guards.record(load_task(folder), tmp_path / "guard2")
    with pytest.raises(EvaluationError, match="wrote no score"):
        run_benchmark(load_task(folder), request, guard=fresh)


@pytest.mark.parametrize(
    ("raw", "metric", "key"),
    [
        ({"accuracy": 0.4, "f1": 0.5}, None, "accuracy"),
        ({"accuracy": 0.4, "f1": 0.5}, "f1", "f1"),
        ({"pass_at_1": 0.3, "stderr": 0.1, "n": 3, "seconds": 0.5}, None, "pass_at_1"),
        ({"score": 1, "model": "x"}, "absent", "score"),
        ({"win_rate": 0.3, "mean_length_ratio": 0.9}, None, "win_rate"),
        ({"results": {"accuracy": 0.4, "stderr": 0.1}, "config": {"limit": 5}}, None, "results.accuracy"),
        (
            {"results": {"gsm8k": {"exact_match": 0.4}}, "seed": 1},
            "results.gsm8k.exact_match",
            "results.gsm8k.exact_match",
        ),
    ],
)
def test_the_key_of_the_score(raw: dict[str, object], metric: str | None, key: str) -> None:
    assert pick_score(raw, metric, Path("f"))[0] == key


def test_one_name_in_two_places_is_no_clear_score() -> None:
    with pytest.raises(EvaluationError, match="several numbers"):
        pick_score({"easy": {"score": 0.4}, "hard": {"score": 0.1}}, None, Path("f"))


def test_the_flags_of_the_contract_are_given_as_the_script_spells_them(tmp_path: Path) -> None:
    folder = write_task(tmp_path / "my task ä")
    script = (folder / "evaluate.py").read_text()
    other = script.replace("--model-path", "--model_path").replace("--json-output-file", "--output").replace(
        "args.json_output_file", "args.output"
    ).replace("--limit", "--num_samples")  # fmt: skip
    (folder / "evaluate.py").write_text(other)
    assert evaluate(folder).score == 0.25
    whole = write_task(tmp_path / "whole")
    (whole / "evaluate.py").write_text("\n".join(line for line in script.splitlines() if "--limit" not in line))
    request = Request(model_path="m", output_folder=str(tmp_path / "out"))
    assert run_benchmark(load_task(whole), request).score == 0.25, "a script without a limit measures all samples"


def test_a_model_path_that_names_a_family_is_noted(tmp_path: Path) -> None:
    folder = write_task(tmp_path / "task", f"template = 'q' if 'qwen' in args.model_path else 'other'\n{GOOD}")
    request = Request(model_path=str(tmp_path / "my-qwen-runs" / "m"), output_folder=str(tmp_path / "out"))
    assert any("qwen" in note for note in run_benchmark(load_task(folder), request).notes)


def test_a_measurement_goes_on_with_the_evaluation_put_back_and_tells_it(tmp_path: Path) -> None:
    folder = write_task(tmp_path / "task")
    task, told = load_task(folder), []
    guard = guards.record(task, tmp_path / "guard")
    (folder / "evaluate.py").write_text((folder / "evaluate.py").read_text().replace("0.25", "0.99"))
    request = Request(model_path="m", output_folder=str(tmp_path / "out"))
    assert measure_guarded(task, request, guard, told.append).score == 0.25
    assert "changed evaluate.py" in told[0]
    again = f"pathlib.Path(__file__).write_text('raise SystemExit')\n{GOOD}"
    twice = load_task(write_task(tmp_path / "twice", again))
    with pytest.raises(EvaluationError, match="while it ran"):
        measure_guarded(twice, request, guards.record(twice, tmp_path / "guard-2"), told.append)


def test_a_changed_package_of_the_evaluation_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "scorer_of_this_test"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("LIMIT = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    task = load_task(write_task(tmp_path / "task", f"import scorer_of_this_test\n{GOOD}"))
    guard = guards.record(task, tmp_path / "guard")
    assert guards.changed_packages(guard) == []
    (package / "__init__.py").write_text("LIMIT = 2\n")  # the same size: the change time tells
    assert guards.changed_packages(guard) == ["scorer_of_this_test"]


def test_a_package_that_is_changed_while_it_runs_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "other_scorer_of_this_test"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("LIMIT = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    writes = f"pathlib.Path({str(package / '__init__.py')!r}).write_text('LIMIT = 2\\n')\n"
    task = load_task(write_task(tmp_path / "task", f"if 0: import other_scorer_of_this_test\n{writes}{GOOD}"))
    guard, told = guards.record(task, tmp_path / "guard"), []
    measure_guarded(task, Request(model_path="m", output_folder=str(tmp_path / "out")), guard, told.append)
    assert told == ["Packages that the evaluation imports were changed while it ran: other_scorer_of_this_test"]
