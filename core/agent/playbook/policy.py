"""The research itself, top to bottom: read, look at the data, measure, train, say why it failed, change, train again.

Written as one generator of tool calls. Everything it decides follows from observations; numbers come from the recipe
library, the brief and its own trials.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from core.agent.playbook.bench import Bench
from core.agent.playbook.discovery import find_data
from core.agent.playbook.experiments import full, judge
from core.agent.playbook.model import Act, Policy
from core.agent.playbook.remedies import GROUP_SIGN
from core.agent.playbook.reports import error_counts
from core.agent.playbook.search import Trial, best, higher
from core.agent.playbook.strands import Done, Late
from core.agent.playbook.trials import candidates, climb
from core.agent.playbook.wishes import Wishes

ENOUGH = 0.985
"""A development score above which there is nothing left that its noise could show."""

STALE = 2
"""Experiments in a row without a significant gain after which research stops."""


def research(seed: int, wishes: Wishes, late: Late | None = None) -> Policy:
    """The whole run; returns the summary given as final answer. `late`: see `strands`."""
    bench = Bench(seed, wishes, late)
    return bench.strands.alone(_research(bench))


def _research(bench: Bench) -> Act:
    brief = yield from bench.call("read_task", {}, "Begin with the task itself.")
    if brief.error:
        return f"The task cannot be read: {brief.error}"
    bench.take(brief.value)
    yield from bench.plan("read")

    yield from read(bench)
    yield from bench.plan("data")
    prepared: Done | None = yield from bench.strands.run("data", prepare(bench))
    yield from bench.plan("base")
    # Where the preparation waits for a person, the base is measured meanwhile; only few-shot needs the data.
    measured = yield from measure_base(bench, bench.data or None)
    fit = prepared.value if prepared is not None else (yield from bench.strands.finish("data"))
    if not fit:
        return "There is no data to train on: only decoding could be improved. " + bench.summary()
    if not measured:
        return "The base model could not be measured. " + bench.summary()
    yield from _improve(bench)
    yield from bench.answer_wishes()
    yield from bench.plan("finish")
    return bench.summary()


def _improve(bench: Bench) -> Act:
    """Move after move, until nothing gains any more or the time is short. One that waits for a person is parked: others
    go on, and it is taken up again when its result has come."""
    strands, wishes = bench.strands, bench.wishes
    stale, short = 0, False
    tried: set[str] = set()
    while bench.best < ENOUGH and not wishes.finish:
        yield from bench.answer_wishes()
        move: str | None = strands.ready()
        begun = bool(move)
        if not move:
            move = None if short or stale >= STALE else (yield from _next_move(bench, tried))
        if move is None:
            if not strands.parked:
                break
            yield from strands.wait()
            continue
        yield from bench.plan(move)
        before = bench.best
        part = strands.resume(move) if begun else strands.run(move, _MOVES[move](bench))
        done = cast("Done | None", (yield from part))
        tried.add(move)
        if done is None:
            continue
        gained = cast("bool | None", done.value)
        # A move that could not even run (no time, no data) does not count as an attempt without a gain.
        if gained is not None:
            stale = 0 if gained and bench.best > before else stale + 1
            bench.paying = move if stale == 0 else ""
        short = bench.seconds_left() < bench.smallest_experiment_s()


# ------------------------------------------------------------------------------------------------------------- read


def read(bench: Bench) -> Act:
    """What is known about the methods this task allows, and their settings for a model of this size."""
    query = "fine-tune a small language model on demonstrations, then reinforcement learning with checkable answers"
    found = yield from bench.call(
        "search_recipes", {"query": query, "needs": bench.needs(), "limit": 6}, "What is known?"
    )
    for card in found.rows("recipes")[:3]:
        yield from bench.call("read_recipe", {"recipe": card["id"]}, card["why"] or card["title"])
    for method in ("sft", "grpo"):
        settings = yield from bench.call("recommend_settings", {"method": method}, f"Ranges for {method} at this size.")
        if not settings.error:
            bench.settings[method] = settings.value


# ------------------------------------------------------------------------------------------------------------- data


def prepare(bench: Bench) -> Act:
    """Inspect every file, then prepare what is fit to train on. Says whether there is anything."""
    usable: list[str] = []
    for path in bench.files:
        if (yield from bench.inspect(path)):
            usable.append(path)
    if not usable:
        found = yield from find_data(bench)
        usable = [found] if found else []
    if not usable:
        return False
    options = {
        "conflicts": "majority",
        "dedup": True,
        "drop_contaminated": True,
        "drop_shape_mismatch": True,
        "drop_empty": True,
    }
    made = yield from bench.call(
        "prepare_data",
        {"name": "clean", "sources": usable, "options": options},
        "Drop what inspection found: " + (", ".join(sorted(bench.concerns)) or "nothing to drop"),
    )
    if made.error:
        yield from bench.call("note", {"content": f"Preparation failed: {made.error}", "kind": "lesson"})
        return False
    bench.data, bench.rows = "clean", int(made.get("rows", 0))
    return bench.rows > 0


# ------------------------------------------------------------------------------------------------------------- base


def measure_base(bench: Bench, data: str | None) -> Act:
    """The decoding audit: own settings, greedy, few-shot; then a first valid final_model, and what goes wrong."""
    variants = [{"name": "as given"}, {"name": "greedy", "temperature": 0.0}]
    if data:
        variants.append({"name": "few-shot", "temperature": 0.0, "shots": 3})
    measured = yield from bench.call(
        "evaluate", {"model": "base", "label": "base", "variants": variants}, "Measure the base before changing it."
    )
    results = measured.rows("evaluations")
    if not results:
        yield from bench.call(
            "note", {"content": f"The base could not be evaluated: {measured.error}", "kind": "lesson"}
        )
        return False
    bench.evaluation_s = max(1.0, float(measured.get("seconds") or 5.0) / len(variants))
    zero_shot = [r for r in results if not r.get("shots")]
    bench.baseline = float(zero_shot[0]["score"])
    top = max(zero_shot, key=_score)
    bench.temperature = top.get("temperature")
    promoted = yield from bench.promote("base", top, "From here on a valid final_model exists.")
    bench.reference = top["evaluation"]
    bench.best = float(top["score"])
    bench.groups = error_counts(top)
    signs = sorted({GROUP_SIGN[k] for k in bench.groups if k in GROUP_SIGN})
    if signs:
        why = "Wrong answers of the base: " + ", ".join(f"{n} {k}" for k, n in bench.groups.items())
        found = yield from bench.call(
            "search_recipes", {"query": "", "signs": signs, "needs": bench.needs(), "limit": 2}, why
        )
        for card in found.rows("recipes")[:1]:
            yield from bench.call(
                "read_recipe", {"recipe": card["id"]}, f"A remedy for {', '.join(card['signs'][:3])}?"
            )
    return promoted


def _score(result: dict[str, Any]) -> float:
    return float(result["score"])


# ------------------------------------------------------------------------------------------------------------ moves


def _next_move(bench: Bench, tried: set[str]) -> Act:
    """The most promising thing not yet tried, from what has been seen; None when nothing is left."""
    if bench.wishes.look_at_errors:
        bench.wishes.look_at_errors = False
        yield from bench.look_at_errors()
    parked = bench.strands.names  # begun already: it goes on once a person has decided
    moves = [m for m in ("sft", "grpo", "rounds", "labels", "rft") if m not in parked]
    allowed = [m for m in moves if bench.method_of(m) not in bench.wishes.skip]
    if bench.paying in ("sft", "rounds") and "rounds" in allowed and bench.fits("rounds"):
        return "rounds"  # what pays goes on; the other moves come when it no longer does
    for move in allowed:
        if move not in tried and bench.fits(move):
            return move
    # everything was tried once: what gained most may gain again
    for move in ("rounds", "grpo"):
        if move in allowed and bench.gains.get(move, 0.0) > 0 and bench.fits(move):
            return move
    return None


def _sft(bench: Bench) -> Act:
    """Supervised fine-tuning: a ladder of learning rates, then long jobs at the rates that deserve one."""
    experiment = yield from bench.begin("Supervised fine-tuning on the cleaned data raises the score", "sft")
    trials = yield from climb(bench, "sft", experiment, start="base")
    chosen = candidates(bench, "sft", trials)
    if not chosen:
        yield from bench.conclude(experiment, None)
        return False
    return (yield from full(bench, "sft", experiment, chosen, start="base", share=0.4, seen=trials))


def _rounds(bench: Bench) -> Act:
    """Go on from the best checkpoint with its settings and a fresh schedule (warm restarts, arXiv 1608.03983), and beside
    it with one setting changed; the better of the two leads the next round (population-based training, 1711.09846)."""
    same = bench.last["sft"]
    same = same.but(seed=bench.seed + bench.number)
    names = list(_MUTATIONS)
    change, changed = "", None
    for offset in range(len(names)):
        change = names[(bench.mutation + offset) % len(names)]
        changed = _MUTATIONS[change](bench, same)
        if changed is not None:
            bench.mutation += offset
            break
    chosen = [same, changed] if changed is not None else [same]
    if bench.slots() < 2:  # one at a time: the settings as they are while they pay, then a change
        chosen = chosen[:1] if bench.paying else chosen[-1:]
    what = (
        f"the same settings, or {change}" if len(chosen) > 1 else "the same settings" if chosen[0] is same else change
    )
    experiment = yield from bench.begin(f"Going on from the best checkpoint raises the score: {what}", "rounds")
    # Few long rounds beat many short ones: a schedule that starts again costs steps.
    share = 0.5 if bench.seconds_left() > 12 * bench.smallest_experiment_s() else 0.9
    gained = yield from full(bench, "sft", experiment, chosen, start="final", share=share)
    won = changed is not None and bench.last["sft"].settings == changed.settings
    bench.mutation += 0 if won and gained else 1
    return gained


def _raise_lr(bench: Bench, trial: Trial) -> Trial | None:
    lr = higher(float(trial.settings["lr"]), bench.broken.get("sft"))
    return None if lr is None else trial.but(lr=lr)


def _halve_batch(bench: Bench, trial: Trial) -> Trial | None:
    batch = int(trial.settings["batch_size"]) // 2
    return trial.but(batch_size=batch) if batch >= SMALLEST_BATCH else None


_MUTATIONS: dict[str, Callable[[Bench, Trial], Trial | None]] = {
    "a higher learning rate": _raise_lr,
    "half the batch": _halve_batch,
    "a third of the learning rate": lambda bench, trial: _gentler(trial),
}
"""Changes a round may try, in turn; a change that won is tried again first."""

SMALLEST_BATCH = 8
"""Below it a train step is mostly overhead on every machine."""


def _grpo(bench: Bench) -> Act:
    """Reinforcement learning on checked answers from the best model so far; a long job only where a short one gains."""
    experiment = yield from bench.begin("Answers can be checked: GRPO from the best model raises the score", "grpo")
    trials = yield from climb(bench, "grpo", experiment, start="final")
    top = best(trials) or next((t for t in trials if not t.job), None)
    if top is None:
        yield from bench.conclude(experiment, None)
        return False
    if top.job and (top.score or 0.0) <= top.start_score:
        gained = yield from judge(bench, "grpo", experiment, {top.job: top})
        return gained or None  # a short trial without a gain is a look, not an attempt
    return (yield from full(bench, "grpo", experiment, [top], start="final", share=0.5, seen=trials))


def _labels(bench: Bench) -> Act:
    """Ask the trained model which training labels it cannot believe, drop them, go on from the best checkpoint."""
    audit = yield from bench.call(
        "audit_labels",
        {"model": "final", "data": bench.data},
        "Are the labels right? The model so far is asked about each.",
    )
    suspicious = int(audit.get("suspicious", 0))
    if audit.error or not suspicious:
        return None
    experiment = yield from bench.begin(
        f"Leaving out {suspicious} labels the model does not believe raises the score", "labels"
    )
    cleaner = f"{bench.data}-audited"
    made = yield from bench.call(
        "prepare_data",
        {"name": cleaner, "sources": [bench.data], "options": {"exclude": audit.get("file")}},
        "Drop them.",
    )
    if made.error:
        yield from bench.conclude(experiment, None)
        return None
    rows = bench.row_counts[cleaner] = int(made.get("rows", bench.rows))
    trial = bench.last["sft"]._replace(data=cleaner)
    gained = yield from full(bench, "sft", experiment, [trial], start="final", share=0.6)
    if gained:
        bench.data, bench.rows = cleaner, rows
    return gained


def _gentler(trial: Trial) -> Trial:
    """A third of the rate: what was learnt at the full rate is to be kept."""
    return trial.but(lr=float(f"{float(trial.settings['lr']) / 3:.2g}"))


def _rft(bench: Bench) -> Act:
    """Rejection sampling: the model's own checked answers as new demonstrations."""
    experiment = yield from bench.begin("Training on the model's own checked answers raises the score", "rft")
    data = bench.data
    made = yield from bench.call(
        "sample_and_verify", {"model": "final", "data": data, "name": f"{data}-own"}, "Sample, check, keep."
    )
    if made.error or not int(made.get("rows", 0)):
        yield from bench.conclude(experiment, None)
        return None
    trial = bench.last["sft"]._replace(data=f"{data}-own")
    return (yield from full(bench, "sft", experiment, [trial], start="final", share=0.5))


_MOVES: dict[str, Callable[[Bench], Act]] = {
    "sft": _sft,
    "grpo": _grpo,
    "rounds": _rounds,
    "labels": _labels,
    "rft": _rft,
}
