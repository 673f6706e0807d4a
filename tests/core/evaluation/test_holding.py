"""A task's evaluate.py gets no secret it has no use for, no model whose code nobody approved, and, if the task says so, no more
than its task, the model and a place for its score."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from foreign import GOOD, write_task

from core.compute.confinement import probe
from core.errors import EvaluationError, JobError
from core.evaluation.benchmark import BenchmarkResult, Request, run_benchmark
from core.evaluation.holding import plain_environment
from core.evaluation.prompting import Decoding, Prompting
from core.final_model import promote_folder
from core.tasks import load_task

SECRETS = {
    "OPENAI_API_KEY": "sk-judge-of-somebody",
    "WANDB_API_KEY": "wandb-of-somebody",
    "HF_TOKEN": "hf_reads_gated_data",
}
HELD = "evaluate_held = true\n"


def evaluate(folder: Path, model: Path, **more: object) -> BenchmarkResult:
    out = folder.parent / "out"
    return run_benchmark(
        load_task(folder), Request(model_path=str(model), output_folder=str(out), timeout_s=60, **more)
    )  # type: ignore[arg-type]


def model_in(folder: Path, *, auto_map: bool = False) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "m.M"}} if auto_map else {}))
    (folder / "model.safetensors").write_text("w")
    return folder


def test_secrets_go_in_only_where_the_evaluation_names_them(tmp_path: Path) -> None:
    environ = SECRETS | {"PATH": "/bin", "TOKENIZERS_PARALLELISM": "false", "SSH_KEY_FILE": "/root/.ssh/id"}
    plain = load_task(write_task(tmp_path / "plain"))
    assert plain_environment(plain, environ).keys() == environ.keys() - {"OPENAI_API_KEY", "WANDB_API_KEY"}
    judged = load_task(write_task(tmp_path / "judged", f"key = os.environ['OPENAI_API_KEY']\n{GOOD}"))
    assert "OPENAI_API_KEY" in plain_environment(judged, environ)
    assert "WANDB_API_KEY" not in plain_environment(judged, environ)
    named = load_task(write_task(tmp_path / "named", toml='evaluate_env = ["WANDB_API_KEY"]\n'))
    assert "WANDB_API_KEY" in plain_environment(named, environ)


def test_the_script_really_does_not_see_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    body = f"(out.parent / 'seen.json').write_text(json.dumps(dict(os.environ)))\n{GOOD}"
    evaluate(write_task(tmp_path / "task", body), model_in(tmp_path / "model"))
    seen = (tmp_path / "out" / "seen.json").read_text()
    assert SECRETS["OPENAI_API_KEY"] not in seen
    assert SECRETS["WANDB_API_KEY"] not in seen


def test_a_model_with_code_that_nobody_approved_never_reaches_it(tmp_path: Path) -> None:
    task = write_task(tmp_path / "task", f"(out.parent / 'ran').touch()\n{GOOD}")
    model = model_in(tmp_path / "model", auto_map=True)
    with pytest.raises(EvaluationError, match=r"not started: .*trust_remote_code"):
        evaluate(task, model, trusted=())
    assert not (tmp_path / "out" / "ran").exists()
    assert evaluate(task, model, trusted=("remote_code",)).score == 0.25
    assert evaluate(task, model_in(tmp_path / "plain"), trusted=()).score == 0.25


def test_a_checkpoint_into_which_a_script_put_code_is_not_promoted(tmp_path: Path) -> None:
    source = model_in(tmp_path / "job", auto_map=True)
    target = model_in(tmp_path / "final_model")
    with pytest.raises(JobError, match="not promoted"):
        promote_folder(str(source), target, Decoding(max_new_tokens=8), [], Prompting(), ())
    assert "auto_map" not in (target / "config.json").read_text(), "what stood there stands there still"
    assert not (tmp_path / "final_model.new").exists()


HOSTILE = """
import socket
tried = {}
def attempt(name, do):
    try: do(); tried[name] = "got through"
    except OSError as error: tried[name] = type(error).__name__
SECRET, OUTSIDE, PORT = json.loads(pathlib.Path("where.json").read_text())
attempt("read a key", lambda: open(SECRET).read())
attempt("write outside", lambda: open(OUTSIDE + "/new", "w"))
attempt("write into the task", lambda: open("planted.py", "w"))
attempt("write into the model", lambda: open(args.model_path + "/planted", "w"))
attempt("reach the network", lambda: socket.create_connection(("127.0.0.1", PORT), 2))
open(args.model_path + "/config.json").read()
pathlib.Path("templates/qwen3.jinja").read_text()
import tempfile; tempfile.NamedTemporaryFile()
out.write_text(json.dumps({"accuracy": 0.25, "n": 4, "tried": tried}))
"""


def test_where_the_task_says_so_it_is_held_and_still_gives_its_score(tmp_path: Path) -> None:
    if probe().level == "limits":
        pytest.skip(f"nothing here hides files: {probe().reason}")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "id_rsa").write_text("a key")
    model = model_in(tmp_path / "model")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = write_task(tmp_path / "task", HOSTILE, toml=HELD)
        where = [str(tmp_path / "home" / "id_rsa"), str(tmp_path / "home"), listener.getsockname()[1]]
        (task / "where.json").write_text(json.dumps(where))
        result = evaluate(task, model)
    assert (result.score, result.n, result.sandbox) == (0.25, 4, probe().level)
    assert "got through" not in result.raw["tried"].values(), result.raw["tried"]
    assert len(result.raw["tried"]) == 5


def test_a_held_one_that_hangs_is_ended_at_its_time(tmp_path: Path) -> None:
    task = write_task(tmp_path / "task", "time.sleep(600)", toml=HELD)
    request = Request(model_path="m", output_folder=str(tmp_path / "out"), timeout_s=2)
    with pytest.raises(EvaluationError):
        run_benchmark(load_task(task), request)
