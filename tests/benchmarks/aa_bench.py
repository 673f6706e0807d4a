"""A/A: how often a run claims an improvement where none can be had.

    python -m tests.benchmarks.aa_bench [--runs 200] [--first-seed 0]

The real policy and the real statistics on simulated samples: every model has the same chance of being right on each
question, and shares a part of its answers with the base (a short training changes few of them, a long one many). The run
chooses on its development samples, as always; what counts is what it says at the end of samples it had not seen.
`intern bench --aa` does the same with real trainings.
"""

from __future__ import annotations

import argparse
import random
from typing import Any, NamedTuple

from core.evaluation.stats import Difference, holm, paired_difference, verdict, wilson
from tests.core.agent.test_playbook import World, play

DEV, HELD_OUT = 600, 1200


class Result(NamedTuple):
    """What one run claimed."""

    claim: str
    """The verdict on the held-out samples: better, worse, no_difference."""
    experiments: int
    chance_findings: int
    """Experiments called better on development samples: each is one look at 5 %."""
    after_holm: int
    promotions: int
    chosen_gain: float
    """Development gain of the model chosen: the winner's curse, which is why held-out samples decide."""


class FlatWorld(World):
    """Nothing can be gained: whatever is trained, answers are right with the chance `p`."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        rng = random.Random(seed)
        self.p = rng.choice((0.02, 0.1, 0.3, 0.5, 0.9))
        self.seed = seed
        self.answers: dict[tuple[str, str], dict[str, float]] = {}
        self.found: dict[str, tuple[str, Difference | None]] = {}
        self.verdicts: list[tuple[str, float]] = []
        self.promoted: list[str] = []

    def right(self, model: str, split: str) -> dict[str, float]:
        """{sample: 0 or 1}, the same however often it is asked."""
        if (model, split) not in self.answers:
            n = DEV if split == "dev" else HELD_OUT
            rng = random.Random(f"{self.seed} {model} {split}")
            new = 1.0 if model == "base" else random.Random(f"{self.seed} {model}").choice((0.003, 0.02, 0.1, 0.5, 1.0))
            before = {} if model == "base" else self.right("base", split)
            self.answers[model, split] = {
                str(i): float(rng.random() < self.p) if rng.random() < new else before[str(i)] for i in range(n)
            }
        return self.answers[model, split]

    def score(self, model: str, split: str) -> float:
        right = self.right(model, split)
        return sum(right.values()) / len(right)

    def _evaluate(
        self, model: str, label: str, variants: list[dict[str, Any]], against: str | None = None, **_: Any
    ) -> object:
        self.left -= 8
        told: list[object] = []
        for way in variants:
            asked = f"{model}, {way['name']}" if way.get("shots") else model
            difference = None
            if against in self.found:
                difference = paired_difference(self.right(self.found[against][0], "dev"), self.right(asked, "dev"))
            name = f"{label}/{way['name']}"
            self.found[name] = (asked, difference)
            told.append({"evaluation": name, "score": self.score(asked, "dev"), "temperature": 0.0, "shots": way.get("shots", 0),
                         "groups": []})  # fmt: skip
        return {"evaluations": told, "seconds_left_for_research": self.left}

    def _report(self, job: str) -> dict[str, Any]:
        report = super()._report(job)
        small = list(self.right(job, "dev").values())[:100]
        start = self.score(self.final, "dev")
        return report | {"dev_scores": [[0, start], [report["step"], sum(small) / len(small)]]}

    def _promote(self, model: str, evaluation: str) -> object:
        self.final = model
        self.promoted.append(evaluation)
        return {"final_model": "f"}

    def _conclude_experiment(self, experiment: str, evaluation: str | None = None) -> object:
        difference = self.found[evaluation][1] if evaluation else None
        if difference is None:
            return {"verdict": "failed"}
        said = verdict(difference.interval)
        self.verdicts.append((said, difference.p))
        return {"verdict": said}


def run(seed: int) -> Result:
    """One research without anything to find."""
    world = FlatWorld(seed)
    play(world, seed)
    held_out = paired_difference(world.right("base", "held-out"), world.right(world.final, "held-out"))
    adjusted = holm([p for _, p in world.verdicts])
    better = [i for i, (said, _) in enumerate(world.verdicts) if said == "better"]
    return Result(
        verdict(held_out.interval), len(world.verdicts), len(better), sum(adjusted[i] <= 0.05 for i in better),
        len(world.promoted) - 1, world.score(world.final, "dev") - world.score("base", "dev"),
    )  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--runs", type=int, default=200)
    options.add_argument("--first-seed", type=int, default=0)
    chosen = options.parse_args()
    results = [run(seed) for seed in range(chosen.first_seed, chosen.first_seed + chosen.runs)]
    n = len(results)
    for name in ("better", "worse"):
        count = sum(r.claim == name for r in results)
        low, high = wilson(count, n)
        print(f"claims on held-out samples, {name}: {count} of {n} runs, {count / n:.1%} [{low:.1%}, {high:.1%}]")
    looks = sum(r.experiments for r in results)
    print(
        f"experiments called better on development samples: {sum(r.chance_findings for r in results)} of {looks} "
        f"({sum(r.chance_findings > 0 for r in results)} runs); after Holm's correction in {sum(r.after_holm > 0 for r in results)} runs"
    )
    print(f"promotions a run: {sum(r.promotions for r in results) / n:.1f}; development gain of the chosen model: "
          f"{100 * sum(r.chosen_gain for r in results) / n:+.1f} points")  # fmt: skip


if __name__ == "__main__":
    main()
