"""One experiment: a hypothesis, its long jobs side by side, one evaluation of each on the development split against the
best model so far, and a verdict by the interval of the paired difference. A failure that was diagnosed gets one remedy
and one more try.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from core.agent.playbook.bench import Bench
from core.agent.playbook.model import Act, Observation
from core.agent.playbook.remedies import first_remedy
from core.agent.playbook.reports import error_counts, is_usable, learn_from, note_speed, out_of_memory
from core.agent.playbook.search import Trial, best, last_score
from core.agent.playbook.trials import smoke

LONG_S = 240.0
"""A job planned for longer than this, of a method that has not made a step yet, gets a smoke test first."""

MOST_CONTINUED = 3
"""Times a fine-tuning whose answers are all still wrong is gone on with."""
CONTINUED_SHARE = 0.5

Done = tuple[dict[str, Any], Trial]
"""A job's report and what it tried."""


def full(
    bench: Bench,
    method: str,
    experiment: str,
    trials: list[Trial],
    start: str,
    share: float,
    seen: Sequence[Trial] = (),
) -> Act:
    """Long jobs, side by side; evaluation, verdict, promotion. One more try with a remedy where all fail. The best of the
    short jobs in `seen` is judged with them where it got further: on a slow machine the time may not do for more.

    Returns whether the best of them is better than the best so far, by the interval of the paired difference.
    """
    done = yield from _full_jobs(bench, method, experiment, [_wished(bench, t) for t in trials], start, share)
    if done and not any(is_usable(report) for report, _ in done):
        again = _with_remedy(bench, method, *done[0])
        if again is not None and bench.seconds_left() > bench.smallest_experiment_s():
            words, trial = again
            yield from bench.call("note", {"content": f"Again, with {words}", "kind": "lesson"}, "")
            done = yield from _full_jobs(bench, method, experiment, [trial], start, share)
    for _ in range(MOST_CONTINUED):
        unripe = None if any(is_usable(report) for report, _ in done) else _unripe(method, done)
        if unripe is None or bench.seconds_left() <= 2 * bench.smallest_experiment_s():
            break
        report, trial = unripe
        words = (
            f"No answer is right yet, but nothing is wrong with {report['job']} either: it goes on from its checkpoint"
        )
        yield from bench.call("note", {"content": words, "kind": "lesson"}, "")
        done = yield from _full_jobs(bench, method, experiment, [trial], str(report["job"]), CONTINUED_SHARE)
    jobs = {
        str(report["job"]): trial._replace(seconds_per_step=report.get("seconds_per_step") or trial.seconds_per_step)
        for report, trial in done
        if is_usable(report)
    }
    reached = max((last_score(report) or 0.0 for report, _ in done if str(report["job"]) in jobs), default=0.0)
    short = best(list(seen))
    if short is not None and short.job and short.gain > 0 and (short.score or 0.0) > reached:
        jobs[short.job] = short
    if not jobs:
        yield from bench.conclude(experiment, None)
        return False
    return (yield from judge(bench, method, experiment, jobs))


def _unripe(method: str, done: list[Done]) -> Done | None:
    """The fine-tuning that is furthest (by its loss) among those that did not fail and have not solved anything: a task whose
    answers are right or wrong shows nothing for a while, and then much."""
    sound = [
        (report, trial)
        for report, trial in done
        if report["checkpoint"] and not any(f["severity"] == "failing" for f in report["diagnosis"])
    ]
    if method != "sft" or not sound:
        return None
    return min(sound, key=lambda one: float(one[0]["last"].get("loss", math.inf)))


def _wished(bench: Bench, trial: Trial) -> Trial:
    return trial.but(lr=bench.wishes.lr) if bench.wishes.lr else trial


def _with_remedy(bench: Bench, method: str, report: dict[str, Any], trial: Trial) -> tuple[str, Trial] | None:
    if out_of_memory(report):
        room = bench.fitting.get(method, {})
        return ("what fits the memory", trial.but(**room)) if room else None
    failing = [f for f in report["diagnosis"] if f["severity"] == "failing"]
    remedy = first_remedy(failing[0], trial.settings, bench.used_remedies) if failing else None
    if remedy is None:
        return None
    bench.used_remedies.add(remedy.words)
    return remedy.words, trial.but(**remedy.change)


def _full_jobs(bench: Bench, method: str, experiment: str, trials: list[Trial], start: str, share: float) -> Act:
    """Launch all, wait for all; (report, trial) of each that could start."""
    # Saving takes about what starting took, and each is evaluated afterwards, perhaps on a busier machine.
    left = bench.seconds_left() - 2 * bench.evaluation_s * len(trials) - bench.overhead_s
    limit = max(8.0, share * left)
    if limit > LONG_S and not any(known == method for known, _ in bench.step_times):
        yield from smoke(bench, method, experiment, trials[0], start)
    asked = yield from _ask_for_all(bench, method, experiment, trials, start, (limit, left))
    done: list[Done] = yield from _read(bench, method, experiment, [a for a in asked if not a.told.waiting])
    late: list[_Asked] = []
    for one in [a for a in asked if a.told.waiting]:
        late.append(one._replace(told=(yield from bench.launched(one.told, one.arguments))))
    return done + (yield from _read(bench, method, experiment, late))


class _Asked(NamedTuple):
    """A job that was asked for: started, refused, or waiting for a person."""

    told: Observation
    trial: Trial
    wanted: dict[str, Any]
    """Its settings as they were asked for."""
    arguments: dict[str, Any]


def _ask_for_all(
    bench: Bench, method: str, experiment: str, trials: list[Trial], start: str, seconds: tuple[float, float]
) -> Act:
    """Every job that is wanted. `seconds`: what each is planned for, and what it may take at most."""
    asked: list[_Asked] = []
    for trial in trials:
        data = trial.data or bench.data
        settings = _full_settings(bench, method, trial, seconds, len(trials))
        batch, steps = _batch(trial), settings["max_steps"]
        arguments = {
            "method": method, "data": data, "model": start, "settings": settings, "experiment": experiment,
            "title": f"{method}, lr {trial.settings['lr']:g}, batch {batch}, {steps} steps",
        }  # fmt: skip
        told = yield from bench.train(arguments, f"{steps} train steps fit {seconds[0]:.0f} s.")
        asked.append(_Asked(told, trial, settings, arguments))
    return asked


def _read(bench: Bench, method: str, experiment: str, asked: list[_Asked]) -> Act:
    """Wait for those that started; (report, trial) of each."""
    launched: dict[str, Trial] = {}
    for told, trial, wanted, arguments in asked:
        if told.error:
            words = f"The job could not start: {told.error}"
            yield from bench.call("note", {"content": words, "kind": "lesson"}, "")
        elif told.get("job"):
            launched[told.get("job")] = trial.as_launched(wanted, arguments["settings"])
    if not launched:
        return []
    waited = yield from bench.call("wait_for_jobs", {"jobs": list(launched)}, "")
    done: list[Done] = [(report, launched[report["job"]]) for report in waited.rows("jobs")]
    for report, trial in done:
        note_speed(bench, method, trial.settings, report)
        yield from learn_from(bench, {**report, "settings": trial.settings}, method, experiment)
        if out_of_memory(report):
            bench.make_room(method, trial.settings)
        elif any(f["severity"] == "failing" for f in report["diagnosis"]):
            bench.broken[method] = min(bench.broken.get(method, math.inf), trial.lr)
    return done


def _batch(trial: Trial) -> int:
    return int(trial.settings["batch_size"]) * int(trial.settings.get("grad_accum") or 1)


def _full_settings(
    bench: Bench, method: str, trial: Trial, seconds: tuple[float, float], beside: int
) -> dict[str, Any]:
    """`seconds`: what the job is planned for, and what it may take at most. `beside`: jobs that share the machine."""
    settings, (limit, most) = trial.settings, seconds
    rows = bench.rows_of(trial.data)
    wanted = int(settings.get("max_steps") or bench.epochs(method) * max(1, rows / _batch(trial)))
    if method == "grpo":
        wanted = int(settings.get("max_steps") or 400)
    seen = bench.step_times.get((method, int(settings["batch_size"])))
    step_s = statistics.median(seen) if seen else trial.seconds_per_step  # one trial may have met a busy machine
    steps = max(20, min(wanted, int((limit - min(bench.overhead_s, limit / 2)) / step_s))) if step_s else wanted
    return {
        **settings,
        "max_steps": steps,
        "scheduler": "cosine" if method == "sft" else "constant_with_warmup",
        "time_limit_s": max(8.0, min(1.2 * limit + bench.overhead_s, most)),
        "eval_every": max(5, steps // 6),
        "threads": max(1, bench.cores // beside),
    }


def judge(bench: Bench, method: str, experiment: str, jobs: dict[str, Trial]) -> Act:
    """Evaluate each on the development split against the best so far, conclude with the best, promote it if better."""
    results: dict[str, dict[str, Any]] = {}
    for job in jobs:
        measured = yield from bench.call(
            "evaluate",
            {
                "model": job, "label": f"{method} {job}", "variants": [{"name": "greedy", "temperature": 0.0}],
                "against": bench.reference, "experiment": experiment,
            },
            "Is it better than the best so far?",
        )  # fmt: skip
        bench.evaluation_s = max(bench.evaluation_s, float(measured.get("seconds") or 0.0))
        if measured.rows("evaluations"):
            results[job] = measured.rows("evaluations")[0]
    if not results:
        yield from bench.conclude(experiment, None)
        return False
    job = max(results, key=lambda j: float(results[j]["score"]))
    result, score = results[job], float(results[job]["score"])
    told = yield from bench.conclude(experiment, result["evaluation"])
    trial = jobs[job]._replace(data="")  # what comes next trains on the data in use
    change = bench.changes.get(experiment, method)
    bench.last.setdefault(method, trial)
    if score > bench.best and (yield from bench.promote(job, result, f"{100 * score:.1f} % is the best so far.")):
        bench.gains[change] = bench.gains.get(change, 0.0) + score - bench.best
        bench.last[method] = trial
        bench.best, bench.reference = score, result["evaluation"]
        bench.groups = error_counts(result)
    return told.get("verdict") == "better"
