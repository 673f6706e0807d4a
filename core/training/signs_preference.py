"""Signs of trouble in preference training (DPO and its kin), beside those of any training that minimises a loss.

DPO starts at a loss of ln 2, where the model equals the reference: a loss that stays above means that the model has become
worse than the reference at telling the better answer from the worse one.
"""

from __future__ import annotations

from math import log

from core.training.devscore import Dev, Watched
from core.training.diagnosis import Finding, finding
from core.training.history import History
from core.training.signs_supervised import SUPERVISED, divergence_loss

LN_2 = log(2)


def divergence_preference(watch: Watched) -> Finding | None:
    """The loss of a sigmoid DPO lies far above ln 2 for good."""
    history = watch.history
    loss = history.get("loss")
    window = history.patience("loss")
    if len(loss) < 2 * window or not _starts_at_ln2(loss.values[0]) or _with_likelihood(history):
        return None
    lost = _left_for_nothing(watch, loss.now(window), window) or _never_better(watch)
    if lost:
        return lost
    above = loss.streak([v > 1.5 * LN_2 for v in loss.values])
    now = loss.now(window)
    if above < window or (history.planned and history.progress < 0.15 and now < 3 * LN_2):
        return None
    falling = now < 0.8 * loss.values[-above]
    said = [f"loss {now:.3g}, above ln 2 = 0.693 (the reference model itself) for {above} rows"]
    said += _accuracy(watch)
    severity = "warning" if falling and now < 3 * LN_2 else "failing"
    return finding("divergence", loss.steps[-above], severity, 0.85, said, hopeless=now > 5 * LN_2)


def _left_for_nothing(watch: Watched, loss: float, window: int) -> Finding | None:
    """The answers lost their likelihood and the better one is still not preferred: the updates destroyed the model."""
    chosen, right = watch.history.get("logps/chosen"), watch.history.get("rewards/accuracies")
    if len(chosen) < 2 * window or loss < 0.9 * LN_2:
        return None
    start = chosen.values[0]
    lost = [v < 3 * start - 3 for v in chosen.values]  # log-likelihoods are negative; 3 nats for very short answers
    if chosen.streak(lost) < window or (len(right) and right.now(window) > 0.65):
        return None
    at = chosen.steps[-chosen.streak(lost)]
    said = [f"log-likelihood of the chosen answers {start:.3g} -> {chosen.now(window):.3g}", f"loss {loss:.3g}"]
    return finding("divergence", at, "failing", 0.9, said + _accuracy(watch), hopeless=True)


def _never_better(watch: Watched) -> Finding | None:
    """In no row as good as the reference, and the pairs told apart no better than by chance: seen also where rows are
    means over many steps, so that the jump itself lies within the first."""
    history = watch.history
    loss, right = history.get("loss"), history.get("rewards/accuracies")
    if len(loss) < 5 or history.progress < 0.25 or not len(right) or min(loss.values) <= LN_2:
        return None
    usual = loss.mean(0, len(loss))
    if usual < 1.05 * LN_2 or right.now(10) > 0.52:
        return None
    said = [f"loss {usual:.3g} on average, above ln 2 = 0.693 (the reference model itself) in every row"]
    return finding("divergence", loss.steps[0], "failing", 0.85, said + _accuracy(watch))


def _starts_at_ln2(first: float) -> bool:
    """True for the sigmoid loss; a first row that averages over some steps is already somewhat lower or higher."""
    return 0.3 < first < 1.2


def _with_likelihood(history: History) -> bool:
    """ORPO, CPO, SimPO and DPO with `rpo_alpha` add the answers' own loss: ln 2 is no yardstick for the sum."""
    return len(history.get("nll_loss")) > 0 or len(history.get("log_odds_ratio")) > 0


def _accuracy(watch: Watched) -> list[str]:
    right = watch.history.get("rewards/accuracies")
    return [f"rewards/accuracies {right.start(3):.2f} -> {right.now():.2f}"] if len(right) else []


def over_optimisation(watch: Watched) -> Finding | None:
    """The margin grows because both answers lose their likelihood, the chosen one too: DPO past its use (2402.13228).

    Some loss is normal; here the chosen answers have lost as much as they had, or the development score falls with them.
    """
    history, dev = watch.history, Dev(watch)
    chosen, margins = history.get("logps/chosen"), history.get("rewards/margins")
    window = history.patience("logps/chosen")
    if len(chosen) < 3 * window:
        return None
    start, now = chosen.start(window), chosen.now(window)
    fallen = (start - now) / max(abs(start), 1e-9)
    if fallen < 0.5 or (len(margins) and margins.now(window) <= 0):
        return None
    said = [f"log-likelihood of the chosen answers {start:.3g} -> {now:.3g}"]
    if len(margins):
        said.append(f"margin {margins.start(window):.3g} -> {margins.now(window):.3g}")
    if dev.known:
        said.append(str(dev))
    at = next((s for s, v in zip(chosen.steps, chosen.values, strict=True) if v < (start + now) / 2), 0)
    grave = dev.down or (fallen > 2.0 and not dev.up and not dev.known)
    return finding("over_optimisation", at, "failing" if grave else "warning", 0.8 if grave else 0.5, said)


def divergence_climb(watch: Watched) -> Finding | None:
    """A loss that climbs away from its best; below ln 2 it only says that the pairs got harder."""
    loss = watch.history.get("loss")
    window = watch.history.patience("loss")
    if len(loss) < window or (_starts_at_ln2(loss.values[0]) and loss.now(window) < 1.2 * LN_2):
        return None
    return divergence_loss(watch)


PREFERENCE = (
    divergence_preference,
    divergence_climb,
    over_optimisation,
    *(rule for rule in SUPERVISED if rule is not divergence_loss),
)
