"""The playbook's workbench: what it knows so far, and how one experiment is carried out.

An experiment is a hypothesis, its jobs, one evaluation on the development split against the best model so far, and a
verdict by the interval of the paired difference. A failure that was diagnosed gets one remedy and one more try.
"""

from __future__ import annotations

import math
import statistics
from typing import Any

from core.agent.playbook.model import Act, Call, Observation
from core.agent.playbook.remedies import first_remedy
from core.agent.playbook.search import (
    Trial,
    best_score,
    first_score,
    higher,
    ladder,
    last_score,
    next_rungs,
    worth_a_long_job,
)
from core.agent.playbook.wishes import Wishes

STEPS = (
    ("read", "Read what is known"),
    ("data", "Inspect and prepare the data"),
    ("base", "Measure the base model"),
    ("sft", "Fine-tune: test learning rates, then long jobs"),
    ("grpo", "GRPO on checked answers"),
    ("rounds", "Go on from the best: same, higher rate, smaller batch"),
    ("labels", "Audit the labels with the trained model"),
    ("rft", "Train on the model's own checked answers"),
    ("finish", "Last evaluation and report"),
)

SMALL = 50_000_000
"""Below this many parameters two trainings share a machine's cores better than one uses them all."""


MOST_TRIALS = 8
"""Of one range test."""

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
        """The lowest learning rate that failed or fell below its start, by method."""
        self.paying = ""
        """The move that has just gained."""
        self.mutation = 0
        """Which change of settings the next round tries."""
        self.used_remedies: set[str] = set()
        self.change = ""
        self.statuses: dict[str, str] = {}
        self.number = 0
        self.params = 0
        self.cores = 1
        self.gpus = 0
        self.checkable = True
        self._left = 0.0
        self.step_times: dict[tuple[str, int], list[float]] = {}
        """Seconds a train step, by method and batch, of every job so far."""
        self.overhead_s = 0.0
        """Seconds a job takes besides its train steps: the least that was measured."""
        self.evaluation_s = 5.0
        """Seconds of the slowest evaluation of one model so far."""

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

    def bounds(self, method: str, name: str, default: tuple[float, float]) -> tuple[float, float]:
        """The recommended range of a number."""
        choice = self.settings.get(method, {}).get(name)
        if not choice or choice.get("low") is None:
            return default
        return float(choice["low"]), float(choice["high"])

    def value(self, method: str, name: str, default: float) -> float:
        """A recommended number: the middle of its range in the logarithm (plain middle where it may be zero)."""
        low, high = self.bounds(method, name, (default, default))
        if low == high:
            return low
        return math.sqrt(low * high) if low > 0 else (low + high) / 2

    def base_settings(self, method: str) -> dict[str, Any]:
        """Settings of a full job from the recipe library, before the learning rate and the steps."""
        chosen: dict[str, Any] = {"seed": self.seed}
        if method == "sft":  # the small end: it generalises best for the same data seen (arXiv 1804.07612)
            batch = max(1, min(int(self.bounds(method, "batch", (16, 64))[0]), self.rows))
        else:
            batch = 2 ** round(math.log2(max(1.0, self.value(method, "batch", 32))))
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
        """A ladder of learning rates by short trials, its rungs filling the machine's slots. Returns all trials, or one
        that has not run where a person named the rate."""
        low, high = self.bounds(method, "lr", (1e-5, 1e-4))
        known: dict[str, Any] = self.settings.get(method, {}).get("lr") or {}
        if self.wishes.lr is not None or self.wishes.no_ladder:
            lr = self.wishes.lr or math.sqrt(low * high)
            return [Trial(lr, "", None, False, {**self.base_settings(method), "lr": lr})]
        slots = self.slots()
        each = max(6.0, 0.07 * self.seconds_left() * slots / 2)
        trials: list[Trial] = []
        if method == "grpo":  # it needs tens of steps a trial: only the upper half of its range, where the signal shows
            rates = ladder(low, high, 3)[1:]
        else:
            rates = ladder(low, high, -(-3 // slots) * slots)
        while rates:
            before = self.seconds_left()
            seen = yield from self._trials(method, experiment, start, rates, each, known.get("card", ""))
            trials += seen
            slow = before - self.seconds_left() > 0.1 * before  # a machine on which looking further costs too much
            if method == "grpo" or not seen or slow or len(trials) >= MOST_TRIALS:
                break
            rates = next_rungs(trials, min(2, slots))
        self._note_broken(method, trials)
        scores = ", ".join(
            f"{t.lr:g}: {'failed' if t.failed or t.score is None else f'{100 * t.score:.1f} %'}" for t in sorted(trials)
        )
        words = f"{method} learning rates by short trials from {start}: {scores}"
        yield from self.call("note", {"content": words, "kind": "lesson"}, "")
        return trials

    def _note_broken(self, method: str, trials: list[Trial]) -> None:
        broken = [t.lr for t in trials if not t.sound]
        if broken:
            self.broken[method] = min(broken)

    def candidates(self, method: str, trials: list[Trial]) -> list[Trial]:
        """What gets a long job, first choice first, as many as the machine runs side by side."""
        named = [t for t in trials if not t.job]  # a rate a person named, untried
        found = named or worth_a_long_job(trials, self.value(method, "lr", trials[0].lr if trials else 1e-5))
        if len(found) == 1 and not named:
            raised = higher(found[0].lr, self.broken.get(method))
            found += [found[0].but(lr=raised)] if raised is not None else []
        return found[: max(1, min(2, self.slots()))]

    def _trials(self, method: str, experiment: str, start: str, rates: list[float], each: float, source: str) -> Act:
        settings = self.base_settings(method)
        one_epoch = -(-self.rows // int(settings["batch_size"]))
        steps = max(20, min(one_epoch, 50)) if method == "sft" else 40
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
            trial |= {"threads": threads, "eval_every": steps if method == "sft" else max(5, steps // 3)}
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
            self._note_speed(method, settings, report)
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
                    first_score(report),
                )
            )
        return trials

    def _note_speed(self, method: str, settings: dict[str, Any], report: dict[str, Any]) -> None:
        if report.get("seconds_per_step"):
            seen = self.step_times.setdefault((method, int(settings["batch_size"])), [])
            seen.append(float(report["seconds_per_step"]))

    def _learn_from(self, report: dict[str, Any], method: str, experiment: str) -> Act:
        """Measure the overhead of a job; for a failure record what is done about it."""
        step_s = report.get("seconds_per_step")
        if step_s and report.get("step"):
            seen = max(0.5, min(60.0, report["seconds"] - step_s * report["step"]))
            self.overhead_s = min(self.overhead_s or seen, seen)
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

    def full(self, method: str, experiment: str, trials: list[Trial], start: str, share: float) -> Act:
        """Long jobs, side by side; evaluation, verdict, promotion. One more try with a remedy where all fail.

        Returns whether the best of them is better than the best so far, by the interval of the paired difference.
        """
        settings = [self._wished(t) for t in trials]
        reports = yield from self._full_jobs(method, experiment, settings, start, share)
        usable = [r for r in reports if _usable(r)]
        if reports and not usable:
            again = self._with_remedy(reports[0], settings[0])
            if again is not None and self.seconds_left() > self.smallest_experiment_s():
                words, trial = again
                yield from self.call("note", {"content": f"Again, with {words}", "kind": "lesson"}, "")
                reports = yield from self._full_jobs(method, experiment, [trial], start, share)
                settings, usable = [trial], [r for r in reports if _usable(r)]
        if not usable:
            yield from self.conclude(experiment, None)
            return False
        by_job = {r["job"]: t for r, t in zip(reports, settings, strict=True)}
        for report in usable:
            trial = by_job[report["job"]]
            by_job[report["job"]] = trial._replace(
                seconds_per_step=report.get("seconds_per_step") or trial.seconds_per_step
            )
        return (yield from self.judge(method, experiment, {r["job"]: by_job[r["job"]] for r in usable}))

    def _wished(self, trial: Trial) -> Trial:
        return trial.but(lr=self.wishes.lr) if self.wishes.lr else trial

    def _with_remedy(self, report: dict[str, Any], trial: Trial) -> tuple[str, Trial] | None:
        failing = [f for f in report["diagnosis"] if f["severity"] == "failing"]
        remedy = first_remedy(failing[0], trial.settings, self.used_remedies) if failing else None
        if remedy is None:
            return None
        self.used_remedies.add(remedy.words)
        return remedy.words, trial.but(**remedy.change)

    def _full_jobs(self, method: str, experiment: str, trials: list[Trial], start: str, share: float) -> Act:
        """Launch all, wait for all; the reports in the order of `trials`, without those that could not start."""
        # Saving takes about what starting took, and each is evaluated afterwards, perhaps on a busier machine.
        left = self.seconds_left() - 2 * self.evaluation_s * len(trials) - self.overhead_s
        limit = max(8.0, share * left)
        jobs: list[str] = []
        for trial in trials:
            launched = yield from self._launch_full(method, experiment, trial, start, (limit, left), len(trials))
            if launched:
                jobs.append(launched)
        if not jobs:
            return []
        waited = yield from self.call("wait_for_jobs", {"jobs": jobs}, "")
        reports = {r["job"]: r for r in waited.rows("jobs")}
        for job, trial in zip(jobs, trials, strict=False):
            if job in reports:
                self._note_speed(method, trial.settings, reports[job])
                yield from self._learn_from({**reports[job], "settings": trial.settings}, method, experiment)
                if any(f["severity"] == "failing" for f in reports[job]["diagnosis"]):
                    self.broken[method] = min(self.broken.get(method, math.inf), trial.lr)
        return [reports[job] for job in jobs if job in reports]

    def _launch_full(
        self, method: str, experiment: str, trial: Trial, start: str, seconds: tuple[float, float], beside: int
    ) -> Act:
        """`seconds`: what the job is planned for, and what it may take at most. `beside`: jobs that share the machine."""
        settings, (limit, most) = trial.settings, seconds
        batch = int(settings["batch_size"]) * int(settings.get("grad_accum") or 1)
        wanted = int(settings.get("max_steps") or self.epochs(method) * max(1, self.rows / batch))
        if method == "grpo":
            wanted = int(settings.get("max_steps") or 400)
        seen = self.step_times.get((method, int(settings["batch_size"])))
        step_s = statistics.median(seen) if seen else trial.seconds_per_step  # one trial may have met a busy machine
        steps = max(20, min(wanted, int((limit - min(self.overhead_s, limit / 2)) / step_s))) if step_s else wanted
        job = {
            **settings,
            "max_steps": steps,
            "scheduler": "cosine" if method == "sft" else "constant_with_warmup",
            "time_limit_s": max(8.0, min(1.2 * limit + self.overhead_s, most)),
            "eval_every": max(5, steps // 6),
            "threads": max(1, self.cores // beside),
        }
        launched = yield from self.call(
            "train",
            {
                "method": method, "data": self.data, "model": start, "settings": job, "experiment": experiment,
                "title": f"{method}, lr {settings['lr']:g}, batch {batch}, {steps} steps",
            },
            f"{steps} train steps fit {limit:.0f} s.",
        )  # fmt: skip
        if launched.error:
            words = f"The job could not start: {launched.error}"
            yield from self.call("note", {"content": words, "kind": "lesson"}, "")
            return None
        return launched.get("job")

    def judge(self, method: str, experiment: str, jobs: dict[str, Trial]) -> Act:
        """Evaluate each on the development split against the best so far, conclude with the best, promote it if better."""
        results: dict[str, dict[str, Any]] = {}
        for job in jobs:
            measured = yield from self.call(
                "evaluate",
                {
                    "model": job, "label": f"{method} {job}", "variants": [{"name": "greedy", "temperature": 0.0}],
                    "against": self.reference, "experiment": experiment,
                },
                "Is it better than the best so far?",
            )  # fmt: skip
            self.evaluation_s = max(self.evaluation_s, float(measured.get("seconds") or 0.0))
            if measured.rows("evaluations"):
                results[job] = measured.rows("evaluations")[0]
        if not results:
            yield from self.conclude(experiment, None)
            return False
        job = max(results, key=lambda j: float(results[j]["score"]))
        result, score = results[job], float(results[job]["score"])
        told = yield from self.conclude(experiment, result["evaluation"])
        self.last.setdefault(method, jobs[job])
        if score > self.best and (yield from self.promote(job, result, f"{100 * score:.1f} % is the best so far.")):
            self.gains[self.change] = self.gains.get(self.change, 0.0) + score - self.best
            self.last[method] = jobs[job]
            self.best, self.reference = score, result["evaluation"]
            self.groups = error_counts(result)
        return told.get("verdict") == "better"

    def summary(self) -> str:
        gains = ", ".join(f"{k} {100 * v:+.1f}" for k, v in self.gains.items()) or "no gain"
        return f"Development score {100 * self.baseline:.1f} % -> {100 * self.best:.1f} % ({gains})."


def _usable(report: dict[str, Any]) -> bool:
    return bool(report["checkpoint"]) and (best_score(report) or 0.0) > 0


def error_counts(result: dict[str, Any]) -> dict[str, int]:
    """Wrong answers by kind, of one evaluation as `evaluate` tells it."""
    groups: list[dict[str, Any]] = result.get("groups") or []
    return {str(g["kind"]): int(g["count"]) for g in groups}
