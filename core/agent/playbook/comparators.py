"""Policies the playbook is measured against. They use the same tools, data preparation and recipe library.

`greedy`: the base with the best decoding the audit finds, no training. `sft`: one supervised fine-tuning over the whole
time at the middle of the library's ranges, every label kept that inspection keeps. `random`: random search over the
same recipes, method, learning rate, train steps and batch drawn from the library's ranges, as many side by side as the
machine has slots, every result evaluated, the best kept, until the time is over. `hill`: hill climbing over the same
settings: a draw, then the best so far with one setting changed. `hand`: a recipe a person wrote (hand.py).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from core.agent.playbook.bench import Bench
from core.agent.playbook.experiments import full
from core.agent.playbook.hand import by_hand, read_recipe
from core.agent.playbook.model import Act, Policy
from core.agent.playbook.policy import measure_base, prepare, read
from core.agent.playbook.search import Trial
from core.agent.playbook.strands import Late
from core.agent.playbook.wishes import Wishes


def comparator(name: str, seed: int, wishes: Wishes, late: Late | None = None, file: str = "") -> Policy:
    """One of COMPARATORS, or `hand` with the recipe in `file`, from the task's brief to the summary. Raises as `read_recipe`."""
    bench = Bench(seed, wishes, late)
    if name == "hand":
        recipe = read_recipe(file)
        return bench.strands.alone(_compared(bench, lambda: by_hand(bench, recipe)))
    return bench.strands.alone(_compared(bench, lambda: COMPARATORS[name](bench, random.Random(seed))))


def _compared(bench: Bench, improve: Callable[[], Act]) -> Act:
    brief = yield from bench.call("read_task", {}, "Begin with the task itself.")
    if brief.error:
        return f"The task cannot be read: {brief.error}"
    bench.take(brief.value)
    yield from read(bench)
    if not (yield from prepare(bench)) or not (yield from measure_base(bench, bench.data)):
        return "Nothing to train on or to measure. " + bench.summary()
    yield from improve()
    return bench.summary()


def _greedy(bench: Bench, draw: random.Random) -> Act:
    """Nothing more: measuring the base promoted its best decoding."""
    yield from bench.call("budget", {}, "")


def _sft(bench: Bench, draw: random.Random) -> Act:
    settings = {**bench.base_settings("sft"), "lr": bench.value("sft", "lr", 2e-5)}
    experiment = yield from bench.begin("One supervised fine-tuning over the whole time", "sft")
    yield from full(bench, "sft", experiment, [_untried(settings)], start="base", share=0.9)


def _random(bench: Bench, draw: random.Random) -> Act:
    """Draw, train, evaluate, keep the best; again."""
    while _goes_on(bench):
        method = draw.choice(["sft", "grpo"])
        start = draw.choice(["base", "final"])
        drawn = [_draw_settings(bench, method, draw) for _ in range(bench.slots())]
        rates = ", ".join(f"{settings['lr']:g}" for settings in drawn)
        experiment = yield from bench.begin(f"Random draw: {method} from {start}, lr {rates}", method)
        yield from full(bench, method, experiment, [_untried(s) for s in drawn], start=start, share=0.9)
        yield from bench.call("budget", {}, "")


def _hill(bench: Bench, draw: random.Random) -> Act:
    """As many neighbours of the best settings as the machine has slots; a better one becomes the best."""
    best: dict[str, Any] | None = None
    while _goes_on(bench):
        around = [_draw_settings(bench, "sft", draw) for _ in range(bench.slots())]
        if best is not None:
            around = [_neighbour(best, other, draw) for other in around]
        experiment = yield from bench.begin("A neighbour of the best settings is better", "sft")
        start = "final" if best else "base"
        if (yield from full(bench, "sft", experiment, [_untried(s) for s in around], start=start, share=0.3)):
            best = bench.last["sft"].settings
        yield from bench.call("budget", {}, "")


COMPARATORS: dict[str, Callable[[Bench, random.Random], Act]] = {
    "random": _random,
    "hill": _hill,
    "sft": _sft,
    "greedy": _greedy,
}


def _goes_on(bench: Bench) -> bool:
    return bench.seconds_left() > bench.smallest_experiment_s() and not bench.wishes.finish


def _untried(settings: dict[str, Any]) -> Trial:
    return Trial(settings["lr"], "", None, False, settings)


def _neighbour(best: dict[str, Any], other: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """The best with one of its settings as another draw has it."""
    name = draw.choice(["lr", "batch_size", "max_steps"])
    return {**best, "seed": other["seed"], name: other[name]}


def _draw_settings(bench: Bench, method: str, draw: random.Random) -> dict[str, Any]:
    settings: dict[str, Any] = {**bench.base_settings(method), "seed": draw.randrange(1 << 16)}
    settings["lr"] = float(f"{_log_uniform(bench.bounds(method, 'lr', (1e-5, 1e-4)), draw):.2g}")
    if method == "sft":
        batch = min(bench.rows, round(_log_uniform(bench.bounds(method, "batch", (16, 64)), draw)))
        settings["batch_size"] = batch
        epochs = _log_uniform(bench.bounds(method, "epochs", (1, 3)), draw)
        settings["max_steps"] = max(20, int(epochs * bench.rows / batch))
    else:
        settings["max_steps"] = int(_log_uniform((20, 400), draw))
    return settings


def _log_uniform(bounds: tuple[float, float], draw: random.Random) -> float:
    return math.exp(draw.uniform(math.log(bounds[0]), math.log(bounds[1])))
