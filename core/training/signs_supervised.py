"""Signs of trouble in trainings that minimise a loss (SFT, DPO, reward models); one function a kind."""

from __future__ import annotations

from itertools import pairwise
from math import hypot
from statistics import median

from core.training.devscore import Dev, Watched
from core.training.diagnosis import Finding, finding
from core.training.history import History, Rise, Series, score_error


def divergence_loss(watch: Watched) -> Finding | None:
    """The loss climbs away from its best and stays there."""
    history = watch.history
    loss = history.get("loss")
    window = history.patience("loss")
    if len(loss) < 3 * window:
        return None
    medians = [median(loss.values[max(i - window + 1, 0) : i + 1]) for i in range(len(loss))]
    best = min(medians)
    at = medians.index(best)
    if at < window or len(loss) - at <= window:
        return None  # a bump of the first updates is `divergence_start`'s
    # standard error of a median of `window` values, by the noise there was before anything went wrong
    noise = max(1.253 * loss.noise(until=at + window) / window**0.5, _drift(medians[window - 1 : at + window : window]))
    start = loss.start(min(3, window))
    # from 12 to 0.2 and back to 2 is as broken as from 1 to 2: what counts is where the loss usually was
    usual = min(abs(start), 3 * median(medians))
    margin = max(8 * min(noise, 0.2 * abs(start)), 0.3 * usual, min(best, 0.5 * usual))
    over = [m > best + margin for m in medians]
    run = loss.streak(over)
    if run == 0:
        return None
    said = [f"loss {start:.3g} at the start, {best:.3g} at best (step {loss.steps[at]}), now {medians[-1]:.3g}"]
    dev = Dev(watch)
    if dev.known:
        said.append(str(dev))
    recovering = medians[-1] < 0.7 * max(medians[at:])
    gone = medians[-1] > start + margin / 2 and not recovering
    severity = "failing" if run >= window and not recovering else "warning"
    return finding("divergence", loss.steps[-run], severity, 0.9 if gone else 0.75, said, hopeless=gone)


def _drift(blocks: list[float]) -> float:
    """How far medians of neighbouring windows usually lie apart, as a standard error of one: rows of a text or a data set
    in its order are alike, so that their mean moves more than independent rows say. 0 for a few windows."""
    moves = [abs(b - a) for a, b in pairwise(blocks)]
    return median(moves) / 0.954 if len(moves) >= 5 else 0.0


def divergence_start(watch: Watched) -> Finding | None:
    """The first updates destroyed what the model knew and it did not come back.

    A bump that heals is normal: a restart at a high learning rate forgets first and learns then. So this waits for a
    quarter of the plan, except where the loss is so high that nothing can be left.
    """
    history, loss = watch.history, watch.history.get("loss")
    window = history.patience("loss")
    if len(loss) < window + 1 or loss.steps[0] > max(0.05 * (history.planned or 0), 2):
        return None
    first, now = loss.values[0], loss.now(window)
    if first <= 0 or now < first + 0.5 or now < 1.5 * first:
        return None
    dev = Dev(watch)
    said = [f"loss {first:.3g} before the first update, {max(loss.values):.3g} at worst, now {now:.3g}"]
    if dev.known:
        said.append(str(dev))
    done = history.progress if history.planned else len(loss) / 50
    before = median(loss.values[-2 * window : -window]) if len(loss) >= 2 * window else now
    falling = now < 0.95 * before
    if now > 10 * max(first, 1.0) and not falling:
        return finding("divergence", loss.steps[1], "failing", 0.95, said, hopeless=True)
    if now > 2.5 * first and done >= 0.25:
        return finding("divergence", loss.steps[1], "failing", 0.9, said, hopeless=not falling or done >= 0.5)
    # twelve times the perplexity it had, and not on its way back: what was known is gone, a quarter of the plan or not
    stays = len(loss) >= 3 * window and now >= 0.95 * median(loss.values[-3 * window : -2 * window])
    if stays and now > max(2.5 * first, first + 2.5) and done >= 0.1:
        return finding("divergence", loss.steps[1], "failing", 0.85, said)
    half = loss.values[len(loss) // 2 :]
    lost = now > max(2 * first, first + 1.5)  # four times the perplexity
    if done >= 0.5 and lost and min(half) > 1.3 * first and now > 0.9 * median(half[: max(len(half) // 2, 1)]):
        said.append("in the second half of the log never near where it was before the training")
        return finding("divergence", loss.steps[1], "failing", 0.85, said)
    return finding("divergence", loss.steps[1], "warning", 0.5, said)


SURE_AND_WRONG = 2.0
"""Cross-entropy over the entropy of the model's own predictions. For a calibrated model the two are equal (1706.04599), and
pretrained language models are nearly so (2207.05221); twice, and a nat above, is a model that is sure of what is wrong."""
LESS_SURE = 1.25
"""Entropy over that of the first row. What learns becomes surer: its entropy falls towards that of the data."""
HIGH_RATE = 1e-2
"""Sixteen times what the smallest GPT-3 was pretrained at (6e-4, 2005.14165), fifty times the highest rate for fine-tuning in
the recipe library."""


def only_less_sure(watch: Watched) -> Finding | None:
    """The first updates destroyed what the model knew, before the first row was logged.

    From there the loss falls as a healthy one does. But where it was early far above the entropy of the model's own predictions
    and that entropy rises, it falls because the model is no longer sure. That teaches nothing where, at half of the plan, most
    tokens are predicted wrong and no more right than in the first row, or the rate is beyond all use: then the model learns anew
    from nothing. A base that was sure of another format begins alike, and gets tokens right soon. Where the first train step
    is in the log, or a development score, these tell more.
    """
    history, dev = watch.history, Dev(watch)
    loss, entropy, right = (history.get(name) for name in ("loss", "entropy", "mean_token_accuracy"))
    done = history.progress if history.planned else len(loss) / 50
    if not 8 <= len(loss) == len(entropy) or loss.steps[0] <= 1 or done < 0.5 or (dev.known and not dev.down):
        return None
    early = list(zip(loss.steps, loss.values, entropy.values, strict=True))[: max(len(loss) // 4, 1)]
    step, worst, unsure = max(early, key=lambda row: row[1] - row[2])
    if worst < max(SURE_AND_WRONG * unsure, unsure + 1) or not less_sure(history):
        return None
    rates = history.get("learning_rate")
    beyond_use = len(rates) > 0 and max(rates.values) >= HIGH_RATE
    known = len(right) == len(loss)
    if (known and right.now(3) > min(0.5, 1.0 if beyond_use else right.values[0])) or not (known or beyond_use):
        return None
    said = [f"loss {worst:.3g} at entropy {unsure:.3g} at step {step}: sure of what is wrong"]
    said.append(f"since then loss {loss.now(3):.3g} at entropy {entropy.now(3):.3g}: no longer sure")
    if known:
        said.append(f"tokens predicted right {right.values[0]:.0%} -> {right.now(3):.0%}")
    if beyond_use:
        said.append(f"learning rate {max(rates.values):.3g}")
    return finding("divergence", step, "failing", 0.75, said)


def less_sure(history: History) -> bool:
    """The model's predictions have clearly more entropy than in the first row."""
    entropy = history.get("entropy")
    return len(entropy) >= 3 and entropy.now(3) > LESS_SURE * entropy.values[0]


def score_lost(watch: Watched) -> Finding | None:
    """The development score fell far below the base's at once, whatever the loss says: updates too large.

    Two scores have to say so, or the last one of the plan: there will be no other, and it has to be beyond all doubt.
    """
    dev, loss = Dev(watch), watch.history.get("loss")
    final = watch.history.progress >= 1 and dev.far_down and dev.change < -5 * dev.error
    if not dev.far_down or not (dev.twice_down or final) or dev.recovering:
        return None
    if len(loss) < 3 or watch.history.progress < 0.25:
        return None
    if loss.now(3) < 0.98 * loss.values[0]:
        return None  # overfitting, or the data
    said = [str(dev), f"loss {loss.start(3):.3g} -> {loss.now(3):.3g}"]
    return finding("divergence", dev.steps[1], "failing", 0.8, said)


TINY_RATE = 1e-8
"""Far below any learning rate in use, for adapters and for the largest models."""


def no_learning_signal(watch: Watched) -> Finding | None:
    """No gradient at all: every label is masked, the pairs are equal, or nothing is trainable."""
    if watch.history.without_rate():
        return rate_is_zero(watch.history)
    gradients = watch.history.get("grad_norm")
    if not len(gradients):
        return _loss_is_constant(watch.history)
    if len(gradients) < 3 or max(gradients.values) > 1e-6:
        return None
    said = [f"grad_norm at most {max(gradients.values):.1g} in each of the first {len(gradients)} rows"]
    return finding("no_learning_signal", gradients.steps[0], "failing", 0.98, said, hopeless=True)


def _loss_is_constant(history: History) -> Finding | None:
    """Not a digit of the loss moves from batch to batch: it does not depend on the rows."""
    loss = history.get("loss")
    if len(loss) < 10 or max(loss.values) != min(loss.values):
        return None
    said = [f"loss {loss.values[0]:.6g} to the last digit in each of the first {len(loss)} rows"]
    return finding("no_learning_signal", loss.steps[0], "failing", 0.95, said, hopeless=True)


def rate_is_zero(history: History) -> Finding:
    """Whatever the gradients are, nothing is learnt from them."""
    rates = history.get("learning_rate")
    said = [f"learning_rate 0 in each of the first {len(rates)} rows"]
    return finding("no_learning_signal", rates.steps[0], "failing", 0.98, said, hopeless=True)


def over_fitting(watch: Watched) -> Finding | None:
    """Better on what it saw, worse on what it did not."""
    history, dev = watch.history, Dev(watch)
    loss, held = history.get("loss"), history.get("eval_loss")
    if len(loss) < 4 or loss.now(3) > 0.98 * loss.values[0]:
        return None  # a loss that has not fallen below its first value has not fitted anything yet
    trained = f"training loss {loss.values[0]:.3g} -> {loss.now(3):.3g}"
    if len(held) >= 3:
        least = min(held.values)
        at = held.values.index(least)
        recent = min(held.values[-2:])
        if at < len(held) - 2 and recent > 1.1 * least and recent - least > 2 * _shake(held, at):
            said = [trained, f"eval loss {least:.3g} at step {held.steps[at]}, now {held.values[-1]:.3g}"]
            fitted = loss.now(3) < 0.5 * held.values[-1]  # the gap to what was seen, beside the rise
            grave = not dev.up and (held.values[-1] > 1.25 * least or (fitted and at < len(held) - 3))
            return finding("over_fitting", held.steps[at], "failing" if grave else "warning", 0.8, said)
    if dev.twice_down:
        said = [trained, str(dev)]
        # Early in the plan a low score beside a falling loss is forgetting at a high rate, which heals as the rate decays.
        grave = dev.change < -3 * dev.error and not dev.recovering and history.progress >= 0.5
        return finding("over_fitting", dev.steps[1], "failing" if grave else "warning", 0.8, said)
    peak_error = hypot(score_error(dev.best, dev.n), score_error(dev.now, dev.n)) if dev.known else 1.0
    if dev.known and len(dev.values) >= 4 and dev.best - max(dev.values[-2:]) > 3 * peak_error:
        at = dev.steps[dev.values.index(dev.best)]
        said = [trained, f"development score {dev.best:.3f} at step {at}, now {dev.now:.3f}"]
        return finding("over_fitting", at, "warning", 0.6, said)
    return None


def _shake(series: Series, until: int) -> float:
    """How much the series moved upwards on its way down: its noise, in its own unit."""
    steps = list(zip(series.values[:until], series.values[1 : until + 1], strict=False))
    return max((b - a for a, b in steps if b > a), default=0.0)


def plateau(watch: Watched) -> Finding | None:
    """Nothing was learnt by the greater part of the plan; failing where that is certain and not for lack of anything to
    learn."""
    history, dev = watch.history, Dev(watch)
    loss, rates = history.get("loss"), history.get("learning_rate")
    tiny = len(rates) >= 8 and max(rates.values) <= TINY_RATE
    if history.progress < (0.2 if tiny else 0.6) or len(loss) < 8 or dev.up:
        return None
    rise = Rise(loss, len(loss) // 3)
    level = abs(rise.start)
    if tiny and abs(rise.change) < max(0.02 * level, 2.5 * rise.error):
        said = [f"learning rate at most {max(rates.values):.1g}", f"loss {rise.start:.4g} -> {rise.now:.4g}"]
        return finding("plateau", loss.steps[0], "failing", 0.9, said)
    if history.progress < 0.6:
        return None
    if level < 0.05 or abs(rise.change) > 0.02 * level:
        return _stuck_high(history)
    said = [f"loss {rise.start:.4g} -> {rise.now:.4g} at {history.progress:.0%} of the plan"]
    if dev.known:
        said.append(str(dev))
    from_the_start = loss.mean(0, 3) < 1.02 * rise.now  # else a quick fall came before the flat stretch
    certain = from_the_start and abs(rise.change) + 2 * rise.error < 0.015 * level and not _fits(history)
    at = loss.steps[len(loss) // 2]
    return finding("plateau", at, "failing" if certain else "warning", 0.85 if certain else 0.6, said)


def _fits(history: History) -> bool:
    """The model predicts nearly all tokens already: a flat loss is an end, not a failure."""
    right = history.get("mean_token_accuracy")
    return len(right) > 0 and right.now() > 0.9


def _stuck_high(history: History) -> Finding | None:
    """A quick fall at the start, then nothing, with the loss still at more than half of what it was."""
    loss = history.get("loss")
    half = len(loss) // 2
    if half < 5:
        return None
    late = Series()
    for step, value in zip(loss.steps[half // 2 :], loss.values[half // 2 :], strict=True):
        late.add(step, value)
    rise = Rise(late, len(late) // 3)
    if rise.now < 0.5 * loss.values[0] or abs(rise.change) + rise.error > 0.02 * abs(rise.start):
        return None
    said = [f"loss {loss.values[0]:.3g} at the start, {rise.start:.4g} -> {rise.now:.4g} since step {late.steps[0]}"]
    return finding("plateau", late.steps[0], "warning", 0.5, said)


SUPERVISED = (no_learning_signal, divergence_loss, divergence_start, only_less_sure, score_lost, over_fitting, plateau)
