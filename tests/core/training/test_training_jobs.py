"""Real trainings of a tiny model: what they stream, what they leave, how they end."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from core.agent.foreign import held_job
from core.compute.confinement import probe
from core.compute.local import LocalCompute
from core.compute.spec import JobSpec
from core.errors import JobError, UsageError
from core.evaluation.verify import VerifierSpec
from core.training.diagnose_file import diagnose_file
from core.training.spec import LoraSpec, RewardSpec, TrainSpec, write_spec
from tests.core.training.conftest import Lab, read_stream, series
from tests.speed import SLOWNESS

ROOT = Path(__file__).resolve().parents[3]


def spec_for(lab: Lab, **values: object) -> TrainSpec:
    common = {
        "kind": "sft", "model": str(lab.trained), "data": str(lab.data), "lr": 1e-3, "max_steps": 10, "batch_size": 32,
        "threads": 1, "eval_samples": 20, "max_completion_length": 6,
    }  # fmt: skip
    return TrainSpec(**(common | values))  # type: ignore[arg-type]


def run_here(folder: Path, spec: TrainSpec) -> Path:
    """Run a job in this process: it spares the imports."""
    path = write_spec(folder, spec)
    importlib.import_module(f"core.training.{spec.kind}").main(str(path))
    return folder


def test_sft_learns_and_leaves_a_complete_model(lab: Lab) -> None:
    losses = series(lab.job, "loss")
    assert losses[-1] < 0.6 * losses[0]
    assert series(lab.job, "dev_ended")[-1] == 1.0  # it learnt to stop
    assert len(losses) >= 30
    names = {p.name for p in lab.trained.iterdir()}
    assert {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
    } <= names
    assert (lab.trained / "tokenizer.json").read_bytes() == (lab.base / "tokenizer.json").read_bytes()
    assert not any(p.is_symlink() for p in lab.trained.rglob("*"))


def test_the_stream_has_its_plan_first_and_its_result_last(lab: Lab) -> None:
    rows = read_stream(lab.job)
    kinds = [r["kind"] for r in rows]
    assert rows[kinds.index("plan")]["max_steps"] == 90
    assert kinds.index("plan") < kinds.index("metric")
    result = rows[-1]
    assert (result["kind"], result["status"], result["steps"]) == ("result", "finished", 90)
    assert result["dev_score"] == series(lab.job, "dev_score")[-1]
    assert not [k for r in rows if r["kind"] == "metric" for k in r["values"] if "profiling" in k]


def test_trackio_holds_the_same_curve(lab: Lab) -> None:
    import sqlite3

    with sqlite3.connect(lab.job / "trackio" / "lab.db") as database:
        stored = database.execute("select metrics from metrics").fetchall()
    assert len(stored) == sum(r["kind"] == "metric" for r in read_stream(lab.job))
    assert diagnose_file(lab.job / "trackio" / "lab.db").steps == 90


def test_a_healthy_sft_is_not_called_failing(lab: Lab) -> None:
    assert diagnose_file(lab.job).verdict == "healthy"


def test_grpo_streams_each_step_and_reports_each_reward(lab: Lab, tmp_path: Path) -> None:
    rewards = (
        RewardSpec(kind="verifier", verifier=VerifierSpec(kind="exact"), name="right"),
        RewardSpec(kind="format", pattern=r"\d+", weight=0.1, name="digits"),
        RewardSpec(kind="overlong", weight=0.5),
    )
    spec = spec_for(lab, kind="grpo", lr=1e-5, batch_size=64, num_generations=8, rewards=rewards, beta=0.01)
    folder = run_here(tmp_path / "g", spec)
    assert len(series(folder, "reward")) == 10
    right, digits = series(folder, "rewards/right/mean"), series(folder, "rewards/digits/mean")
    overlong = series(folder, "rewards/overlong/mean")
    total = [r + 0.1 * d + 0.5 * o for r, d, o in zip(right, digits, overlong, strict=True)]
    assert total == pytest.approx(series(folder, "reward"), abs=1e-4)
    assert len(series(folder, "kl")) == 10
    assert diagnose_file(folder).verdict == "healthy"


def test_a_reward_that_never_fires_is_hopeless_at_once(lab: Lab, tmp_path: Path) -> None:
    never = tmp_path / "never.py"
    never.write_text("def reward(prompt, completion, answer):\n    return 0.0\n")
    reward = RewardSpec(kind="python", function=f"{never}:reward")
    spec = spec_for(lab, kind="grpo", num_generations=8, rewards=(reward,), max_steps=8, check_rewards=False)
    (found,) = diagnose_file(run_here(tmp_path / "g", spec)).findings
    assert (found.kind, found.severity, found.first_step, found.hopeless) == ("no_learning_signal", "failing", 1, True)


def test_a_learning_rate_far_too_high_is_divergence(lab: Lab, tmp_path: Path) -> None:
    spec = spec_for(lab, kind="grpo", lr=0.02, max_grad_norm=100.0, batch_size=64, max_steps=16)
    found = {f.kind: f for f in diagnose_file(run_here(tmp_path / "g", spec)).findings}
    assert {"divergence", "reward_collapse", "entropy_collapse"} & {
        k for k, f in found.items() if f.severity == "failing"
    }
    sft = diagnose_file(run_here(tmp_path / "s", spec_for(lab, lr=0.3, max_steps=20)))
    assert "divergence" in {f.kind for f in sft.findings if f.severity == "failing"}


def test_a_reward_for_length_is_seen_as_hacking_or_runaway(lab: Lab, tmp_path: Path) -> None:
    long = tmp_path / "long.py"
    long.write_text("def reward(prompt, completion, answer):\n    return float(len(completion))\n")
    rewards = (RewardSpec(kind="python", function=f"{long}:reward"),)
    spec = spec_for(lab, kind="grpo", lr=1e-3, rewards=rewards, max_steps=24, batch_size=64, max_completion_length=12)
    kinds = {f.kind for f in diagnose_file(run_here(tmp_path / "g", spec)).findings if f.severity == "failing"}
    assert {"length_runaway", "reward_hacking"} & kinds


def test_broken_weights_are_non_finite(lab: Lab, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    broken.mkdir()
    for file in lab.trained.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = math.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    folder = run_here(tmp_path / "s", spec_for(lab, model=str(broken), max_steps=3, eval_samples=0))
    assert '"NaN"' in (folder / "metrics.jsonl").read_text()
    found = diagnose_file(folder).findings[0]
    assert (found.kind, found.hopeless) == ("non_finite", True)


def test_stop_by_control_ends_well_with_a_model(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "control").write_text("stop")
    run_here(folder, spec_for(lab))
    result = read_stream(folder)[-1]
    assert (result["status"], result["steps"]) == ("stopped", 1)
    assert (folder / "model" / "model.safetensors").is_file()


def test_checkpoint_by_control_can_be_resumed(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "control").write_text("checkpoint")
    run_here(folder, spec_for(lab, max_steps=4))
    (saved,) = [r for r in read_stream(folder) if r["kind"] == "checkpoint"]
    assert saved["step"] == 1
    again = run_here(tmp_path / "again", spec_for(lab, max_steps=4, resume_from=saved["path"]))
    steps = [r["step"] for r in read_stream(again) if r["kind"] == "metric" and "loss" in r["values"]]
    assert steps[0] == 2


def test_lora_leaves_merged_weights_and_the_adapter(lab: Lab, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = run_here(tmp_path / "s", spec_for(lab, lora=LoraSpec(r=4), lr=1e-2))
    assert (folder / "adapter" / "adapter_config.json").is_file()
    before, after = load_file(lab.trained / "model.safetensors"), load_file(folder / "model" / "model.safetensors")
    assert before.keys() == after.keys()
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not before[name].equal(after[name])
    assert before["model.embed_tokens.weight"].equal(after["model.embed_tokens.weight"])


def test_a_job_that_raises_exits_1_and_its_diagnosis_names_the_error(lab: Lab, tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def reward(prompt, completion, answer):\n    raise ValueError('the judge is out')\n")
    reward = RewardSpec(kind="python", function=f"{bad}:reward")
    spec = spec_for(lab, kind="grpo", rewards=(reward,), eval_samples=0)
    compute = LocalCompute(tmp_path)
    write_spec(tmp_path / "j", spec)
    compute.submit(JobSpec(job="j", kind="grpo", effect_id="e", folder=str(tmp_path / "j")))
    status = compute.wait("j", 120 * SLOWNESS)
    assert status.exit is not None
    assert (status.state, status.exit.exit_code, status.exit.reason) == ("failed", 1, "crashed")
    found = diagnose_file(tmp_path / "j").findings[0]
    assert found.kind == "crash"
    assert "the judge is out" in found.evidence[-1]


def test_its_own_time_limit_ends_a_job_with_a_saved_model(lab: Lab, tmp_path: Path) -> None:
    path = write_spec(tmp_path / "j", spec_for(lab, max_steps=100_000, time_limit_s=12.0, eval_every=0))
    job = [sys.executable, "-P", str(ROOT / "core" / "training" / "sft.py"), str(path)]  # a recipe stands alone
    subprocess.run(job, check=True, timeout=60 * SLOWNESS, cwd=tmp_path, capture_output=True)
    result = read_stream(tmp_path / "j")[-1]
    assert result["status"] == "time_limit"
    assert 0 < result["steps"] < 100_000
    assert (tmp_path / "j" / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"model": "/no/such/model"}, 3, "no such model folder"),
        ({"kind": "no_such_kind"}, 2, "unknown kind of job"),
        ({"learning_rate": 1.0}, 2, "learning_rate"),
        ({"data": "/no/such/data"}, 3, "no train.jsonl"),
        ({"kind": "grpo", "batch_size": 30}, 2, "no multiple of num_generations"),
    ],
)
def test_a_wrong_spec_is_said_in_one_message(lab: Lab, tmp_path: Path, change: dict, code: int, said: str) -> None:
    spec = msgspec.to_builtins(spec_for(lab)) | change
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    job = [sys.executable, "-P", str(ROOT / "intern_tui" / "job.py"), str(tmp_path / "spec.json")]
    done = subprocess.run(job, capture_output=True, text=True, timeout=60 * SLOWNESS)
    assert done.returncode == code
    assert said in done.stderr


def test_a_recipe_stands_alone_in_an_empty_folder_and_says_what_is_wrong_in_one_line(lab: Lab, tmp_path: Path) -> None:
    empty, job = tmp_path / "empty", tmp_path / "job"
    empty.mkdir()
    job.mkdir()
    spec = {"kind": "sft", "model": str(lab.trained), "data": str(lab.data), "max_steps": 2, "batch_size": 8, "threads": 1,
            "eval_samples": 8, "max_completion_length": 6}  # fmt: skip
    path = job / "spec.json"

    def alone(recipe: str, *arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-P", str(ROOT / "core" / "training" / f"{recipe}.py"), *arguments]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(empty)}
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    path.write_text(json.dumps(spec))
    assert alone("sft", str(path))[0] == 0
    assert (job / "model" / "model.safetensors").is_file()
    assert read_stream(job)[-1]["status"] == "finished"
    for wrong, said in (
        (alone("dpo", str(path)), "the spec is for sft"),
        (alone("sft"), "Give the path of a spec.json"),
        (alone("sft", str(tmp_path / "nowhere.json")), "cannot read the spec"),
    ):
        assert wrong[0] == 2
        assert said in wrong[1].splitlines()[-1]
        assert "Traceback" not in wrong[1]


def test_a_script_of_ones_own_runs_under_the_same_contract(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys, pathlib\nprint(sys.argv[1], pathlib.Path.cwd())\n")
    (tmp_path / "spec.json").write_text(json.dumps({"kind": "script", "script": "mine.py"}))
    job = [sys.executable, "-P", str(ROOT / "intern_tui" / "job.py"), str(tmp_path / "spec.json")]
    done = subprocess.run(job, capture_output=True, text=True, timeout=60 * SLOWNESS, cwd="/")
    assert done.stdout.split() == [str(tmp_path / "spec.json"), str(tmp_path)]


def pairs_of(lab: Lab, folder: Path) -> Path:
    """The lab's sums as pairs: the right answer against one that is off by one."""
    folder.mkdir()
    for name in ("train", "dev"):
        rows = [json.loads(line) for line in (lab.data / f"{name}.jsonl").read_text().splitlines()]
        lines = [json.dumps(r | {"chosen": r["answer"], "rejected": str(int(r["answer"]) + 1)}) for r in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return folder


def test_dpo_learns_to_prefer_the_better_answer(lab: Lab, tmp_path: Path) -> None:
    spec = spec_for(
        lab, kind="dpo", lr=6e-4, data=str(pairs_of(lab, tmp_path / "pairs")), max_steps=25, eval_samples=20
    )
    folder = run_here(tmp_path / "d", spec)
    assert series(folder, "loss")[0] == pytest.approx(math.log(2), abs=0.02)
    assert series(folder, "rewards/margins")[0] == pytest.approx(0, abs=1e-3)
    assert sum(series(folder, "rewards/margins")[-10:]) / 10 > 0.01  # a row alone is noise
    assert len(series(folder, "dev_score")) >= 2
    assert (folder / "model" / "model.safetensors").is_file()
    found = diagnose_file(folder)
    assert (found.trainer, found.verdict) == ("dpo", "healthy"), found


def test_a_reward_model_orders_held_out_pairs(lab: Lab, tmp_path: Path) -> None:
    spec = spec_for(
        lab, kind="reward", lr=3e-3, data=str(pairs_of(lab, tmp_path / "pairs")), max_steps=40, eval_samples=60
    )
    folder = run_here(tmp_path / "r", spec)
    config = json.loads((folder / "model" / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForSequenceClassification"]
    assert series(folder, "loss")[-1] < series(folder, "loss")[0]
    assert len(series(folder, "dev_score")) >= 2


def test_rejection_sampling_keeps_only_what_the_verifier_accepts(lab: Lab, tmp_path: Path) -> None:
    spec = spec_for(lab, kind="rejection", num_generations=4, lr=1e-4, keep_a_prompt=1, eval_samples=10)
    folder = run_here(tmp_path / "x", spec)
    gold = {r["prompt"]: r["answer"] for r in map(json.loads, (lab.data / "train.jsonl").read_text().splitlines())}
    kept = [json.loads(line) for line in (folder / "accepted" / "train.jsonl").read_text().splitlines()]
    assert kept
    assert all(gold[row["prompt"]] == row["answer"] for row in kept)
    assert len({row["prompt"] for row in kept}) == len(kept)
    assert any("wrong" in r["text"] and "accepted" in r["text"] for r in read_stream(folder) if r["kind"] == "note")


def test_pairs_without_a_rejected_answer_are_an_error_that_names_the_line(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"line 1.*rejected"):
        run_here(tmp_path / "d", spec_for(lab, kind="dpo"))


def test_qlora_without_a_gpu_says_so(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="QLoRA needs a GPU"):
        run_here(tmp_path / "q", spec_for(lab, lora=LoraSpec(quantize="nf4"), device="cpu"))


@pytest.mark.parametrize(("value", "why"), [("0.0", "never fires"), ("1.0", "always fires")])
def test_a_reward_that_never_or_always_fires_is_refused_before_the_training(
    lab: Lab, tmp_path: Path, value: str, why: str
) -> None:
    flat = tmp_path / "flat.py"
    flat.write_text(f"def reward(prompt, completion, answer):\n    return {value}\n")
    reward = RewardSpec(kind="python", function=f"{flat}:reward")
    with pytest.raises(JobError, match=why):
        run_here(tmp_path / "g", spec_for(lab, kind="grpo", num_generations=8, rewards=(reward,), max_steps=8))


@pytest.mark.parametrize(
    ("kind", "weight", "refused"), [("format", 1.0, True), ("format", 0.0, False), ("overlong", 1.0, False)]
)
def test_one_of_several_rewards_that_never_fires_is_refused_by_its_name(
    lab: Lab, tmp_path: Path, kind: Literal["format", "overlong"], weight: float, refused: bool
) -> None:
    right = RewardSpec(kind="verifier", verifier=VerifierSpec(kind="exact"), name="right")
    other = RewardSpec(kind=kind, pattern="<think>.*</think>.*", weight=weight, name="thinks")
    spec = spec_for(
        lab, kind="grpo", lr=1e-5, num_generations=8, rewards=(right, other), max_steps=1, max_completion_length=20
    )
    if refused:
        with pytest.raises(JobError, match=r"thinks never fires: 0 for every answer.*only the other"):
            run_here(tmp_path / "g", spec)
    else:
        assert len(series(run_here(tmp_path / "g", spec), "reward")) == 1


def test_how_often_a_reward_fires_on_the_base_is_noted(lab: Lab, tmp_path: Path) -> None:
    spec = spec_for(lab, kind="grpo", lr=1e-5, batch_size=32, num_generations=8, max_steps=2)
    notes = [r["text"] for r in read_stream(run_here(tmp_path / "g", spec)) if r["kind"] == "note"]
    assert any("rewards on the base: verifier: fires on" in text for text in notes)


@pytest.mark.skipif(probe().level == "limits", reason=f"only limits hold here: {probe().reason}")
def test_a_training_with_the_brains_own_reward_runs_held_and_streams_as_any_other(lab: Lab, tmp_path: Path) -> None:
    workspace, folder = tmp_path / "workspace", tmp_path / "jobs" / "j"
    workspace.mkdir()
    (tmp_path / "secret").write_text("a token of somebody")
    reward = f"def short(prompt, completion, answer):\n    try:\n        open({str(tmp_path / 'secret')!r})\n    except OSError:\n        return -float(len(completion))\n    return 100.0\n"
    (workspace / "mine.py").write_text(reward)
    spec = spec_for(
        lab, kind="grpo", rewards=(RewardSpec(kind="python", function=f"{workspace}/mine.py:short", name="short"),),
        max_steps=2, batch_size=16, num_generations=4, eval_samples=8, check_rewards=False,
    )  # fmt: skip
    body = json.loads(write_spec(folder, spec).read_bytes())
    compute = LocalCompute(tmp_path / "jobs")
    job = JobSpec(job="j", kind="grpo", effect_id="e", folder=str(folder), time_limit_s=200)
    compute.submit(held_job(job, body, workspace))
    status = compute.wait("j", 240 * SLOWNESS)
    assert status.state == "done", compute.logs("j").text[-3000:]
    assert max(series(folder, "rewards/short/mean")) <= 0, "the reward function read what it must not"
    assert Path(read_stream(folder)[-1]["model"]) == folder / "held" / "model"
    assert (folder / "held" / "model" / "model.safetensors").is_file()


OWN_SCRIPT = """
import json, pathlib, sys
sys.path.insert(0, {root!r})
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer
from core.training.callback import InternCallback
from core.training.stream import Stream

torch.set_num_threads(1)
spec = json.loads(pathlib.Path(sys.argv[1]).read_text())
folder = pathlib.Path(sys.argv[1]).parent
rows = [json.loads(line) for line in open(spec["data"] + "/train.jsonl")]
stream = Stream(folder)
callback = InternCallback(stream)
trainer = SFTTrainer(
    AutoModelForCausalLM.from_pretrained(spec["model"]),
    args=SFTConfig(str(folder / "checkpoints"), max_steps=20_000, logging_steps=5, use_cpu=True, bf16=False,
                   save_strategy="no", report_to="none", disable_tqdm=True),
    train_dataset=Dataset.from_list([{{"prompt": r["prompt"], "completion": r["answer"]}} for r in rows]),
    processing_class=AutoTokenizer.from_pretrained(spec["model"]), callbacks=[callback],
)
trainer.train(resume_from_checkpoint=spec.get("resume_from"))
trainer.save_model(str(folder / "model"))
stream.result(status=callback.reason, model=str(folder / "model"), steps=trainer.state.global_step)
"""


@pytest.mark.skipif(probe().level == "limits", reason=f"only limits hold here: {probe().reason}")
def test_a_brains_own_training_script_checkpoints_stops_and_goes_on_when_asked(lab: Lab, tmp_path: Path) -> None:
    workspace, folder = tmp_path / "workspace", tmp_path / "jobs" / "j"
    workspace.mkdir()
    folder.mkdir(parents=True)
    (folder / "script.py").write_text(OWN_SCRIPT.format(root=str(ROOT)))
    body = {"kind": "script", "script": str(folder / "script.py"), "model": str(lab.trained), "data": str(lab.data)}
    (folder / "spec.json").write_text(json.dumps(body))
    compute = LocalCompute(tmp_path / "jobs")
    compute.submit(
        held_job(JobSpec(job="j", kind="script", effect_id="e", folder=str(folder), time_limit_s=600), body, workspace)
    )

    def wait_for(kind: str, steps: int = 0) -> dict:
        until = time.monotonic() + 120 * SLOWNESS
        while time.monotonic() < until and compute.inspect("j").state == "running":
            rows = read_stream(folder) if (folder / "metrics.jsonl").is_file() else []
            found = [r for r in rows if r["kind"] == kind and r.get("step", 0) > steps]
            if found:
                return found[-1]
            time.sleep(0.05)
        raise AssertionError(f"no {kind}: {compute.logs('j').text[-2000:]}")

    wait_for("metric")
    compute.ask_checkpoint("j")
    saved = wait_for("checkpoint")
    assert (Path(saved["path"]) / "trainer_state.json").is_file()
    compute.pause("j")
    compute.wait("j", 60 * SLOWNESS)
    compute.resume("j", {"resume_from": saved["path"]})
    wait_for("metric", steps=saved["step"] + 5)
    compute.cancel("j", grace_s=60 * SLOWNESS)
    result = read_stream(folder)[-1]
    assert (result["kind"], result["status"]) == ("result", "stopped")
    assert result["steps"] > saved["step"] + 5
    assert (Path(result["model"]) / "model.safetensors").is_file()
