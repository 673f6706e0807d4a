"""Policies the playbook is measured against. They use the same tools, data preparation and recipe library.

`random` is random search over the same recipes: method, learning rate, train steps and batch drawn from the library's
ranges, as many side by side as the machine has slots, every result evaluated, the best kept, until the time is over.
"""

from __future__ import annotations

import math
import random
from typing import Any

from core.agent.playbook.experiments import Bench
from core.agent.playbook.model import Policy
from core.agent.playbook.policy import measure_base, prepare, read
from core.agent.playbook.search import Trial
from core.agent.playbook.wishes import Wishes


def random_search(seed: int, wishes: Wishes) -> Policy:
    """Draw, train, evaluate, keep the best; again."""
    draw = random.Random(seed)
    bench = Bench(seed, wishes)
    brief = yield from bench.call("read_task", {}, "Begin with the task itself.")
    if brief.error:
        return f"The task cannot be read: {brief.error}"
    bench.take(brief.value)
    yield from read(bench)
    if not (yield from prepare(bench)) or not (yield from measure_base(bench, bench.data)):
        return "Nothing to train on or to measure. " + bench.summary()
    while bench.seconds_left() > bench.smallest_experiment_s() and not wishes.finish:
        method = draw.choice(["sft", "grpo"])
        start = draw.choice(["base", "final"])
        drawn = [_draw_settings(bench, method, draw) for _ in range(bench.slots())]
        rates = ", ".join(f"{settings['lr']:g}" for settings in drawn)
        experiment = yield from bench.begin(f"Random draw: {method} from {start}, lr {rates}", method)
        trials = [Trial(settings["lr"], "", None, False, settings) for settings in drawn]
        yield from bench.full(method, experiment, trials, start=start, share=0.9)
        yield from bench.call("budget", {}, "")
    return bench.summary()


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
