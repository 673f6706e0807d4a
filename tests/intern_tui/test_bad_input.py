"""Bad input gets one message that says what, where and what to do; a non-zero exit; and loses nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from core.tasks import POCKET
from tests.core.cli import Intern


@pytest.fixture
def intern(tmp_path: Path) -> Intern:
    return Intern(tmp_path / "home")


def task_folder(tmp_path: Path, evaluate: str) -> Path:
    folder = tmp_path / "task"
    shutil.copytree(POCKET / "addition", folder, ignore=shutil.ignore_patterns("evaluation_data", "task.toml"))
    (folder / "evaluate.py").write_text(evaluate)
    return folder


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["run", "--task", "pocket/adition"], 3, "pocket/addition"),
        (["run", "--task", "/no/such/folder"], 3, "does not exist"),
        (["run", "--brain", "gpt"], 2, "No brain is called 'gpt'"),
        (["run", "--brain", "hf:Qwen/Qwen3-8B"], 2, "HF_TOKEN"),
        (["run", "--model", "/no/model"], 3, "no model"),
        (["run", "--hours", "0"], 2, "--hours"),
        (["run", "--hours", "-1"], 2, "--hours"),
        (["run", "--hours", "nan"], 2, "--hours"),
        (["run", "--autonomy", "god"], 2, "tier"),
        (["replay", "last"], 3, "no runs yet"),
        (["events", "nothing", "--json"], 3, "no runs yet"),
        (["state", "last", "--json"], 3, "no runs yet"),
        (["diagnose", "/no/file"], 3, "/no/file"),
    ],
)
def test_one_message_says_what_where_and_what_next(intern: Intern, words: list[str], code: int, part: str) -> None:
    done = intern(*words)
    assert done.returncode == code, done.stderr
    assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert not list((intern.home / "runs").glob("*")) if (intern.home / "runs").exists() else True


def test_a_task_without_evaluate_py(intern: Intern, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = intern("run", "--task", str(tmp_path / "empty"))
    assert done.returncode == 3
    assert "no evaluate.py" in done.stderr


def test_a_model_without_tokenizer(intern: Intern, tmp_path: Path) -> None:
    shutil.copytree(POCKET / "addition" / "base", tmp_path / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "model" / name).unlink(missing_ok=True)
    done = intern("run", "--model", str(tmp_path / "model"))
    assert done.returncode == 3
    assert "tokenizer" in done.stderr


def test_no_terminal_and_no_command(intern: Intern) -> None:
    done = intern()
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where nobody may")
def test_a_read_only_home(intern: Intern) -> None:
    intern.home.mkdir(mode=0o555)
    done = intern("run")
    assert done.returncode == 4
    assert "INTERN_HOME" in done.stderr


def test_a_home_that_is_a_file(intern: Intern) -> None:
    intern.home.write_text("")
    done = intern("run")
    assert done.returncode == 4
    assert "INTERN_HOME" in done.stderr


CRASH = "raise SystemExit('the data set is gone')\n"
HANG = "import time\ntime.sleep(600)\n"
NAN = "import json, sys\njson.dump({'accuracy': float('nan')}, open(sys.argv[sys.argv.index('--json-output-file') + 1], 'w'))\n"
TORN = "import sys\nopen(sys.argv[sys.argv.index('--json-output-file') + 1], 'w').write('{\"accuracy\": 0.')\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "part"),
    [
        (CRASH, "the data set is gone"), (NAN, "accuracy"), (TORN, "score.json"),
        pytest.param(HANG, "evaluate.py", marks=pytest.mark.soak),  # minutes of waiting
    ],
)  # fmt: skip
def test_an_evaluation_without_a_score_ends_the_run_early_and_says_why(
    intern: Intern, tmp_path: Path, source: str, part: str
) -> None:
    folder = task_folder(tmp_path, source)
    done = intern("run", "--task", str(folder), "--hours", "0.015", "--plain", timeout=240)
    assert done.returncode == 1
    assert part in done.stdout
    events = intern.events()
    assert events[-1]["type"] == "run_finished"
    assert events[-1]["payload"]["status"] == "failed"
    assert intern("verify", "last").returncode == 0
