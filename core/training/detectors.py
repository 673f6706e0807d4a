"""Seeing from its metrics that a training goes wrong, as early as the signs allow.

`Watch` takes the rows as they come and names each problem once (again if it grows from a warning to failing). The rules
compare a training with its own first rows; constants are shares, multiples or standard errors, not levels:

| kind | sign | source |
|---|---|---|
| non_finite | loss, reward, entropy or KL is NaN or infinite; gradients twice in a row | craft |
| no_learning_signal | all groups of equal reward (or gradients exactly 0) from the start; > .8 for 10 rows | DAPO 2503.14476 |
| divergence | loss above its best by > 8 noise and 30 % of its start; GRPO: worse than at the start, or KL > .5 at once | craft, ZClip 2504.02507 |
| entropy_collapse | entropy down > 70 % while score and reward are flat; falling alone is normal | 2505.22617, 2505.22312 |
| length_runaway | length twice its start, or truncated > .25 and rising, while the score does not rise | DAPO 2503.14476 |
| reward_hacking | reward up by > 3 errors, development score down by > 2, or a gap that opens | 2209.13085, 2210.10760 |
| reward_collapse | smoothed reward under half its best | craft |
| kl_over_optimisation | KL doubled since the best reward, which was not reached again | 2210.10760 |
| overfitting | eval loss up > 10 % from its least, or development score down, while the training loss falls | craft |
| plateau | nothing moved by 60 % of the plan | craft |
| throughput_drop, data_starvation, slow, stalled | step time doubled; > 30 % of it waiting; plan beyond the limit; silence | craft |

A warning is for reading; `failing` decides the verdict; `hopeless` lets the host stop the job.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from statistics import median

from core.training.diagnosis import Finding, finding
from core.training.history import History, Rise, Series, score_error

_WATCHED = ("loss", "reward", "entropy", "kl", "train_loss", "eval_loss")
MEMORY_SIGNS = re.compile(r"can't allocate memory|out of memory|OutOfMemoryError|MemoryError|Cannot allocate memory")
SMOOTH = 10
"""Rows averaged before a reward is read (facts: smooth over about 10 steps)."""


class Watch:
    """The detectors over one training.

    `method`: "grpo", "sft", "dpo" or "reward"; `planned_steps`: train steps of the plan, if known; `base_dev_score`: the
    base model's score on the same development samples, if it is not in the stream; `time_limit_s`: for `slow`.
    """

    def __init__(
        self,
        method: str,
        planned_steps: int | None = None,
        base_dev_score: float | None = None,
        *,
        time_limit_s: float | None = None,
    ) -> None:
        self.method = method
        self.history = History(planned_steps)
        self.base_dev_score = base_dev_score
        self.time_limit_s = time_limit_s
        self.findings: list[Finding] = []
        self._gravity: dict[str, int] = {}
        self._broken_gradients = 0

    def feed(self, step: int, values: Mapping[str, float]) -> list[Finding]:
        """Take in the metrics logged at a train step; returns what is new."""
        row = {k: float(v) for k, v in values.items()}
        broken = self.history.add(step, row)
        found = [self._non_finite(step, broken)] if broken else []
        if not any(name in broken for name in _WATCHED):
            found += [rule(self) for rule in _rules(self.method)]
        return self._new(found)

    def quiet(self, seconds: float) -> list[Finding]:
        """Tell that nothing was heard of a running job for `seconds` (the age of its heartbeat)."""
        times = self.history.get("step_time")
        patience = max(60.0, 20 * times.now() if len(times) else 300.0)
        if seconds < patience:
            return []
        said = f"no train step for {seconds:.0f} s, {patience:.0f} s would be much"
        return self._new([finding("stalled", self.history.last_step, "failing", 0.8, [said])])

    def finish(self, exit_code: int | None, log_tail: str = "", model_saved: bool | None = None) -> list[Finding]:
        """The job is over. `exit_code`: negative for a signal, None if unknown; `log_tail`: the end of its log."""
        return self._new([_ending(self.history, exit_code, log_tail, model_saved)])

    def _new(self, found: list[Finding | None]) -> list[Finding]:
        fresh: list[Finding] = []
        for one in found:
            if one is None:
                continue
            gravity = 1 + (one.severity == "failing") + one.hopeless
            if gravity > self._gravity.get(one.kind, 0):
                self._gravity[one.kind] = gravity
                fresh.append(one)
        self.findings += fresh
        return fresh

    def _non_finite(self, step: int, broken: list[str]) -> Finding | None:
        watched = [name for name in broken if name in _WATCHED]
        self._broken_gradients = self._broken_gradients + 1 if "grad_norm" in broken else 0
        if not watched and self._broken_gradients < 2:
            return None  # a single overflow is what loss scaling is for
        said = [f"{', '.join(watched or ['grad_norm'])} not finite at step {step}"]
        return finding("non_finite", step, "failing", 0.99, said, hopeless=True)


Rule = Callable[[Watch], Finding | None]


class Dev:
    """The development score: first, last (mean of two once there are three), best, and their standard errors."""

    def __init__(self, watch: Watch) -> None:
        series = watch.history.get("dev_score")
        sizes = watch.history.get("dev_n")
        self.values = list(series.values)
        self.steps = list(series.steps)
        if watch.base_dev_score is not None and (not self.steps or self.steps[0] > 0):
            self.values.insert(0, watch.base_dev_score)
            self.steps.insert(0, 0)
        self.n = sizes.now(1) if len(sizes) else 200.0
        self.known = len(self.values) >= 2
        if self.known:
            self.first = self.values[0]
            # the mean of the last two is steadier, but only once both are from the training
            self.now = sum(self.values[-2:]) / 2 if len(self.values) >= 4 else self.values[-1]
            self.best = max(self.values)
            self.error = math_hypot(score_error(self.first, self.n), score_error(self.now, self.n))
            self.change = self.now - self.first

    @property
    def down(self) -> bool:
        return self.known and self.change < -2 * self.error

    @property
    def far_down(self) -> bool:
        return self.known and self.change < -3 * self.error and self.now < 0.5 * self.first

    @property
    def up(self) -> bool:
        return self.known and self.change > 2 * self.error

    @property
    def twice_down(self) -> bool:
        """The last two scores of the training are both below the first."""
        return self.down and len(self.values) >= 3 and max(self.values[-2:]) < self.first - self.error

    def __str__(self) -> str:
        return f"development score {self.first:.3f} -> {self.now:.3f} (n={self.n:.0f}, error {self.error:.3f})"


def math_hypot(a: float, b: float) -> float:
    return (a * a + b * b) ** 0.5


# ----------------------------------------------------------------------------------------------- reinforcement


def no_signal_grpo(watch: Watch) -> Finding | None:
    """All completions of a prompt get the same reward: the advantage, and with it the gradient, is zero."""
    history = watch.history
    dead, rewards = history.get("zero_std"), history.get("reward")
    patience = history.patience("zero_std")
    if len(dead) < patience or len(rewards) < patience:
        return None
    run = dead.streak([v >= 0.95 for v in dead.values])
    level = rewards.now(min(run, SMOOTH) or 1)
    if run == len(dead) and run >= patience:
        said = [f"all groups of equal reward in each of the first {run} rows", f"reward {level:.3g} throughout"]
        gradients = history.get("grad_norm")
        if len(gradients) and max(gradients.values) == 0:
            said.append("grad_norm 0 throughout: the weights have not changed")
        return finding("no_learning_signal", dead.steps[0], "failing", 0.98, said, hopeless=run >= patience + 2)
    long = dead.streak([v > 0.8 for v in dead.values])
    if long < SMOOTH:
        return None
    said = [f"more than 80 % of the groups of equal reward for {long} rows", f"reward {level:.3g}"]
    solved = level >= 0.8 * max(rewards.values) and level > rewards.start(3)
    said.append("the prompts are solved" if solved else "the prompts are too hard, or the policy has collapsed")
    at = dead.steps[-long]
    return finding("no_learning_signal", at, "warning" if solved else "failing", 0.5 if solved else 0.8, said)


def divergence_grpo(watch: Watch) -> Finding | None:
    """The policy got worse than it was at the start, or left the base at once."""
    history, dev = watch.history, Dev(watch)
    return _kl_jump(history) or _worse_than_start(history, dev)


def _kl_jump(history: History) -> Finding | None:
    kl, rewards = history.get("kl"), history.get("reward")
    if len(kl) < 2:
        return None
    high = [v > 0.5 for v in kl.values]
    if not any(high):
        return None
    first = kl.steps[high.index(True)]
    early = history.planned is not None and first <= max(0.1 * history.planned, 3)
    fallen = len(rewards) >= 6 and Rise(rewards, SMOOTH).change < 0
    said = [f"kl {kl.values[high.index(True)]:.3g} at step {first}, now {kl.values[-1]:.3g}"]
    if (kl.values[-1] > 10 or (early and sum(high) >= 3)) and fallen:
        rise = Rise(rewards, SMOOTH)
        said.append(f"reward {rise.start:.3g} -> {rise.now:.3g}")
        return finding("divergence", first, "failing", 0.9, said, hopeless=kl.values[-1] > 10)
    return finding("divergence", first, "warning", 0.5, said) if early else None


def _worse_than_start(history: History, dev: Dev) -> Finding | None:
    rewards = history.get("reward")
    if len(rewards) < 2 * history.patience("reward"):
        return None
    rise = Rise(rewards, SMOOTH)
    halved = rise.down and rise.start > 0 and rise.now < 0.5 * rise.start
    said = [f"reward {rise.start:.3g} -> {rise.now:.3g} ({rise.errors:.1f} standard errors)"]
    if dev.known:
        said.append(str(dev))
    signs = _instability(history)
    if halved and (dev.twice_down or (not dev.known and signs) or (signs and dev.down)):
        return finding("divergence", _fall(rewards, rise), "failing", 0.9, said + signs, hopeless=dev.far_down)
    if dev.far_down and dev.twice_down and not rise.up:
        at = next((s for s, v in zip(dev.steps, dev.values, strict=True) if v < dev.first - dev.error), 0)
        return finding("divergence", at, "failing", 0.85, said + signs, hopeless=True)
    if halved:
        return finding("divergence", _fall(rewards, rise), "warning", 0.6, said + signs)
    return None


def _instability(history: History) -> list[str]:
    """Signs beside a falling reward that the policy itself has broken."""
    said: list[str] = []
    entropy, clipped, dead = history.get("entropy"), history.get("clipped"), history.get("zero_std")
    if len(entropy) >= 4 and abs(entropy.now(3) / max(entropy.start(3), 1e-9) - 1) > 0.5:
        said.append(f"entropy {entropy.start(3):.3g} -> {entropy.now(3):.3g}")
    if len(clipped) >= 4 and clipped.now(3) > clipped.start(3) + 0.25:
        said.append(f"truncated {clipped.start(3):.0%} -> {clipped.now(3):.0%}")
    if len(dead) >= 4 and dead.now(3) >= 0.9 > dead.start(3):
        said.append(f"groups of equal reward {dead.start(3):.0%} -> {dead.now(3):.0%}")
    return said


def _fall(series: Series, rise: Rise) -> int:
    """The first step from which the series stayed in the lower half of its fall."""
    middle = (rise.start + rise.now) / 2
    at = series.steps[-1]
    for step, value in zip(reversed(series.steps), reversed(series.values), strict=True):
        if value > middle and step < series.steps[-1]:
            break
        at = step
    return at


def entropy_collapse(watch: Watch) -> Finding | None:
    """The policy became certain without becoming better."""
    history, dev = watch.history, Dev(watch)
    entropy, rewards, clipped = history.get("entropy"), history.get("reward"), history.get("clipped")
    if len(entropy) < 3:
        return None
    start = entropy.start(3) if len(entropy) >= 6 else entropy.values[0]
    low = [v < 0.3 * start for v in entropy.values]
    run = entropy.streak(low)
    if run < 2:
        return None
    at = entropy.steps[-run]
    said = [f"entropy {start:.3g} -> {entropy.values[-1]:.3g} ({entropy.values[-1] / max(start, 1e-9) - 1:+.0%})"]
    if len(clipped) >= 3 and min(clipped.values[-2:]) > max(0.5, clipped.values[0] + 0.25):
        said.append(f"{clipped.values[-1]:.0%} of the completions run to the limit")
        return finding("entropy_collapse", at, "failing", 0.95, said, hopeless=True)
    if run < history.patience("entropy") or len(rewards) < 2 * history.patience("reward"):
        return None
    rise = Rise(rewards, SMOOTH)
    if rise.up or dev.up or (dev.known and not dev.down and rise.now > 0.9 * max(rewards.values)):
        return None
    said.append(f"reward {rise.start:.3g} -> {rise.now:.3g} ({rise.errors:+.1f} standard errors)")
    if dev.known:
        said.append(str(dev))
    return finding("entropy_collapse", at, "failing", 0.8, said, hopeless=dev.far_down)


def length_runaway(watch: Watch) -> Finding | None:
    """Answers grow to the limit. Growth with a growing score is reasoning, not a runaway."""
    history, dev = watch.history, Dev(watch)
    lengths, clipped = history.get("length"), history.get("clipped")
    if len(lengths) < 2 * 3:
        return None
    first, now = lengths.start(3), lengths.now(3)
    cut_first, cut = (clipped.start(3), clipped.now(3)) if len(clipped) >= 6 else (0.0, 0.0)
    longer, cutting = now > 2 * first, cut > 0.25 and cut > cut_first + 0.15
    if not (longer or cutting):
        return None
    at = next((s for s, v in zip(lengths.steps, lengths.values, strict=True) if v > (first + now) / 2), 0)
    said = [f"mean length {first:.1f} -> {now:.1f} tokens"]
    if len(clipped):
        said.append(f"truncated {cut_first:.0%} -> {cut:.0%}")
    if dev.known:
        said.append(str(dev))
    if dev.up:
        return finding("length_runaway", at, "warning", 0.4, said) if cutting else None
    severe = cut > max(0.5, cut_first + 0.25)
    if severe or (cutting and (longer or dev.known)) or dev.down:
        return finding("length_runaway", at, "failing", 0.9 if severe else 0.75, said, hopeless=cut > 0.9)
    return finding("length_runaway", at, "warning", 0.5, said)


def reward_hacking(watch: Watch) -> Finding | None:
    """Reward up, what it stands for not: seen only by comparing the two."""
    history, dev = watch.history, Dev(watch)
    rewards = history.get("reward")
    if len(rewards) < 2 * history.patience("reward"):
        return None
    rise = Rise(rewards, SMOOTH)
    if not rise.up:
        return None
    said = [f"reward {rise.start:.3g} -> {rise.now:.3g} ({rise.errors:+.1f} standard errors)"]
    at = _half_way(rewards, rise)
    if not dev.known:
        return _one_reward_eats_another(history, said, at)
    said.append(str(dev))
    if dev.down and (len(dev.values) < 3 or dev.values[-2] < dev.first):
        return finding("reward_hacking", at, "failing", 0.95 if dev.far_down else 0.8, said, hopeless=dev.far_down)
    shares = min(rewards.values) >= 0 and max(rewards.values) <= 1
    opened = (rise.now - dev.now) - (rise.start - dev.first)
    if shares and not dev.up and len(dev.values) >= 3 and opened > 0.15 and rise.now - dev.now > 0.2 + 2 * dev.error:
        said.append(f"the reward is {rise.now - dev.now:.2f} above the score, {opened:.2f} more than at the start")
        return finding("reward_hacking", at, "failing", 0.75, said)
    flat = not dev.up and len(dev.values) >= 4 and rise.change > 0.5 * max(abs(rise.start), 0.1)
    return finding("reward_hacking", at, "warning", 0.4, said) if flat else None


def _one_reward_eats_another(history: History, said: list[str], at: int) -> Finding | None:
    """Without a development score: one reward function pays for the loss of another."""
    for name, series in history.series.items():
        parts = re.fullmatch(r"rewards/(.+)/mean", name)
        if not parts or re.search(r"len|overlong|penalty|cost", parts[1]) or len(series) < 2 * SMOOTH:
            continue
        part = Rise(series, SMOOTH)
        if part.down and 0.05 < part.start <= 1 and part.now < 0.5 * part.start:
            said = [*said, f"{parts[1]} {part.start:.3g} -> {part.now:.3g}"]
            return finding("reward_hacking", at, "failing", 0.7, said)
    return None


def _half_way(series: Series, rise: Rise) -> int:
    middle = (rise.start + rise.now) / 2
    return next((s for s, v in zip(series.steps, series.values, strict=True) if (v - middle) * rise.change > 0), 0)


def reward_collapse(watch: Watch) -> Finding | None:
    """The reward lost half of the best it had."""
    rewards = watch.history.get("reward")
    window = watch.history.patience("reward")
    if len(rewards) < 3 * window:
        return None
    means = [rewards.mean(i, i + window) for i in range(len(rewards) - window + 1)]
    best = max(means)
    at = means.index(best)
    error = rewards.noise() * (2 / window) ** 0.5
    fall = best - means[-1]
    if best <= 0 or fall <= 0.5 * best or fall <= 4 * error or at + window >= len(means):
        return None
    said = [f"reward {best:.3g} around step {rewards.steps[at]}, now {means[-1]:.3g}, noise {error:.2g}"]
    dev = Dev(watch)
    if dev.known:
        said.append(str(dev))
    after = rewards.values[at + window :]
    half = next((i for i, v in enumerate(after) if v < best / 2), 0)
    steps = rewards.steps[at + window :]
    return finding("reward_collapse", steps[half], "failing", 0.85, said, hopeless=dev.far_down)


def kl_over_optimisation(watch: Watch) -> Finding | None:
    """The distance from the base keeps growing after the reward, or the score, has passed its best."""
    kl, rewards, dev = watch.history.get("kl"), watch.history.get("reward"), Dev(watch)
    if len(kl) < 3 * SMOOTH or len(rewards) != len(kl):
        return None
    means = [rewards.mean(i, i + SMOOTH) for i in range(len(rewards) - SMOOTH + 1)]
    at = means.index(max(means)) + SMOOTH // 2
    then, now = kl.values[at], kl.now(SMOOTH)
    error = rewards.noise() * (2 / SMOOTH) ** 0.5
    lost = max(means) - means[-1] > 3 * error
    score_lost = dev.known and dev.best - dev.now > 2 * dev.error
    if now < max(2 * then, 0.05) or not (lost or score_lost):
        return None
    said = [f"kl {then:.3g} at the best reward (step {kl.steps[at]}), now {now:.3g}"]
    said.append(f"reward {max(means):.3g} -> {means[-1]:.3g}")
    if dev.known:
        said.append(f"development score at best {dev.best:.3f}, now {dev.now:.3f}")
    severity = "failing" if dev.down or (lost and score_lost) else "warning"
    return finding("kl_over_optimisation", kl.steps[at], severity, 0.7, said)


def plateau_grpo(watch: Watch) -> Finding | None:
    """There is a signal and it changes nothing."""
    history, dev = watch.history, Dev(watch)
    rewards, dead = history.get("reward"), history.get("zero_std")
    if history.progress < 0.6 or len(rewards) < 2 * SMOOTH or dev.up:
        return None
    rise = Rise(rewards, len(rewards) // 3)
    if abs(rise.errors) > 2 or (len(dead) and dead.now(SMOOTH) > 0.8):
        return None
    said = [f"reward {rise.start:.3g} -> {rise.now:.3g} at {history.progress:.0%} of the plan"]
    return finding("plateau", rewards.steps[len(rewards) // 2], "warning", 0.6, said)


# -------------------------------------------------------------------------------------------------- supervised


def divergence_loss(watch: Watch) -> Finding | None:
    """The loss climbs away from its best and stays there."""
    history = watch.history
    loss = history.get("loss")
    window = history.patience("loss")
    if len(loss) < 2 * window:
        return None
    medians = [median(loss.values[max(i - window + 1, 0) : i + 1]) for i in range(len(loss))]
    best = min(medians)
    at = medians.index(best)
    noise = 1.253 * loss.noise() / window**0.5  # standard error of a median of `window` values
    start = loss.start(min(3, window))
    margin = max(8 * min(noise, 0.1 * abs(start)), 0.3 * abs(start))
    if medians[-1] <= best + margin or len(loss) - at <= window:
        return None
    since = next(i for i in range(at, len(loss)) if medians[i] > best + margin)
    gone = medians[-1] > start + margin / 2
    said = [f"loss {start:.3g} at the start, {best:.3g} at best (step {loss.steps[at]}), now {medians[-1]:.3g}"]
    dev = Dev(watch)
    if dev.known:
        said.append(str(dev))
    lasting = len(loss) - since >= window
    severity = "failing" if lasting or gone else "warning"
    return finding("divergence", loss.steps[since], severity, 0.9 if gone else 0.75, said, hopeless=gone and lasting)


def divergence_start(watch: Watch) -> Finding | None:
    """The first updates destroyed what the model knew: the loss jumped above its first value and has not come back."""
    history, loss = watch.history, watch.history.get("loss")
    window = history.patience("loss")
    if len(loss) < window + 1 or loss.steps[0] > max(0.05 * (history.planned or 0), 2):
        return None
    first, now = loss.values[0], loss.now(window)
    if first <= 0 or now <= 1.5 * first or now - first < 0.3:
        return None
    dev = Dev(watch)
    said = [f"loss {first:.3g} before the first update, {max(loss.values):.3g} at worst, now {now:.3g}"]
    if dev.known:
        said.append(str(dev))
    lasting = len(loss) > 2 * window
    return finding("divergence", loss.steps[1], "failing", 0.9, said, hopeless=lasting and now > 2 * first)


def score_lost(watch: Watch) -> Finding | None:
    """The development score fell far below the base's at once, whatever the loss says: updates too large."""
    dev, loss = Dev(watch), watch.history.get("loss")
    if not (dev.far_down and dev.twice_down) or len(loss) < 3:
        return None
    falls = loss.now(3) < 0.9 * loss.start(3)
    if falls:
        return None  # overfitting's, or the data's
    said = [str(dev), f"loss {loss.start(3):.3g} -> {loss.now(3):.3g}"]
    return finding("divergence", dev.steps[1], "failing", 0.8, said)


def no_signal_sft(watch: Watch) -> Finding | None:
    """No gradient at all: every label is masked, or nothing is trainable."""
    gradients = watch.history.get("grad_norm")
    if len(gradients) < 3 or max(gradients.values) > 1e-8:
        return None
    said = [f"grad_norm 0 in each of the first {len(gradients)} rows"]
    return finding("no_learning_signal", gradients.steps[0], "failing", 0.98, said, hopeless=True)


def overfitting(watch: Watch) -> Finding | None:
    """Better on what it saw, worse on what it did not."""
    history, dev = watch.history, Dev(watch)
    loss, held = history.get("loss"), history.get("eval_loss")
    if len(loss) < 4 or loss.now(3) > 0.98 * loss.start(3):
        return None
    trained = f"training loss {loss.start(3):.3g} -> {loss.now(3):.3g}"
    if len(held) >= 3:
        least = min(held.values)
        at = held.values.index(least)
        recent = min(held.values[-2:])
        if at < len(held) - 2 and recent > 1.1 * least and recent - least > 2 * _shake(held, at):
            said = [trained, f"eval loss {least:.3g} at step {held.steps[at]}, now {held.values[-1]:.3g}"]
            grave = recent > 1.25 * least and not dev.up
            return finding("overfitting", held.steps[at], "failing" if grave else "warning", 0.8, said)
    if dev.twice_down:
        said = [trained, str(dev)]
        grave = dev.change < -3 * dev.error
        return finding("overfitting", dev.steps[1], "failing" if grave else "warning", 0.8, said)
    peak_error = math_hypot(score_error(dev.best, dev.n), score_error(dev.now, dev.n)) if dev.known else 1.0
    if dev.known and len(dev.values) >= 4 and dev.best - max(dev.values[-2:]) > 3 * peak_error:
        at = dev.steps[dev.values.index(dev.best)]
        said = [trained, f"development score {dev.best:.3f} at step {at}, now {dev.now:.3f}"]
        return finding("overfitting", at, "warning", 0.6, said)
    return None


def _shake(series: Series, until: int) -> float:
    """How much the series moved upwards on its way down: its noise, in its own unit."""
    steps = list(zip(series.values[:until], series.values[1 : until + 1], strict=False))
    return max((b - a for a, b in steps if b > a), default=0.0)


def plateau_sft(watch: Watch) -> Finding | None:
    """Nothing was learnt by the greater part of the plan."""
    history, dev = watch.history, Dev(watch)
    loss = history.get("loss")
    if history.progress < 0.6 or len(loss) < 10 or dev.up:
        return None
    rise = Rise(loss, len(loss) // 3)
    moved = abs(rise.change) > 0.02 * abs(rise.start)
    if moved or abs(rise.start) < 0.05:
        return None
    said = [f"loss {rise.start:.4g} -> {rise.now:.4g} at {history.progress:.0%} of the plan"]
    if dev.known:
        said.append(str(dev))
    return finding("plateau", loss.steps[len(loss) // 2], "warning", 0.7, said)


# ------------------------------------------------------------------------------------------------------- speed


def throughput_drop(watch: Watch) -> Finding | None:
    """Train steps take twice as long as they did, and not because answers grew."""
    times, lengths = watch.history.get("step_time"), watch.history.get("length")
    if len(times) < 15:
        return None
    before, now = median(times.values[2:10]), times.now(5)
    growth = lengths.now(5) / max(median(lengths.values[2:10]), 1e-9) if len(lengths) >= 15 else 1.0
    if now < 2 * before * max(growth, 1.0):
        return None
    said = [f"a train step took {before:.3g} s, now {now:.3g} s"]
    return finding("throughput_drop", times.steps[-5], "warning", 0.6, said)


def data_starvation(watch: Watch) -> Finding | None:
    """The model waits for its rows."""
    waits, times = watch.history.get("data_time"), watch.history.get("step_time")
    if len(waits) < 6 or len(times) < 6:
        return None
    share = waits.now(5) / max(times.now(5), 1e-9)
    if share < 0.3:
        return None
    said = [f"{share:.0%} of each train step ({times.now(5):.3g} s) is waiting for data"]
    return finding("data_starvation", waits.steps[-5], "warning", 0.8, said)


def slow(watch: Watch) -> Finding | None:
    """The plan does not fit the time."""
    history = watch.history
    times = history.get("step_time")
    if watch.time_limit_s is None or not history.planned or len(times) < 5:
        return None
    needed = times.now(5) * history.planned
    if needed < 1.1 * watch.time_limit_s:
        return None
    said = [
        f"{history.planned} steps of {times.now(5):.3g} s take {needed:.0f} s, the limit is {watch.time_limit_s:.0f} s"
    ]
    return finding("slow", times.steps[0], "warning", 0.9, said)


def _ending(history: History, code: int | None, tail: str, saved: bool | None) -> Finding | None:
    """What the end of the process says."""
    last = [line.strip() for line in tail.splitlines() if line.strip()]
    if code == 0:
        if saved is False:
            return finding("no_checkpoint", history.last_step, "failing", 0.99, ["exit code 0, but no model was saved"])
        return None
    memory = [line for line in last if MEMORY_SIGNS.search(line)]
    if memory or code in (5, -9, 137):
        said = [f"exit code {code}", *memory[-1:]]
        certain = 0.95 if memory or code == 5 else 0.6
        return finding("out_of_memory", history.last_step, "failing", certain, said, hopeless=True)
    if code is not None or "Traceback (most recent call last)" in tail:
        said = ([f"exit code {code}"] if code is not None else []) + last[-1:]
        return finding("crash", history.last_step, "failing", 0.99, said, hopeless=True)
    return None


_SPEED: tuple[Rule, ...] = (throughput_drop, data_starvation, slow)
_REINFORCED: tuple[Rule, ...] = (
    no_signal_grpo, divergence_grpo, entropy_collapse, length_runaway, reward_hacking, reward_collapse,
    kl_over_optimisation, plateau_grpo,
)  # fmt: skip
_SUPERVISED: tuple[Rule, ...] = (
    no_signal_sft, divergence_loss, divergence_start, score_lost, overfitting, plateau_sft,
)  # fmt: skip


def _rules(method: str) -> tuple[Rule, ...]:
    return (_REINFORCED if method in ("grpo", "rloo", "ppo", "online_dpo") else _SUPERVISED) + _SPEED
