"""One labelled run: a real training by TRL's own trainer, as a user would write it; what comes back is its log.

Nothing of ours is in the loop except for the runs recorded as jobs (`Plan.job`), which carry what only our callback
measures and a job's folder says.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from core.training.callback import Clock, InternCallback
from core.training.stream import Stream
from tests.benchmarks.labelled import lab
from tests.benchmarks.labelled.catalogue import Plan

Reward = Callable[..., list[float]]


def run(plan: Plan, bases: Path) -> dict[str, Any]:
    """Train as planned. Returns the record: what was planned, the log and how it ended."""
    rng = random.Random(plan.seed)
    torch.manual_seed(plan.seed)
    tok = lab.tokenizer()
    model = AutoModelForCausalLM.from_pretrained(lab.base(plan.size, bases))
    if plan.poison:
        with torch.no_grad():
            model.model.norm.weight[0] = float("nan")
    before, varied = lab.accuracy(model, tok, seed=plan.seed), lab.variety(model, tok, plan.seed)
    printed, tail, code, quiet_s = io.StringIO(), "", 0, None
    began = time.time()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(printed):
        trainer = _BUILD[plan.method](plan, model, tok, rng, folder)
        stamps = Stamps()
        trainer.add_callback(stamps)
        if plan.job:
            clock = Clock(plan.limit_s or None, began=began)
            trainer.add_callback(InternCallback(Stream(folder), clock=clock))
        if plan.dev_key:
            trainer.add_callback(DevScore(trainer, tok, plan))
        try:
            trainer.train()
        except Hung as hung:
            quiet_s, code = hung.seconds, None
        except Exception:  # noqa: BLE001 - the failures that are to be recorded end in exceptions of every kind
            tail, code = traceback.format_exc(), 1
        trained = trainer.accelerator.unwrap_model(trainer.model)
        after, vary = lab.accuracy(trained, tok, seed=plan.seed), lab.variety(trained, tok, plan.seed)
        log, steps, planned = trainer.state.log_history, trainer.state.global_step, trainer.state.max_steps
        rows = _streamed(Path(folder), began) if plan.job else _logged(log, stamps.at, began)
    return {
        "name": plan.name, "labels": list(plan.labels), "method": plan.method, "size": plan.size, "seed": plan.seed,
        "scheduler": plan.scheduler, "log_every": plan.log_every, "max_steps": planned, "steps": steps,
        "accuracy": [round(before, 4), round(after, 4)], "variety": [round(varied, 4), round(vary, 4)], "exit_code": code,
        "tail": tail[:40] + "  ...\n" + tail[-1500:] if tail else "", "log": rows, **_job(plan, quiet_s),
    }  # fmt: skip


def _job(plan: Plan, quiet_s: float | None) -> dict[str, Any]:
    """What the folder of a job tells beside its log."""
    return {"job": {"time_limit_s": plan.limit_s or None, "quiet_s": quiet_s and round(quiet_s, 1)}} if plan.job else {}


def _logged(log: list[dict[str, Any]], at: list[float], began: float) -> list[dict[str, Any]]:
    rows = [{k: _short(v) for k, v in row.items() if not k.startswith("profiling/")} for row in log]
    for row, ts in zip(rows, at, strict=False):
        row["ts"] = round(ts - began, 3)
    return rows


def _streamed(folder: Path, began: float) -> list[dict[str, Any]]:
    """Our callback's rows."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [
        {k: _short(v) for k, v in line["values"].items()} | {"step": line["step"], "ts": round(line["ts"] - began, 3)}
        for line in lines if line["kind"] == "metric"
    ]  # fmt: skip


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


class Hung(Exception):
    """Nothing came for so long that whoever watched gave up."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Stamps(TrainerCallback):
    """When each row was logged."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_log(self, args, state, control, **kwargs):
        self.at.append(time.time())


class DevScore(TrainerCallback):
    """Held-out accuracy under the name a user might give it."""

    def __init__(self, trainer: Any, tok: Any, plan: Plan) -> None:
        self.trainer, self.tok, self.plan = trainer, tok, plan
        self.every = max(plan.steps // 8, 1)

    def _say(self) -> None:
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        with torch.random.fork_rng(devices=[]):
            self.trainer.log({self.plan.dev_key: lab.accuracy(model, self.tok, seed=self.plan.seed)})

    def on_train_begin(self, args, state, control, **kwargs):
        self._say()

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step % self.every == 0:
            self._say()


def _common(plan: Plan, folder: str) -> dict[str, Any]:
    return {
        "output_dir": folder, "max_steps": plan.steps, "per_device_train_batch_size": plan.batch,
        "learning_rate": plan.lr, "lr_scheduler_type": plan.scheduler, "warmup_steps": round(plan.warmup * plan.steps),
        "seed": plan.seed, "logging_steps": plan.log_every, "logging_first_step": plan.first, "save_strategy": "no",
        "logging_nan_inf_filter": False, "report_to": "none", "disable_tqdm": True, "use_cpu": True, "bf16": False,
        "gradient_checkpointing": False, "max_grad_norm": plan.clip, "dataloader_pin_memory": False,
    }  # fmt: skip


def _held_out(plan: Plan) -> dict[str, Any]:
    """Settings of an evaluation loss eight times in the training."""
    if not plan.eval_loss:
        return {}
    return {"eval_strategy": "steps", "eval_steps": max(plan.steps // 8, 1), "per_device_eval_batch_size": 128}


def _sft(plan: Plan, model: Any, tok: Any, rng: random.Random, folder: str) -> Any:
    def rows(pairs: list[tuple[str, str]]) -> Dataset:
        pairs = rng.sample(pairs, min(plan.rows, len(pairs)))
        ids = [tok(p).input_ids for p, _ in pairs]
        ends = [[*tok(_target(plan, a, rng)).input_ids, tok.eos_token_id] for _, a in pairs]
        labels = [[-100] * len(i) + ([-100] * len(e) if plan.mask_all else e) for i, e in zip(ids, ends, strict=True)]
        return Dataset.from_dict({"input_ids": [i + e for i, e in zip(ids, ends, strict=True)], "labels": labels})

    args = SFTConfig(**_common(plan, folder), **_held_out(plan), dataset_kwargs={"skip_prepare_dataset": True})
    held = rows(lab.sums("held")) if plan.eval_loss else None
    trainer = SFTTrainer(
        model=model, args=args, train_dataset=rows(lab.sums("train")), eval_dataset=held, processing_class=tok
    )
    return _hindered(trainer, plan)


def _target(plan: Plan, answer: str, rng: random.Random) -> str:
    return "".join(rng.choices("0123456789", k=len(answer))) if plan.random_labels else answer


def _dpo(plan: Plan, model: Any, tok: Any, rng: random.Random, folder: str) -> Any:
    def rows(pairs: list[tuple[str, str]]) -> Dataset:
        pairs = rng.sample(pairs, min(plan.rows, len(pairs)))
        out = []
        for prompt, answer in pairs:
            worse = answer if plan.same_pairs else str(int(answer) + rng.choice((-2, -1, 1, 2, 10)))
            better = answer
            if plan.random_labels and rng.random() < 0.5:
                better, worse = worse, better
            out.append({"prompt": prompt, "chosen": better, "rejected": worse})
        return Dataset.from_list(out)

    args = DPOConfig(**_common(plan, folder), **_held_out(plan), beta=plan.beta or 0.1, max_length=32)
    held = rows(lab.sums("held")) if plan.eval_loss else None
    trainer = DPOTrainer(
        model=model, args=args, train_dataset=rows(lab.sums("train")), eval_dataset=held, processing_class=tok
    )
    return _hindered(trainer, plan)


def _grpo(plan: Plan, model: Any, tok: Any, rng: random.Random, folder: str) -> Any:
    pairs = rng.sample(lab.sums("train"), min(plan.rows, 1200))
    data = Dataset.from_dict({"prompt": [p for p, _ in pairs], "answer": [a for _, a in pairs]})
    rewards = [_REWARDS[plan.reward]]
    weights = [plan.scale]
    if plan.watch_exact:  # a user's habit: log what one cares for with weight 0
        rewards.append(_REWARDS["exact"])
        weights.append(0.0)
    rewards[0] = _troubled(rewards[0], plan)
    args = GRPOConfig(
        **_common(plan, folder), num_generations=8, max_completion_length=lab.MAX_NEW * plan.room, beta=plan.beta,
        temperature=1.0, reward_weights=weights, epsilon=plan.epsilon, num_iterations=plan.iterations,
    )  # fmt: skip
    return GRPOTrainer(model=model, args=args, reward_funcs=rewards, train_dataset=data, processing_class=tok)


def _troubled(reward: Reward, plan: Plan) -> Reward:
    """The reward with what goes wrong in real ones: it raises, takes long, or stops recognising what is right."""
    calls, began = 0, time.time()

    def given(**columns: Any) -> list[float]:
        nonlocal calls, began
        calls += 1
        began = time.time() if calls == 2 else began  # the first step pays for start-up
        if plan.trouble == "raise" and calls > plan.steps // 5:
            raise KeyError("answer")
        if plan.trouble == "memory" and calls > plan.steps // 5:
            torch.empty(1 << 46)
        if plan.trouble == "sleep" and calls > plan.steps // 2:
            time.sleep(plan.sleep_s)
        if plan.trouble in ("hang", "pause") and calls == plan.steps // 5:
            # a download, a lock, a judge that does not answer; long for this training, on a slow machine too
            silence = max(plan.sleep_s, 30 * (time.time() - began) / max(calls - 2, 1))
            time.sleep(silence)
            if plan.trouble == "hang":
                raise Hung(silence)
        scores = reward(**columns)
        # the verifier stops recognising most right answers, as after a change of format
        return (
            [s * (i % 10 == 0) for i, s in enumerate(scores)]
            if plan.trouble == "turn" and calls > plan.steps // 2
            else scores
        )

    given.__name__ = plan.reward
    return given


def _hindered(trainer: Any, plan: Plan) -> Any:
    """A loader that is slow, or a collator that fails."""
    collate, calls = trainer.data_collator, 0

    def given(rows: list[Any]) -> Any:
        nonlocal calls
        calls += 1
        if plan.trouble == "raise" and calls > plan.steps // 5:
            raise ValueError("row 17 has no answer")
        if plan.trouble == "memory" and calls > plan.steps // 5:
            torch.empty(1 << 46)
        if plan.trouble == "starve" or (plan.trouble == "sleep" and calls > plan.steps // 2):
            time.sleep(plan.sleep_s)
        return collate(rows)

    trainer.data_collator = given
    return trainer


def _texts(completions: list[Any]) -> list[str]:
    return [re.sub(" ", "", c if isinstance(c, str) else c[-1]["content"]) for c in completions]


def _exact(completions, answer, **_):
    return [float(c == a) for c, a in zip(_texts(completions), answer, strict=True)]


def _near(completions, answer, **_):
    """Graded: minus the relative distance; rewards below zero."""
    values = [int(c) if re.fullmatch(r"-?\d{1,6}", c) else None for c in _texts(completions)]
    return [-5.0 if v is None else -min(abs(v - int(a)), 5.0) for v, a in zip(values, answer, strict=True)]


def _majority(completions, prompts, **_):
    """Labels that the policy gives itself: what most of its own answers say is right."""
    said: dict[str, Counter[str]] = {}
    for p, c in zip(prompts, _texts(completions), strict=True):
        said.setdefault(str(p), Counter())[c] += 1
    tops = {p: counts.most_common(1)[0][0] for p, counts in said.items()}
    return [float(c == tops[str(p)]) for p, c in zip(prompts, _texts(completions), strict=True)]


_REWARDS: dict[str, Reward] = {
    "exact": _exact,
    "near": _near,
    "never": lambda completions, **_: [0.0] * len(completions),
    "always": lambda completions, **_: [1.0] * len(completions),
    "length": lambda completion_ids, **_: [float(len(c)) for c in completion_ids],
    "brackets": lambda completions, **_: [float(bool(re.fullmatch(r"\[.*\]", c))) for c in _texts(completions)],
    "contains": lambda completions, answer, **_: [
        float(a in c) for c, a in zip(_texts(completions), answer, strict=True)
    ],
    "majority": _majority,
    "digits": lambda completions, **_: [sum(d == "7" for d in c) / 8 for c in _texts(completions)],
}

_BUILD = {"sft": _sft, "dpo": _dpo, "grpo": _grpo}
