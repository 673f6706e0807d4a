"""Short trials: a ladder of learning rates, its rungs side by side, and which rates deserve a long job."""

from __future__ import annotations

import math
from typing import Any

from core.agent.playbook.bench import Bench
from core.agent.playbook.model import Act, Observation
from core.agent.playbook.reports import learn_from, note_speed, out_of_memory
from core.agent.playbook.search import Trial, first_score, higher, ladder, last_score, next_rungs, worth_a_long_job

MOST_TRIALS = 8
"""Of one range test."""

UNMEASURED_S = 25.0
"""Allowance for a job's start (imports, loading) before the first job has been measured; only a limit, never waited for."""


SMOKE_STEPS = 20


def smoke(bench: Bench, method: str, experiment: str, trial: Trial, start: str, steps: int = SMOKE_STEPS) -> Act:
    """A few steps before a long job of a method that was not tried yet: does it run, and what does a step take?"""
    arguments = {
        "method": method, "data": trial.data or bench.data, "model": start, "experiment": experiment,
        "title": f"{method} smoke test", "settings": {**trial.settings, "max_steps": steps},
    }  # fmt: skip
    told = yield from bench.train(arguments, "A long job comes next: first see that it runs.")
    launched = yield from bench.launched(told, arguments)
    if launched.error:
        return
    waited = yield from bench.call("wait_for_jobs", {"jobs": [launched.get("job")]}, "")
    for report in waited.rows("jobs"):
        note_speed(bench, method, trial.settings, report)
        yield from learn_from(bench, report, method, experiment)


def climb(bench: Bench, method: str, experiment: str, start: str) -> Act:
    """A ladder of learning rates by short trials, its rungs filling the machine's slots. Returns all trials, or one
    that has not run where a person named the rate."""
    low, high = bench.bounds(method, "lr", (1e-5, 1e-4))
    known: dict[str, Any] = bench.settings.get(method, {}).get("lr") or {}
    if bench.wishes.lr is not None or bench.wishes.no_ladder:
        lr = bench.wishes.lr or math.sqrt(low * high)
        return [Trial(lr, "", None, False, {**bench.base_settings(method), "lr": lr})]
    slots = bench.slots()
    each = max(6.0, 0.07 * bench.seconds_left() * slots / 2)
    trials: list[Trial] = []
    if method == "grpo":  # it needs tens of steps a trial: only the upper half of its range, where the signal shows
        rates = ladder(low, high, 3)[1:]
    else:
        rates = ladder(low, high, -(-3 // slots) * slots)
    others: list[float] = []
    """Rates that wait until one training has been seen to fit the memory."""
    while rates:
        before, room = bench.seconds_left(), {**bench.fitting.get(method, {})}
        seen = yield from _trials(bench, method, experiment, start, rates, each, known.get("card", ""))
        if not seen and bench.fitting.get(method, {}) != room:
            rates, others = rates[:1], rates[1:] or others
            continue  # none of them fitted the memory: again, as it fits
        trials += seen
        if seen and others:
            rates, others = others, []
            continue
        slow = before - bench.seconds_left() > 0.1 * before  # a machine on which looking further costs too much
        if method == "grpo" or not seen or slow or len(trials) >= MOST_TRIALS:
            break
        rates = next_rungs(trials, min(2, slots))
    _note_broken(bench, method, trials)
    scores = ", ".join(
        f"{t.lr:g}: {'failed' if t.failed or t.score is None else f'{100 * t.score:.1f} %'}" for t in sorted(trials)
    )
    words = f"{method} learning rates by short trials from {start}: {scores}"
    yield from bench.call("note", {"content": words, "kind": "lesson"}, "")
    return trials


def _note_broken(bench: Bench, method: str, trials: list[Trial]) -> None:
    broken = [t.lr for t in trials if not t.sound]
    if broken:
        bench.broken[method] = min(broken)


def candidates(bench: Bench, method: str, trials: list[Trial]) -> list[Trial]:
    """What gets a long job, first choice first, as many as the machine runs side by side."""
    named = [t for t in trials if not t.job]  # a rate a person named, untried
    found = named or worth_a_long_job(trials, bench.value(method, "lr", trials[0].lr if trials else 1e-5))
    if len(found) == 1 and not named:
        raised = higher(found[0].lr, bench.broken.get(method))
        found += [found[0].but(lr=raised)] if raised is not None else []
    return found[: max(1, min(2, bench.slots()))]


def _trials(
    bench: Bench, method: str, experiment: str, start: str, rates: list[float], each: float, source: str
) -> Act:
    """All rungs that may start at once, then those that wait for a person."""
    settings = bench.base_settings(method)
    if bench.arrays and len(rates) > 1:
        return (yield from _swept(bench, method, experiment, start, (rates, each), source))
    asked: list[tuple[Observation, dict[str, Any]]] = []
    for lr in rates:
        arguments = {
            "method": method, "data": bench.data, "model": start, "title": f"{method} trial, lr {lr:g}",
            "settings": _trial_settings(bench, method, {**settings, "lr": lr}, each), "experiment": experiment,
        }  # fmt: skip
        asked.append(((yield from bench.train(arguments, f"A short trial at {lr:g} ({source}).")), arguments))
        settings |= bench.fitting.get(method, {})
    seen = yield from _read(bench, method, experiment, settings, [a for a in asked if not a[0].waiting])
    late: list[tuple[Observation, dict[str, Any]]] = []
    for told, arguments in [a for a in asked if a[0].waiting]:
        late.append(((yield from bench.launched(told, arguments)), arguments))
    return seen + (yield from _read(bench, method, experiment, settings, late))


def _swept(
    bench: Bench, method: str, experiment: str, start: str, rungs: tuple[list[float], float], source: str
) -> Act:
    """All rungs by one call: the scheduler gets them as one. `rungs`: their rates, and the seconds of each."""
    rates, each = rungs
    settings = bench.base_settings(method)
    arguments = {
        "method": method, "data": bench.data, "model": start, "title": f"{method} trial", "experiment": experiment,
        "settings": _trial_settings(bench, method, settings, each), "vary": [{"lr": lr} for lr in rates],
    }  # fmt: skip
    at = ", ".join(f"{lr:g}" for lr in rates)
    told = yield from bench.call("sweep", arguments, f"Short trials at {at} ({source}).")
    if told.error:
        yield from bench.call("note", {"content": f"The trials could not start: {told.error}"}, "")
    for row in told.rows("not_started"):
        yield from bench.call("note", {"content": f"The trial at {row['lr']:g} could not start: {row['why']}"}, "")
    settings |= told.edited.get("settings") or {}  # a person may have changed them
    jobs = {str(row["job"]): float(row["lr"]) for row in told.rows("jobs") if row.get("lr")}
    return (yield from _follow(bench, method, experiment, settings, jobs))


def _trial_settings(bench: Bench, method: str, settings: dict[str, Any], each: float) -> dict[str, Any]:
    one_epoch = -(-bench.rows // int(settings["batch_size"]))
    steps = max(20, min(one_epoch, 50)) if method == "sft" else 40
    return {
        **settings,
        "max_steps": steps,
        # Only runs whose rate has decayed can be compared (arXiv 2405.18392); a policy gradient keeps its rate.
        "scheduler": "cosine" if method == "sft" else "constant_with_warmup",
        "time_limit_s": each + (bench.overhead_s or UNMEASURED_S),
        "threads": max(1, bench.cores // bench.slots()),
        "eval_every": steps if method == "sft" else max(5, steps // 3),
    }


def _read(
    bench: Bench,
    method: str,
    experiment: str,
    settings: dict[str, Any],
    launched: list[tuple[Observation, dict[str, Any]]],
) -> Act:
    """Wait for the trials that were launched; a Trial of each that could start."""
    jobs: dict[str, float] = {}
    for told, arguments in launched:
        lr = float(arguments["settings"].get("lr", 0.0))
        if told.error:
            yield from bench.call("note", {"content": f"The trial at {lr:g} could not start: {told.error}"}, "")
        else:
            jobs[told.get("job")] = lr
    return (yield from _follow(bench, method, experiment, settings, jobs))


def _follow(bench: Bench, method: str, experiment: str, settings: dict[str, Any], jobs: dict[str, float]) -> Act:
    """Wait for the jobs, each with its rate; a Trial of each."""
    if not jobs:
        return []
    waited = yield from bench.call("wait_for_jobs", {"jobs": list(jobs)}, "")
    trials: list[Trial] = []
    for report in waited.rows("jobs"):
        note_speed(bench, method, settings, report)
        yield from learn_from(bench, report, method, experiment)
        if out_of_memory(report):  # that says nothing of its learning rate
            bench.make_room(method, settings)
            continue
        failed = report["status"] in ("failed", "lost") or any(f["severity"] == "failing" for f in report["diagnosis"])
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
