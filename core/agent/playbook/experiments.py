"""The playbook's workbench: what it knows so far, and how one experiment is carried out.

An experiment is a hypothesis, its jobs, one evaluation on the development split against the best model so far, and a
verdict by the interval of the paired difference. A failure that was diagnosed gets one remedy and one more try.
"""

from __future__ import annotations

import math
from typing import Any

from core.agent.playbook.model import Act, Call, Observation
from core.agent.playbook.remedies import first_remedy
from core.agent.playbook.search import Trial, best, best_score, ladder, last_score, next_rung
from core.agent.playbook.wishes import Wishes

STEPS = (
    ("read", "Read what is known"),
    ("data", "Inspect and prepare the data"),
    ("base", "Measure the base model"),
    ("sft", "Fine-tune: learning-rate ladder, then the best rate"),
    ("grpo", "GRPO on checked answers"),
    ("neighbours", "Fine-tune again at a higher rate"),
    ("labels", "Audit the labels with the trained model"),
    ("longer", "Train longer at a lower rate"),
    ("rft", "Train on the model's own checked answers"),
    ("finish", "Last evaluation and report"),
)

SMALL = 50_000_000
"""Below this many parameters two trainings share a machine's cores better than one uses them all."""


UNMEASURED_S = 25.0
"""Allowance for a job's start (imports, loading) before the first job has been measured; only a limit, never waited for."""


class Bench:
    """State of the policy; everything in it came from observations."""

    def __init__(self, seed: int, wishes: Wishes) -> None:
        self.seed = seed
        self.wishes = wishes
        self.settings: dict[str, dict[str, Any]] = {}
        self.concerns: dict[str, int] = {}
        self.groups: dict[str, int] = {}
        self.data = ""
        self.rows = 0
        self.files: list[str] = []
        self.baseline = 0.0
        self.best = 0.0
        self.reference = ""
        """Evaluation of the best model so far."""
        self.temperature: float | None = None
        self.last: dict[str, Trial] = {}
        self.gains: dict[str, float] = {}
        self.broken: dict[str, float] = {}
        """The lowest learning rate that failed, by method."""
        self.used_remedies: set[str] = set()
        self.change = ""
        self.statuses: dict[str, str] = {}
        self.number = 0
        self.params = 0
        self.cores = 1
        self.gpus = 0
        self.checkable = True
        self._left = 0.0
        self.overhead_s = 0.0
        """Seconds a job takes besides its train steps, measured."""

    # ---------------------------------------------------------------------------------------------------- the basics

    def call(self, tool: str, arguments: dict[str, Any], why: str = "") -> Act:
        """One tool call. Reads the time left from any observation that tells it."""
        observation: Observation = yield Call(tool, arguments, why)
        left = observation.get("seconds_left_for_research")
        if left is not None:
            self._left = float(left)
        return observation

    def take(self, brief: dict[str, Any]) -> None:
        """What the brief says."""
        self.files = list(brief["data_files"])
        self.params = int(brief["model"]["parameters"] or 0)
        self.cores = int(brief["machine"]["cores"])
        self.gpus = int(brief["machine"]["gpus"])
        self.checkable = bool(brief["verifier"])
        self._left = float(brief["budget"]["seconds_left_for_research"])

    def needs(self) -> list[str]:
        return ["demonstrations", "prompts", *(["answers_checkable"] if self.checkable else [])]

    def seconds_left(self) -> float:
        return self._left

    def plan(self, doing: str) -> Act:
        """Mark the step now being done; steps passed over are skipped."""
        self.statuses = {k: ("done" if v == "doing" else v) for k, v in self.statuses.items()}
        self.statuses[doing] = "doing"
        steps: list[dict[str, str]] = []
        for key, title in STEPS:
            status = self.statuses.get(key, "skipped" if doing == "finish" else "todo")
            steps.append({"id": key, "title": title, "status": status, "note": self._note(key)})
        yield from self.call("update_plan", {"steps": steps}, "")
        yield from self.call("budget", {}, "")

    def _note(self, key: str) -> str:
        if key == "base" and self.reference:
            return f"{100 * self.baseline:.1f} %"
        return f"{100 * self.gains[key]:+.1f}" if key in self.gains else ""

    def answer_wishes(self) -> Act:
        """Tell a person what was made of their words."""
        while self.wishes.unanswered:
            yield from self.call("note", {"content": self.wishes.unanswered.pop(0)}, "")

    def look_at_errors(self) -> Act:
        seen = yield from self.call(
            "read_wrong_answers", {"evaluation": self.reference, "limit": 12}, "Look at the wrong answers."
        )
        groups = seen.rows("groups")
        if groups:
            self.groups = {g["kind"]: int(g["count"]) for g in groups}
            text = "Wrong answers now: " + ", ".join(f"{n} {k.replace('_', ' ')}" for k, n in self.groups.items())
            yield from self.call("note", {"content": text, "kind": "lesson"}, "")

    # ---------------------------------------------------------------------------------------------------------- time

    def smallest_experiment_s(self) -> float:
        """Below this nothing can be trained and evaluated any more: two jobs' overhead and as much again for work."""
        return max(12.0, 3.0 * self.overhead_s)

    def fits(self, move: str) -> bool:
        if move == "sft":
            return self.seconds_left() > self.smallest_experiment_s()
        if move == "grpo":
            return self.checkable and self.seconds_left() > 2 * self.smallest_experiment_s()
        return "sft" in self.last and self.seconds_left() > self.smallest_experiment_s()

    @staticmethod
    def method_of(move: str) -> str:
        return move if move in ("grpo", "rft") else "sft"

    def slots(self) -> int:
        """How many small jobs run side by side."""
        if self.gpus:
            return self.gpus
        return self.cores if 0 < self.params < SMALL else 1

    # ---------------------------------------------------------------------------------------------------- experiments

    def begin(self, hypothesis: str, change: str) -> Act:
        self.number += 1
        name = f"experiment-{self.number}"
        self.change = change
        yield from self.call(
            "start_experiment", {"experiment": name, "hypothesis": hypothesis, "change": change}, hypothesis
        )
        return name

    def conclude(self, experiment: str, evaluation: str | None) -> Act:
        arguments = {"experiment": experiment} | ({"evaluation": evaluation} if evaluation else {})
        told = yield from self.call("conclude_experiment", arguments, "What did it show?")
        return told

    def promote(self, model: str, evaluation: dict[str, Any], why: str) -> Act:
        made = yield from self.call("promote", {"model": model, "evaluation": evaluation["evaluation"]}, why)
        return not made.error

    def value(self, method: str, name: str, default: float) -> float:
        """A recommended number: the middle of its range in the logarithm (plain middle where it may be zero)."""
        choice = self.settings.get(method, {}).get(name)
        if not choice or choice.get("low") is None:
            return default
        low, high = float(choice["low"]), float(choice["high"])
        return math.sqrt(low * high) if low > 0 else (low + high) / 2

    def base_settings(self, method: str) -> dict[str, Any]:
        """Settings of a full job from the recipe library, before the learning rate and the steps."""
        chosen: dict[str, Any] = {"seed": self.seed}
        batch = 2 ** round(math.log2(max(1.0, self.value(method, "batch", 32))))
        batch = max(1, min(batch, self.rows)) if method == "sft" else batch
        if method == "grpo":
            generations = int(2 ** round(math.log2(max(2.0, self.value(method, "generations", 8)))))
            chosen |= {"num_generations": generations, "temperature": self.value(method, "temperature", 1.0)}
            chosen |= {"beta": self.value(method, "beta", 0.0)}
            batch = max(generations, batch // generations * generations)
        chosen["batch_size"] = batch
        chosen["warmup_ratio"] = self.value(method, "warmup_ratio", 0.05)
        if self.wishes.lora:
            chosen["lora"] = {}
        return chosen

    def epochs(self, method: str) -> float:
        choice = self.settings.get(method, {}).get("epochs")
        return float(choice["high"]) if choice and choice.get("high") else 3.0

    # -------------------------------------------------------------------------------------------------------- trials

    def climb(self, method: str, experiment: str, start: str) -> Act:
        """A ladder of learning rates by short trials. Returns the best trial, or None if none worked."""
        known: dict[str, Any] = self.settings.get(method, {}).get("lr") or {}
        low, high = float(known.get("low") or 1e-5), float(known.get("high") or 1e-4)
        if self.wishes.lr is not None or self.wishes.no_ladder:
            lr = self.wishes.lr or math.sqrt(low * high)
            return Trial(lr, "", None, False, {**self.base_settings(method), "lr": lr})
        each = max(6.0, 0.07 * self.seconds_left() * self.slots() / 2)
        trials: list[Trial] = []
        rates = ladder(low, high, 3)
        bold = method == "sft"
        while rates:
            trials += yield from self._trials(method, experiment, start, rates, each, known.get("card", ""))
            extra = next_rung(trials, bold=bold)
            affordable = self.seconds_left() > 6 * each and len(trials) < 6
            rates = [extra] if extra is not None and affordable and extra not in [t.lr for t in trials] else []
        top = best(trials, bold=bold)
        broken = [t.lr for t in trials if t.failed]
        if broken:
            self.broken[method] = min(broken)
        scores = ", ".join(
            f"{t.lr:g}: {'failed' if t.failed or t.score is None else f'{100 * t.score:.1f} %'}" for t in sorted(trials)
        )
        words = f"{method} learning rates by short trials from {start}: {scores}" + (
            f"; best {top.lr:g}" if top else ""
        )
        yield from self.call("note", {"content": words, "kind": "lesson"}, "")
        if top is not None:
            self.last.setdefault(method, top)
        return top

    def _trials(self, method: str, experiment: str, start: str, rates: list[float], each: float, source: str) -> Act:
        settings = self.base_settings(method)
        one_epoch = -(-self.rows // int(settings["batch_size"]))
        steps = max(20, min(one_epoch, 150)) if method == "sft" else 40
        threads = max(1, self.cores // self.slots())
        jobs: dict[str, float] = {}
        for lr in rates:
            trial = {
                **settings,
                "lr": lr,
                "max_steps": steps,
                # Only runs whose rate has decayed can be compared (arXiv 2405.18392); a policy gradient keeps its rate.
                "scheduler": "cosine" if method == "sft" else "constant_with_warmup",
                "time_limit_s": each + (self.overhead_s or UNMEASURED_S),
            }
            trial |= {"threads": threads, "eval_every": max(5, steps // 3)}
            launched = yield from self.call(
                "train",
                {
                    "method": method,
                    "data": self.data,
                    "model": start,
                    "title": f"{method} trial, lr {lr:g}",
                    "settings": trial,
                    "experiment": experiment,
                },
                f"A short trial at {lr:g} ({source}).",
            )
            if launched.error:
                yield from self.call("note", {"content": f"The trial at {lr:g} could not start: {launched.error}"}, "")
                continue
            jobs[launched.get("job")] = lr
        if not jobs:
            return []
        waited = yield from self.call("wait_for_jobs", {"jobs": list(jobs)}, "")
        trials: list[Trial] = []
        for report in waited.rows("jobs"):
            yield from self._learn_from(report, method, experiment)
            failed = report["status"] in ("failed", "lost") or any(
                f["severity"] == "failing" for f in report["diagnosis"]
            )
            lr = jobs[report["job"]]
            trials.append(
                Trial(
                    lr,
                    report["job"],
                    last_score(report),
                    failed,
                    {**settings, "lr": lr},
                    report.get("seconds_per_step"),
                )
            )
        return trials

    def _learn_from(self, report: dict[str, Any], method: str, experiment: str) -> Act:
        """Measure the overhead of a job; for a failure record what is done about it."""
        step_s = report.get("seconds_per_step")
        if step_s and report.get("step"):
            self.overhead_s = max(self.overhead_s, min(60.0, report["seconds"] - step_s * report["step"]))
        settings = report.get("settings") or {"lr": report["last"].get("learning_rate")}
        for finding in report["diagnosis"]:
            if finding["severity"] != "failing":
                continue
            remedy = first_remedy(finding, settings, self.used_remedies)
            ladder_words = (
                "give this rung up; the ladder goes on below it"
                if not report.get("settings")
                else "give this setting up"
            )
            arguments = {
                "failure": finding["failure"],
                "remedy": remedy.words if remedy and report.get("settings") else ladder_words,
                "experiment": experiment,
            }
            if remedy and report.get("settings"):
                arguments |= {"change": remedy.change, "source": remedy.source}
            yield from self.call(
                "choose_remedy", arguments, f"{report['job']} failed: {finding['kind'].replace('_', ' ')}."
            )

    # ------------------------------------------------------------------------------------------------------ full jobs

    def full(self, method: str, experiment: str, trial: Trial, start: str, share: float) -> Act:
        """The long job, its evaluation, verdict and promotion. One more try with a remedy where it fails."""
        settings = {**trial.settings, "lr": self.wishes.lr or trial.settings["lr"], "threads": self.cores}
        report = None
        for attempt in range(2):
            report = yield from self._full_job(method, experiment, settings, trial, start, share)
            if report is None:
                break
            failing = [f for f in report["diagnosis"] if f["severity"] == "failing"]
            if report["status"] == "finished" and not failing:
                break
            remedy = first_remedy(failing[0], settings, self.used_remedies) if failing else None
            if remedy is None or attempt or self.seconds_left() < self.smallest_experiment_s():
                break
            settings = {**settings, **remedy.change}
            self.used_remedies.add(remedy.words)
            yield from self.call("note", {"content": f"Again, with {remedy.words}", "kind": "lesson"}, "")
        usable = report is not None and report["checkpoint"] and (best_score(report) or 0.0) > 0
        if not usable or report is None:
            yield from self.conclude(experiment, None)
            return False
        self.last[method] = trial._replace(settings=settings, seconds_per_step=report.get("seconds_per_step"))
        return (yield from self._judge(experiment, report["job"], f"{method} {report['job']}"))

    def _full_job(
        self, method: str, experiment: str, settings: dict[str, Any], trial: Trial, start: str, share: float
    ) -> Act:
        limit = max(8.0, share * self.seconds_left())
        batch = int(settings["batch_size"]) * int(settings.get("grad_accum") or 1)
        wanted = int(settings.get("max_steps") or self.epochs(method) * max(1, self.rows / batch))
        if method == "grpo":
            wanted = int(settings.get("max_steps") or 400)
        step_s = trial.seconds_per_step
        steps = max(20, min(wanted, int((limit - min(self.overhead_s, limit / 2)) / step_s))) if step_s else wanted
        scheduler = "cosine" if method == "sft" else "constant_with_warmup"
        job = {
            **settings,
            "max_steps": steps,
            "scheduler": scheduler,
            "time_limit_s": limit * 1.15 + self.overhead_s,
            "eval_every": max(5, steps // 6),
        }
        launched = yield from self.call(
            "train",
            {
                "method": method,
                "data": self.data,
                "model": start,
                "title": f"{method}, lr {settings['lr']:g}, {steps} steps",
                "settings": job,
                "experiment": experiment,
            },
            f"{steps} train steps fit {limit:.0f} s.",
        )
        if launched.error:
            yield from self.call(
                "note", {"content": f"The job could not start: {launched.error}", "kind": "lesson"}, ""
            )
            return None
        waited = yield from self.call("wait_for_jobs", {"jobs": [launched.get("job")]}, "")
        reports = waited.rows("jobs")
        if not reports:
            return None
        yield from self._learn_from({**reports[0], "settings": settings}, method, experiment)
        return reports[0]

    def _judge(self, experiment: str, job: str, label: str) -> Act:
        """Evaluate on the development split against the best so far, conclude, promote if better."""
        measured = yield from self.call(
            "evaluate",
            {
                "model": job,
                "label": label,
                "variants": [{"name": "greedy", "temperature": 0.0}],
                "against": self.reference,
                "experiment": experiment,
            },
            "Is it better than the best so far?",
        )
        results = measured.rows("evaluations")
        if not results:
            yield from self.conclude(experiment, None)
            return False
        result = results[0]
        told = yield from self.conclude(experiment, result["evaluation"])
        better = float(result["score"]) > self.best
        if better:
            promoted = yield from self.promote(job, result, f"{100 * float(result['score']):.1f} % is the best so far.")
            if promoted:
                self.gains[self.change] = self.gains.get(self.change, 0.0) + float(result["score"]) - self.best
                self.best, self.reference = float(result["score"]), result["evaluation"]
                self.groups = error_counts(result)
        return told.get("verdict") == "better"

    def summary(self) -> str:
        gains = ", ".join(f"{k} {100 * v:+.1f}" for k, v in self.gains.items()) or "no gain"
        return f"Development score {100 * self.baseline:.1f} % -> {100 * self.best:.1f} % ({gains})."


def error_counts(result: dict[str, Any]) -> dict[str, int]:
    """Wrong answers by kind, of one evaluation as `evaluate` tells it."""
    groups: list[dict[str, Any]] = result.get("groups") or []
    return {str(g["kind"]): int(g["count"]) for g in groups}
