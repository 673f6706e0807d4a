"""The end of a run: stop what runs, read the held-out split once, verify `final_model`, write the report."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import msgspec

from core import events as e
from core.agent.desk import Desk
from core.agent.trust import approved_risks
from core.compute.place import place
from core.errors import EvaluationError, EvaluationTimeout, InternError, NoPlace
from core.evaluation.benchmark import BenchmarkResult, Request, in_percent, measure_guarded, read_samples
from core.evaluation.guard import Guard, changed_packages
from core.evaluation.scale import SAY_SO, Scale, settle
from core.evaluation.stats import Difference, paired_difference, unpaired_difference, wilson
from core.final_model import looked_at
from core.report import write_report
from store.errors import StoreError

LONGEST_WAIT_S = 1800.0
"""For a place on the machine, whatever was held back for the last evaluation."""

IMPLAUSIBLE = 4.0
"""A held-out score of which nobody knows the scale and that is so many times above the development score's interval."""

SHORT_LIMIT = 200
"""Samples of a held-out evaluation that has to be cut because the whole does not fit."""

WHOLE_SHARE = 2 / 3
"""Of the time that is left, the whole split may take: a cut one must still fit after it."""


def finish(desk: Desk, guard: Guard, status: str, reason: str, quick: threading.Event) -> None:
    """End the run. `quick`: no time for an evaluation (the host was told to go); may be set while one waits or runs."""
    _stop_jobs(desk)
    _close_plan(desk)
    if not (desk.folder / "final_model").exists():
        why = (
            f"{reason or 'the brain ended'}; no model was measured, so there is no final_model{_hanging(desk, reason)}"
        )
        return _end(desk, status if status != "finished" else "failed", why, None)
    if quick.is_set():
        return _end(desk, status, reason, None)
    try:
        scores = _held_out(desk, guard, quick)
    except (EvaluationTimeout, NoPlace) as error:  # says nothing of the model, only of the machine and the time
        desk.emit(e.NoteAdded(text=f"final_model was chosen on development samples and not looked at again: {error}"))
        if quick.is_set():
            return _end(desk, status, reason, None)
        why = "the machine had no place" if isinstance(error, NoPlace) else "the time that was left was too short"
        return _end(desk, "failed", f"no held-out score, {why}: {error}", None)
    except InternError as error:
        if quick.is_set():  # it was ended because there is no time
            return _end(desk, status, reason, None)
        desk.emit(e.SubmissionVerified(path=str(desk.folder / "final_model"), ok=False, checks=[str(error)]))
        return _end(desk, "failed", f"the last evaluation failed: {error}", None)
    final = desk.folder / "final_model"
    ok, checks = looked_at(final, desk.prompting, changed_packages(guard))
    desk.emit(e.SubmissionVerified(path=str(final), ok=ok, checks=checks))
    _end(desk, status, reason, scores)


def _hanging(desk: Desk, reason: str) -> str:
    """What there is to say of the first look at evaluate.py, where that has not come to its end."""
    look = desk.state.evaluations.get("contract")
    if look is None or look.done or "evaluate.py" in reason:
        return ""
    seconds = time.time() - look.ts / 1e6
    return f"; evaluate.py had not ended after {seconds:.0f} s with a few samples: it hangs, or the run is too short for it"


def _stop_jobs(desk: Desk) -> None:
    running = [j.id for j in desk.state.running_jobs()]
    threads = [threading.Thread(target=desk.compute.cancel, args=(job, 5.0)) for job in running]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    desk.journal.wait(lambda s: not s.running_jobs(), 10)


def _close_plan(desk: Desk) -> None:
    """No step is left open by a run that ends."""
    ends = {"doing": "done", "todo": "skipped"}
    steps = [msgspec.structs.replace(s, status=ends.get(s.status, s.status)) for s in desk.state.plan]
    if steps != desk.state.plan:
        desk.emit(e.PlanUpdated(steps=steps, reason="the run ends"))


def _held_out(desk: Desk, guard: Guard, quick: threading.Event) -> tuple[BenchmarkResult, BenchmarkResult, Difference]:
    """Base and final_model on the whole held-out split, side by side where the machine allows; the paired difference.

    They take one place in the machine's queue. How long they wait for it, at most what was held back for them, is not taken
    from their time.
    """

    def tell(text: str) -> None:
        desk.emit(e.NoteAdded(text=text))

    has = desk.clock.left_s
    patience = min(desk.clock.reserve_s, LONGEST_WAIT_S)
    known = measured(desk, "base") and measured(desk, "final_model")
    with (
        nullcontext(dict[str, str]()) if known else
        place(
            desk.compute, f"{desk.settings.run}:held-out", "The last evaluation", gpus=desk.task.evaluate_gpus,
            slots=desk.own_cores, patience_s=patience, stop=quick, tell=tell,
        ) as env
    ):  # fmt: skip
        began = time.monotonic()

        try:
            base, final = _both(desk, guard, -1, max(20.0, WHOLE_SHARE * has), env, quick)
        except EvaluationTimeout as error:
            tell(f"The whole held-out split does not fit ({error}); the first {SHORT_LIMIT} samples instead")
            left = has - (time.monotonic() - began)
            base, final = _both(desk, guard, SHORT_LIMIT, max(60.0, left), env, quick)
    before = _record(desk, base, "base, held-out", desk.settings.model, None, None)
    difference = _difference(base, final)
    if abs(base.n or 0) and base.n != final.n:
        raise InternError(
            f"The two held-out evaluations have {base.n} and {final.n} samples",
            next="Evaluate both models again by hand",
        )
    _record(desk, final, "final_model, held-out", str(desk.folder / "final_model"), difference, before)
    return base, final, difference


def _both(
    desk: Desk, guard: Guard, limit: int, timeout_s: float, env: dict[str, str], stop: threading.Event
) -> tuple[BenchmarkResult, BenchmarkResult]:
    results: dict[str, BenchmarkResult | InternError | StoreError] = {}
    threads = max(1, desk.own_cores // 2)

    def try_to(name: str, model: str) -> None:
        try:
            results[name] = measure(name, model)
        except (InternError, StoreError) as error:
            results[name] = error
        except Exception as error:  # noqa: BLE001 - a thread's bug must end this run in order, not vanish with the thread
            results[name] = InternError(f"{type(error).__name__}: {error}")

    def measure(name: str, model: str) -> BenchmarkResult:
        label = f"{name}, held-out"
        before = measured(desk, name)
        if before is not None:
            return before
        request = Request(
            model_path=model, output_folder=str(desk.folder / "evaluations" / f"heldout-{name}"), limit=limit,
            split="heldout" if desk.task.has_dev_split else None, timeout_s=timeout_s, threads=threads,
            env=env, scale=cast("Scale", desk.state.scores.scale), trusted=approved_risks(desk.state),
        )  # fmt: skip
        desk.emit(e.EvaluationStarted(evaluation=f"heldout-{name}", label=label, model=model, split="heldout"))
        return measure_guarded(desk.task, request, guard, lambda text: desk.emit(e.NoteAdded(text=text)), stop)

    work = [("base", desk.settings.model), ("final_model", str(desk.folder / "final_model"))]
    if desk.own_gpus:  # two models may not fit one GPU
        for name, model in work:
            try_to(name, model)
    else:
        running = [threading.Thread(target=try_to, args=item) for item in work]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    for name, _ in work:
        outcome = results[name]
        if isinstance(outcome, Exception):
            raise outcome
    base, final = results["base"], results["final_model"]
    assert isinstance(base, BenchmarkResult)
    assert isinstance(final, BenchmarkResult)
    return _on_one_scale(desk, base, final)


def _on_one_scale(desk: Desk, base: BenchmarkResult, final: BenchmarkResult) -> tuple[BenchmarkResult, BenchmarkResult]:
    """Both as shares. One number above 1 says of the other, and of the looks before, that they are percent too.

    Raises EvaluationError where the two contradict each other, or where nothing says which it is and the development score
    fits percent only.
    """
    where = desk.task.evaluate_path
    scale = settle(base.scale, final.scale, final.score, where)
    if scale == "percent":
        if not desk.state.scores.scale:
            _reread_looks(desk)
        return in_percent(base), in_percent(final)
    chosen = desk.state.evaluations.get(desk.state.scores.best_evaluation)
    if not scale and chosen is not None and final.score / 100 <= chosen.interval[1] < final.score / IMPLAUSIBLE:
        raise EvaluationError(
            f"nobody can tell whether {final.score:g} is a share or percent: on development samples the same model has "
            f"{100 * chosen.score:.1f} %",
            where=where, next=f"No gain is claimed from it. {SAY_SO}",
        )  # fmt: skip
    return base, final


def _reread_looks(desk: Desk) -> None:
    """What the first looks gave was taken for a share: the same number, in percent."""
    for look in list(desk.state.evaluations.values()):
        if look.split == "contract" and look.done and look.score > 0:
            score = look.score / 100
            desk.emit(
                e.EvaluationFinished(
                    evaluation=look.id, label=look.label, model=look.model, split=look.split, samples=look.samples, score=score,
                    interval=wilson(score * look.samples, look.samples), decoding=look.decoding, scale="percent",
                )
            )  # fmt: skip


def measured(desk: Desk, name: str) -> BenchmarkResult | None:
    """The held-out score of a model, if a host that died afterwards has recorded it: that split is read once."""
    known = desk.state.evaluations.get(f"heldout-{name}")
    if known is None or not known.done:
        return None
    return BenchmarkResult(
        score=known.score, metric=desk.state.scores.metric, stderr=None, n=known.samples,
        samples_path=known.samples_path or None, seconds=0.0, digest="", scale=cast("Scale", desk.state.scores.scale),
    )  # fmt: skip


def _difference(base: BenchmarkResult, final: BenchmarkResult) -> Difference:
    if base.samples_path and final.samples_path:
        before = {s.id: s.value for s in read_samples(Path(base.samples_path))}
        after = {s.id: s.value for s in read_samples(Path(final.samples_path))}
        if before.keys() == after.keys():
            return paired_difference(before, after)
    return unpaired_difference(base.score, base.n or 1, final.score, final.n or 1)


def _record(
    desk: Desk, result: BenchmarkResult, label: str, model: str, difference: Difference | None, against: str | None
) -> str:
    n = result.n or 1
    name = "heldout-base" if difference is None else "heldout-final_model"
    known = desk.state.evaluations.get(name)
    if known is not None and known.done:
        return name
    desk.emit(
        e.EvaluationFinished(
            evaluation=name, label=label, model=model, split="heldout", samples=n, score=result.score,
            interval=wilson(result.score * n, n), decoding="as the model says", against=against or "",
            delta=difference.delta if difference else None, delta_interval=difference.interval if difference else None,
            paired=bool(difference and difference.paired), p_value=difference.p if difference else None,
            samples_path=result.samples_path or "", digest=result.digest, seconds=result.seconds,
            scale=result.scale,
        )
    )  # fmt: skip
    return name


def _end(
    desk: Desk, status: str, reason: str, scores: tuple[BenchmarkResult, BenchmarkResult, Difference] | None
) -> None:
    final = desk.folder / "final_model"
    report = desk.folder / "report.md"
    base, best, difference = scores or (None, None, None)
    desk.emit(
        e.RunFinished(
            status=status, reason=reason, baseline=base.score if base else None, best=best.score if best else None,
            delta=difference.delta if difference else None, interval=difference.interval if difference else None,
            checkpoint=str(final) if final.exists() else None, report=str(report), seconds=desk.clock.used_s,
        )
    )  # fmt: skip
    write_report(desk.journal.snapshot(), report)
