"""The playbook's workbench: what it knows so far, what it may still do, and the tool calls every move makes."""

from __future__ import annotations

import math
import re
from typing import Any

from core.agent.playbook.model import Act, Await, Call, Observation
from core.agent.playbook.search import Trial
from core.agent.playbook.strands import Late, Strands
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

_FITS = re.compile(r"(batch_size|grad_accum|max_length) (\d+)")
"""Settings as the pre-flight names them."""

SAID_ONLY = ("note", "update_plan", "choose_remedy")
"""Calls that only tell something: nothing waits for their result."""

MOST_INTERRUPTED = 3
"""How often one call is sent again that a person interrupts: after that they do not want it."""

SMALL = 50_000_000
"""Below this many parameters two trainings share a machine's cores better than one uses them all."""


class Bench:
    """State of the policy; everything in it came from observations."""

    def __init__(self, seed: int, wishes: Wishes, late: Late | None = None) -> None:
        self.seed = seed
        self.wishes = wishes
        self.strands = Strands({} if late is None else late, self.summary)
        self.settings: dict[str, dict[str, Any]] = {}
        self.concerns: dict[str, int] = {}
        self.groups: dict[str, int] = {}
        self.data = ""
        self.rows = 0
        self.files: list[str] = []
        self.subject: tuple[str, str] = ("", "")
        """Name and description of the task: what data on the Hub would be looked for by."""
        self.baseline = 0.0
        self.best = 0.0
        self.reference = ""
        """Evaluation of the best model so far."""
        self.temperature: float | None = None
        self.last: dict[str, Trial] = {}
        self.gains: dict[str, float] = {}
        self.broken: dict[str, float] = {}
        """The lowest learning rate that failed or fell below its start, by method."""
        self.fitting: dict[str, dict[str, Any]] = {}
        """Settings that the memory allows, by method, where it does not allow the usual ones."""
        self.paying = ""
        """The move that has just gained."""
        self.mutation = 0
        """Which change of settings the next round tries."""
        self.used_remedies: set[str] = set()
        self.changes: dict[str, str] = {}
        """What each experiment changes: several may be under way, where one waits for a person."""
        self.row_counts: dict[str, int] = {}
        """Rows of prepared data that is not `data`."""
        self.statuses: dict[str, str] = {}
        self.number = 0
        self.params = 0
        self.cores = 1
        self.gpus = 0
        self.arrays = False
        """Jobs go to a scheduler that takes many as one."""
        self.unknown_machine = False
        """Nobody could tell what there is where jobs run."""
        self.trouble = ""
        """Why jobs could not be begun, the last time that was so."""
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
        """One tool call and its result, whenever that comes."""
        observation: Observation = yield from self.ask(tool, arguments, why)
        while observation.waiting and tool not in SAID_ONLY:
            observation = yield Await(observation.call)
            self._read_clock(observation)
            if self._again(observation):
                observation = yield from self.ask(tool, arguments, why)
        return observation

    def ask(self, tool: str, arguments: dict[str, Any], why: str = "") -> Act:
        """One tool call and what it said at once, which may be that it waits for a person. One that a person interrupted is
        sent again, once their words were heard: an approval that expired with it was no denial, and a job goes on."""
        observation: Observation = yield Call(tool, arguments, why)
        for _ in range(MOST_INTERRUPTED):
            if not self._again(observation):
                break
            observation = yield Call(tool, arguments, why)
        # A wait that ended early for a person's words, which were heard by now, goes on; where all is to end, only what is over counts.
        while observation.get("person") and not self.wishes.finish:
            observation = yield Call(tool, arguments, why)
        if observation.get("person"):
            ended = [r for r in observation.rows("jobs") if r["status"] not in ("running", "paused")]
            observation.value["jobs"] = ended
        self._read_clock(observation)
        while observation.unreached and not self.wishes.finish:  # the tool itself has waited for minutes
            self.trouble = observation.error
            clock: Observation = yield Call("budget", {}, "Is there time to try again?")
            self._read_clock(clock)
            if self.seconds_left() < self.smallest_experiment_s():
                break
            observation = yield Call(tool, arguments, why)
            self._read_clock(observation)
        return observation

    def _again(self, observation: Observation) -> bool:
        return observation.interrupted and not self.wishes.finish

    def _read_clock(self, observation: Observation) -> None:
        left = observation.get("seconds_left_for_research")
        if left is not None:
            self._left = float(left)

    def train(self, arguments: dict[str, Any], why: str) -> Act:
        """Launch a training, or ask for it: the answer may be that it waits (then `launched`). One that the pre-flight
        refuses for its memory is launched as it says that it would fit, and all later ones of that method too.
        `arguments["settings"]` then holds what it was launched with."""
        told: Observation = yield from self.ask("train", arguments, why)
        return told if told.waiting else (yield from self._as_it_fits(told, arguments))

    def launched(self, told: Observation, arguments: dict[str, Any]) -> Act:
        """The launch that `train` asked for, once a person has decided on it. Where they changed its arguments,
        `arguments` holds theirs."""
        if not told.waiting:
            return told
        while told.waiting:
            told = yield Await(told.call)
            if self._again(told):
                told = yield from self.ask("train", arguments, "Again: its wait was interrupted.")
        if told.edited:
            rate = told.get("lr")
            said: dict[str, Any] = told.edited.get("settings") or {}
            arguments |= told.edited
            arguments["settings"] = said if rate is None else {**said, "lr": rate}
        return (yield from self._as_it_fits(told, arguments))

    def _as_it_fits(self, told: Observation, arguments: dict[str, Any]) -> Act:
        fits: dict[str, Any] = {name: int(value) for name, value in _FITS.findall(told.error.partition("Use ")[2])}
        if not fits:
            return told
        method = str(arguments["method"])
        self.fitting.setdefault(method, {}).update(fits)
        arguments["settings"].update(fits)
        yield from self.call("note", {"content": f"{method}: {told.error}", "kind": "lesson"}, "")
        return (yield from self.call("train", arguments, "The same, as it fits the memory."))

    def make_room(self, method: str, settings: dict[str, Any]) -> None:
        """A training with these settings ran out of memory: later ones take a quarter of the rows a pass in as many more passes,
        and where a row a pass was too much, an adapter in place of full weights."""
        batch, passes = int(settings["batch_size"]), int(settings.get("grad_accum") or 1)
        room = self.fitting.setdefault(method, {})
        if batch > 1:
            smaller = max(1, batch // 4)
            room |= {"batch_size": smaller, "grad_accum": -(-batch * passes // smaller)}
        elif "lora" not in settings and self.wishes.lora is not False:
            room["lora"] = {}

    def take(self, brief: dict[str, Any]) -> None:
        """What the brief says."""
        self.files = list(brief["data_files"])
        self.subject = (str(brief.get("task") or ""), str(brief.get("description") or brief.get("goal") or ""))
        self.params = int(brief["model"]["parameters"] or 0)
        self.take_machine(brief)
        self.checkable = bool(brief["verifier"])
        self._left = float(brief["budget"]["seconds_left_for_research"])

    def take_machine(self, brief: dict[str, Any]) -> None:
        """What the brief says of where jobs run."""
        gpus = brief["machine"]["gpus"]
        self.cores, self.gpus, self.unknown_machine = int(brief["machine"]["cores"]), int(gpus or 0), gpus is None
        self.arrays = bool(brief["machine"].get("job_arrays"))

    def needs(self) -> list[str]:
        return ["demonstrations", "prompts", *(["answers_checkable"] if self.checkable else [])]

    def seconds_left(self) -> float:
        return self._left

    def plan(self, doing: str) -> Act:
        """Mark the step now being done; steps passed over are skipped."""
        parked = self.strands.names
        ended = {k: "todo" if k in parked else "done" for k, v in self.statuses.items() if v == "doing"}
        self.statuses |= ended
        self.statuses[doing] = "doing"
        steps: list[dict[str, str]] = []
        for key, title in STEPS:
            status = self.statuses.get(key, "skipped" if doing == "finish" else "todo")
            steps.append({"id": key, "title": title, "status": status, "note": self._note(key)})
        yield from self.call("update_plan", {"steps": steps}, "")
        yield from self.call("budget", {}, "")
        if self.unknown_machine and doing != "finish":
            brief = yield from self.call("read_task", {}, "Does the place where jobs run answer by now?")
            if not brief.error:
                self.take_machine(brief.value)

    def _note(self, key: str) -> str:
        if key in self.strands.names:
            return "waits for a person"
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

    def inspect(self, path: str) -> Act:
        """Look at a data file; whether it can be trained on. What is wrong with it is kept in `concerns`."""
        seen = yield from self.call("inspect_data", {"path": path}, "Look at the data before training on it.")
        if seen.error:
            yield from self.call("note", {"content": f"{path} is left out: {seen.error}"})
            return False
        if seen.get("trainable"):
            self.concerns |= {c["kind"]: int(c["count"]) for c in seen.rows("concerns")}
        return bool(seen.get("trainable"))

    def rows_of(self, data: str) -> int:
        """Rows of prepared data; `data` may be empty for the data in use."""
        return self.row_counts.get(data, self.rows)

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
        self.changes[name] = change
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
        return chosen | self.fitting.get(method, {})

    def epochs(self, method: str) -> float:
        choice = self.settings.get(method, {}).get("epochs")
        return float(choice["high"]) if choice and choice.get("high") else 3.0

    def summary(self) -> str:
        gains = ", ".join(f"{k} {100 * v:+.1f}" for k, v in self.gains.items()) or "no gain"
        if self.trouble and not self.reference:
            return f"Nothing could be measured: {self.trouble}"
        return f"Development score {100 * self.baseline:.1f} % -> {100 * self.best:.1f} % ({gains})."
