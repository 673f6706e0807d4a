"""Signs of trouble in GRPO and its kin; one function a kind, each from the history to a finding or None."""

from __future__ import annotations

import math
import re
from math import inf

from core.training.devscore import Dev, Watched
from core.training.diagnosis import Finding, finding
from core.training.history import History, Rise, Series, follow
from core.training.signs_supervised import TINY_RATE, rate_is_zero

SMOOTH = 10
"""Rows averaged before a reward is read: single steps are mostly noise."""


def no_learning_signal(watch: Watched) -> Finding | None:
    """All completions of a prompt get the same reward: the advantage, and with it the gradient, is zero."""
    history = watch.history
    if history.without_rate():
        return rate_is_zero(history)
    dead, rewards = _dead_groups(history), history.get("reward")
    patience = history.patience("reward")
    if len(dead) < patience or len(rewards) < patience:
        return None
    run = dead.streak([v >= 0.95 for v in dead.values])
    level = rewards.now(min(run, SMOOTH) or 1)
    # a hard task has rows without any signal too; they are not all of them
    ceiling = min(rewards.values) >= 0 and max(rewards.values) <= 1 and level >= 0.9
    every = min(dead.values) >= 0.999
    if run == len(dead) and run >= (patience if every else 3 * patience) and (every or not ceiling):
        said = [f"all groups of equal reward in each of the first {run} rows", f"reward {level:.3g} throughout"]
        gradients = history.get("grad_norm")
        if len(gradients) and max(gradients.values) == 0:
            said.append("grad_norm 0 throughout: the weights have not changed")
        return finding("no_learning_signal", dead.steps[0], "failing", 0.98, said, hopeless=run >= patience + 2)
    long = dead.streak([v > 0.8 for v in dead.values])
    if long < SMOOTH:
        return None
    said = [f"more than 80 % of the groups of equal reward for {long} rows", f"reward {level:.3g}"]
    rise = Rise(rewards, SMOOTH)
    solved = ceiling or (rise.up and level >= rise.start + 0.8 * (max(rewards.values) - rise.start))
    # a reward has no scale of its own: what says "never" is that hardly any group differs, not that the mean is small
    never = long >= 2 * SMOOTH and dead.mean(len(dead) - long, len(dead)) >= 0.95 and not rise.up
    lost = (never and not solved) or (rise.down and -rise.change > _much(history, rise.start))
    said.append("the prompts are solved" if solved else "the policy collapsed" if lost else "hardly any prompt teaches")
    at = dead.steps[-long]
    return finding("no_learning_signal", at, "failing" if lost else "warning", 0.8 if lost else 0.5, said)


def _dead_groups(history: History) -> Series:
    """Share of groups without a spread of rewards; where that is not logged, all of them if the mean spread is 0."""
    told, spread = history.get("zero_std"), history.get("reward_std")
    if len(told) or not len(spread):
        return told
    reckoned = Series()
    for step, value in zip(spread.steps, spread.values, strict=True):
        reckoned.add(step, float(value == 0))
    return reckoned


def divergence(watch: Watched) -> Finding | None:
    """The policy got worse than it was at the start, or left the base at once."""
    history, dev = watch.history, Dev(watch)
    return _kl_jump(history) or _worse_than_start(history, dev) or _first_update(history)


def _kl_jump(history: History) -> Finding | None:
    kl, rewards = history.get("kl"), history.get("reward")
    if len(kl) < 2:
        return None
    high = [v > 0.5 for v in kl.values]
    if not any(high) or "kl" not in history.series:  # PPO's objective/kl is a sum over a whole answer
        return None
    first = kl.steps[high.index(True)]
    early = history.planned is not None and first <= max(0.1 * history.planned, 3)
    said = [f"kl {kl.values[high.index(True)]:.3g} at step {first}, now {kl.values[-1]:.3g}"]
    far = len(kl) >= 3 and min(kl.values[-3:]) > 10  # a single rare token makes a spike of one row
    rise = Rise(rewards, SMOOTH)
    # near 0.5 a noisy estimate of the KL says little by itself: the reward has to have fallen beyond chance, by less where
    # the first row still shows the policy at the base
    jumped = kl.values[0] < 0.25 * kl.now(5)
    fallen = rise.down or (jumped and rise.errors < -1)
    if len(rewards) >= 6 and ((far and rise.change < 0) or (early and sum(high) >= 3 and fallen)):
        said.append(f"reward {rise.start:.3g} -> {rise.now:.3g}")
        return finding("divergence", first, "failing", 0.9, said, hopeless=far)
    return finding("divergence", first, "warning", 0.5, said) if early else None


def _worse_than_start(history: History, dev: Dev) -> Finding | None:
    rewards = history.get("reward")
    if len(rewards) < 2 * history.patience("reward"):
        return None
    rise = Rise(rewards, SMOOTH)
    halved = rise.down and -rise.change > _much(history, rise.start)
    said = [f"reward {rise.start:.3g} -> {rise.now:.3g} ({rise.errors:.1f} standard errors)"]
    if dev.known:
        said.append(str(dev))
    signs = _instability(history)
    if halved and (dev.twice_down or (not dev.known and signs) or (signs and dev.down)):
        return finding("divergence", _fall(rewards, rise), "failing", 0.9, said + signs, hopeless=dev.far_down)
    if dev.far_down and dev.twice_down and not dev.recovering and rise.change <= 0:
        at = next((s for s, v in zip(dev.steps, dev.values, strict=True) if v < dev.first - dev.error), 0)
        return finding("divergence", at, "failing", 0.85, said + signs, hopeless=True)
    if halved:
        return finding("divergence", _fall(rewards, rise), "warning", 0.6, said + signs)
    return None


def _first_update(history: History) -> Finding | None:
    """The first update alone broke the policy: only the first row still shows the base, so no mean of first rows does.

    All rows since have no signal, hardly any of the first row's reward, and an entropy that lies half of its own away.
    """
    rewards, entropy, dead = (history.get(name) for name in ("reward", "entropy", "zero_std"))
    rows = len(rewards)
    if rows < 6 or rewards.steps[0] != 1 or len(entropy) != rows or len(dead) != rows or rewards.values[0] <= 0:
        return None
    first, since = entropy.values[0], entropy.values[1:]
    moved = all(v > 1.5 * first for v in since) or all(v < 0.5 * first for v in since)
    lost = min(rewards.values) >= 0 and max(rewards.values[1:]) < 0.5 * rewards.values[0]
    if not moved or not lost or dead.values[0] >= 0.9 or min(dead.values[1:]) < 0.9:
        return None
    said = [
        f"reward {rewards.values[0]:.3g} at step 1, {rewards.now(5):.3g} since", f"entropy {first:.3g} -> {entropy.now(5):.3g}",
        f"groups of equal reward {dead.values[0]:.0%} -> {dead.now(5):.0%}",
    ]  # fmt: skip
    return finding("divergence", 2, "failing", 0.85, said, hopeless=True)


def _much(history: History, level: float) -> float:
    """How far a reward must fall from `level` to have lost what it stood for: half of it where rewards count from 0,
    else the spread of the rewards within a group. A reward has no scale of its own."""
    rewards, spread = history.get("reward"), history.get("reward_std")
    if min(rewards.values) >= 0 and level > 0:
        return 0.5 * level
    return spread.start(SMOOTH) if len(spread) else 4 * rewards.noise()


def _scale(history: History) -> float:
    """What counts as much of a reward: the spread within a group at the start, else its level or its noise."""
    rewards, spread = history.get("reward"), _spread_of_rewards(history)
    if len(spread):
        return spread.start(SMOOTH)
    return max(4 * rewards.noise(), 0.5 * abs(rewards.start(SMOOTH)))


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


def entropy_collapse(watch: Watched) -> Finding | None:
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
    rise = Rise(rewards, max(SMOOTH, len(rewards) // 4))
    dead = history.get("zero_std")
    solved = len(dead) > 0 and dead.now(SMOOTH) > 0.5 and rise.now >= 0.9 * max(rewards.values) > 0 and rise.change >= 0
    gains = rise.errors > 1 or solved or (dev.known and dev.change > dev.error)
    if gains and not dev.down:
        return (
            None  # it gains, if slowly: certainty is what training is for; but not a reward alone while the score falls
        )
    said.append(f"reward {rise.start:.3g} -> {rise.now:.3g} ({rise.errors:+.1f} standard errors)")
    if dev.known:
        said.append(str(dev))
    # a mean of few samples hides a gain as easily as it feigns one: flat is what has gained only little (bound of 90 %)
    flat = rise.change + 1.28 * rise.error < 0.3 * _scale(history)
    grave = flat or dev.down or (dev.known and len(dev.values) >= 4)
    return finding(
        "entropy_collapse", at, "failing" if grave else "warning", 0.8, said, hopeless=grave and dev.far_down
    )


def length_runaway(watch: Watched) -> Finding | None:
    """Answers grow to the limit. Growth with a growing score is reasoning, not a runaway.

    Where no development score tells the two apart, the reward does: if it follows the length from row to row, length is
    what it pays for, and its rise proves nothing.
    """
    history, dev = watch.history, Dev(watch)
    lengths, clipped, rewards = history.get("length"), history.get("clipped"), history.get("reward")
    if len(lengths) < 2 * 3:
        return None
    first, now = lengths.start(3), lengths.now(3)
    cut_first, cut = (clipped.start(3), clipped.now(3)) if len(clipped) >= 6 else (0.0, 0.0)
    longer, cutting = now > 2 * first, cut > 0.25 and cut > cut_first + 0.15
    if not (longer or cutting):
        return _always_cut(history)
    at = next((s for s, v in zip(lengths.steps, lengths.values, strict=True) if v > (first + now) / 2), 0)
    said = [f"mean length {first:.1f} -> {now:.1f} tokens"]
    if len(clipped):
        said.append(f"truncated {cut_first:.0%} -> {cut:.0%}")
    if dev.known:
        said.append(str(dev))
    paid = follow(rewards, lengths)
    if paid > 0.9:
        said.append(f"the reward follows the length from row to row (correlation {paid:.2f})")
    rise = Rise(rewards, SMOOTH)
    gains = dev.up or (not dev.known and rise.up and paid <= 0.9)
    severe = cut > max(0.5, cut_first + 0.25)
    if gains and not severe:
        return finding("length_runaway", at, "warning", 0.4, said) if cutting else None
    lasts = len(lengths) >= 2 * history.patience("length")
    if dev.up:
        return finding("length_runaway", at, "warning", 0.5, said)
    if severe or (cutting and (longer or dev.known)) or dev.down or (paid > 0.9 and longer and lasts):
        return finding("length_runaway", at, "failing", 0.9 if severe else 0.75, said, hopeless=cut > 0.9)
    return finding("length_runaway", at, "warning", 0.5, said)


def _always_cut(history: History) -> Finding | None:
    """Most completions reach the limit from the first row on: what is rewarded is mostly unfinished."""
    clipped, rewards = history.get("clipped"), history.get("reward")
    if len(clipped) < SMOOTH or min(clipped.start(3), clipped.now(SMOOTH)) < 0.5:
        return None
    said = [f"truncated {clipped.start(3):.0%} at the start, {clipped.now(SMOOTH):.0%} now: the limit is too short"]
    hurt = clipped.now(SMOOTH) > 0.9 and history.progress > 0.5 and not Rise(rewards, SMOOTH).up
    return finding("length_runaway", clipped.steps[0], "failing" if hurt else "warning", 0.5, said)


def reward_hacking(watch: Watched) -> Finding | None:
    """Reward up, what it stands for not: seen only by comparing the two."""
    history, dev = watch.history, Dev(watch)
    rewards = history.get("reward")
    if len(rewards) < 2 * history.patience("reward"):
        return None
    rise = Rise(rewards, SMOOTH)
    said = [f"reward {rise.start:.3g} -> {rise.now:.3g} ({rise.errors:+.1f} standard errors)"]
    at = _half_way(rewards, rise)
    if not rise.up:
        # a reward that holds while the score goes to pieces no longer stands for it
        if rise.errors > 0.2 and dev.far_down and dev.twice_down and not dev.recovering:
            return finding("reward_hacking", dev.steps[1], "failing", 0.65, [*said, str(dev)], hopeless=True)
        return None
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
    if dev.up or len(dev.values) < 4:
        return None
    spread = history.get("reward_std")
    if len(spread) and rise.change > spread.start(SMOOTH) and dev.change < dev.error:
        said.append(f"the mean reward rose by {rise.change / spread.start(SMOOTH):.1f} times the spread within a group")
        return finding("reward_hacking", at, "failing", 0.7, said)
    flat = rise.change > max(0.5 * abs(rise.start), 4 * rise.error, 5 * dev.change * (abs(rise.start) or 1.0))
    return finding("reward_hacking", at, "warning", 0.4, said) if flat else None


def _one_reward_eats_another(history: History, said: list[str], at: int) -> Finding | None:
    """Without a development score: one reward function pays for the loss of another.

    One that is only watched (weight 0, a habit of careful users) is a score of its own: it need not fall far.
    """
    for name, series in history.series.items():
        parts = re.fullmatch(r"rewards/(.+)/mean", name) if name.startswith("rewards/") else None
        if not parts or re.search(r"len|overlong|penalty|cost", parts[1]) or len(series) < 2 * history.patience(name):
            continue
        watched = _only_watched(history, name)
        if _lost(history, name, watched):
            now = series.mean(len(series) - min(SMOOTH, len(series) // 2), len(series))
            said = [
                *said,
                f"{parts[1]} {max(series.values[:3]):.3g} -> {now:.3g}"
                + (" (not part of the reward)" if watched else ""),
            ]
            return finding("reward_hacking", at, "failing", 0.85 if watched else 0.7, said)
    return None


def _lost(history: History, name: str, watched: bool) -> bool:
    """A reward function ended far below its first rows: at half where it counts from 0, else by its spread in a group."""
    series = history.get(name)
    tail = min(SMOOTH, len(series) // 2)
    first, now = series.mean(0, 3), series.mean(len(series) - tail, len(series))
    error = series.noise(until=max(len(series) // 2, 6)) * (1 / 3 + 1 / tail) ** 0.5
    fell = first - now > 3 * error
    if first > 0 and now > -max(error, 1e-9):
        top = max(series.values[:3])
        return now < 0.5 * first and (fell or (watched and now < 0.1 * top))
    return fell and first - now > (0.25 if watched else 0.75) * _spread(history, name)


def _spread(history: History, name: str) -> float:
    """The spread of one reward function within the first batches; infinite where it was not logged."""
    own = history.get(name.removesuffix("mean") + "std")
    spread = own if len(own) else history.get("reward_std")
    return spread.start(SMOOTH) if len(spread) else inf


def _only_watched(history: History, name: str) -> bool:
    """The reward is made of the other reward functions alone: the rows say so by themselves."""
    rewards = history.get("reward")
    others = [s for n, s in history.series.items() if re.fullmatch(r"rewards/.+/mean", n) and n != name]
    if not others or any(len(s) != len(rewards) for s in others):
        return False
    sums = [sum(column) for column in zip(*(s.values for s in others), strict=True)]
    scale = max(rewards.values, key=abs) / (max(sums, key=abs) or 1.0)
    return all(abs(r - scale * t) < 1e-3 * max(abs(r), 1e-3) for r, t in zip(rewards.values, sums, strict=True))


def _half_way(series: Series, rise: Rise) -> int:
    middle = (rise.start + rise.now) / 2
    return next((s for s, v in zip(series.steps, series.values, strict=True) if (v - middle) * rise.change > 0), 0)


def reward_collapse(watch: Watched) -> Finding | None:
    """The reward lost half of the best it had."""
    rewards = watch.history.get("reward")
    window = watch.history.patience("reward")
    if len(rewards) < 3 * window:
        return None
    means = rewards.means(window)
    best = max(means)
    at = means.index(best)
    error = rewards.noise() * (2 / window) ** 0.5
    fall = best - means[-1]
    lost = (
        0.5 * best
        if min(rewards.values) >= 0
        else max(_much(watch.history, best), 0.75 * (best - min(means[: at + 1])))
    )
    # the best of many means is above the others by chance alone: sqrt(2 ln m) standard errors are expected of m
    chance = 3 + math.sqrt(2 * math.log(len(means)))
    if fall <= lost or fall <= chance * error or at + window >= len(means):
        return None
    said = [f"reward {best:.3g} around step {rewards.steps[at]}, now {means[-1]:.3g}, noise {error:.2g}"]
    dev = Dev(watch)
    if dev.known:
        said.append(str(dev))
    after = rewards.values[at + window :]
    half = next((i for i, v in enumerate(after) if v < best - lost), 0)
    steps = rewards.steps[at + window :]
    return finding("reward_collapse", steps[half], "failing", 0.85, said, hopeless=dev.far_down)


def over_optimisation(watch: Watched) -> Finding | None:
    """The distance from the base keeps growing after the reward, or the score, has passed its best (2210.10760)."""
    kl, rewards, dev = watch.history.get("kl"), watch.history.get("reward"), Dev(watch)
    window = min(SMOOTH, max(len(kl) // 4, 2))
    if len(kl) < 8 or len(rewards) != len(kl):
        return None
    now = kl.now(window)
    if now < 0.05:
        return None
    spent = _past_the_best(kl, dev, now, watch.history.progress)
    if spent:
        return spent
    if not dev.known and (for_nothing := _distance_for_nothing(watch.history)):
        return for_nothing
    means = rewards.means(window)
    at = means.index(max(means)) + window // 2
    then = kl.values[at]
    error = rewards.noise() * (2 / window) ** 0.5
    lost = max(means) - means[-1] > 3 * error
    if now < 2 * then or not lost:
        return None
    said = [f"kl {then:.3g} at the best reward (step {kl.steps[at]}), now {now:.3g}"]
    said.append(f"reward {max(means):.3g} -> {means[-1]:.3g}")
    if dev.known:
        said.append(str(dev))
    fall, gain = max(means) - means[-1], max(means) - means[0]
    far = fall > max(_much(watch.history, max(means)), 5 * error) or (now > 0.5 and fall > max(0.5 * gain, 5 * error))
    grave = dev.down or (not dev.known and far)
    return finding("over_optimisation", kl.steps[at], "failing" if grave else "warning", 0.7, said)


def _distance_for_nothing(history: History) -> Finding | None:
    """Far from the base (a nat a token) without any gain: what a KL budget is spent on has to show in the reward."""
    kl, rewards = history.get("kl"), history.get("reward")
    if "kl" not in history.series or len(kl) < TREND_STEPS or kl.now(5) < max(1.0, 4 * abs(kl.start(5))):
        return None
    rise = Rise(rewards, SMOOTH)
    if rise.errors > 1 or min(kl.values[-5:]) < 1.0:
        return None
    said = [f"kl {kl.start(5):.3g} -> {kl.now(5):.3g}", f"reward {rise.start:.3g} -> {rise.now:.3g}"]
    at = next(s for s, v in zip(kl.steps, kl.values, strict=True) if v >= 0.5)
    return finding("over_optimisation", at, "failing", 0.7, said)


def _past_the_best(kl: Series, dev: Dev, now: float, progress: float) -> Finding | None:
    """The score fell from its best while the distance at least doubled."""
    if not dev.known or len(dev.values) < 3 or max(dev.values[-2:]) > dev.best - 2.5 * dev.error:
        return None
    best_step = dev.steps[dev.values.index(dev.best)]
    at = next((i for i, step in enumerate(kl.steps) if step >= best_step), len(kl) - 1)
    then = kl.values[at]
    if now < max(2 * abs(then), 0.05):
        return None
    said = [f"kl {then:.3g} at the best score (step {best_step}), now {now:.3g}"]
    said.append(f"development score at best {dev.best:.3f}, now {dev.now:.3f}")
    lost = dev.best - max(dev.values[-2:]) > max(0.5 * (dev.best - dev.first), 3 * dev.error)
    # Below the base from the first updates on, not far from it: a policy that finds its feet often dips before it gains.
    dip = best_step == 0 and now < 0.5 and 0 < progress < 0.5
    grave = (dev.down or lost) and not dip
    return finding("over_optimisation", best_step, "failing" if grave else "warning", 0.8, said)


TREND_STEPS = 20
"""Rewards that a trend needs: of ten noisy ones nobody can say that nothing moves."""


def plateau(watch: Watched) -> Finding | None:
    """There is a signal and it changes nothing. Failing where even the policy has stayed as it was."""
    history, dev = watch.history, Dev(watch)
    rewards, dead, spread = history.get("reward"), history.get("zero_std"), _spread_of_rewards(history)
    if history.progress < 0.6 or len(rewards) < 8 or dev.up:
        return None
    rise = Rise(rewards, len(rewards) // 3)
    scale = spread.now(SMOOTH) if len(spread) else 0.0
    rates = history.get("learning_rate")
    tiny = len(rates) >= TREND_STEPS and max(rates.values) <= TINY_RATE
    if (abs(rise.errors) > 2 and abs(rise.change) > 0.1 * scale) or (len(dead) and dead.now(SMOOTH) > 0.8):
        return None
    said = [f"reward {rise.start:.3g} -> {rise.now:.3g} at {history.progress:.0%} of the plan"]
    still = (
        len(rewards) >= TREND_STEPS
        and scale > 0
        and abs(rise.change) + 2 * rise.error < 0.25 * scale
        and _unmoved(history)
    )
    if tiny:
        said.append(f"learning rate at most {max(rates.values):.1g}")
    elif still:
        said.append("entropy and distance from the base are as they were: the updates are too small to do anything")
    at = rewards.steps[len(rewards) // 2]
    grave = still or tiny
    return finding("plateau", at, "failing" if grave else "warning", 0.85 if grave else 0.6, said)


def _spread_of_rewards(history: History) -> Series:
    """Within a group; where only the reward functions' own are logged, that of the first."""
    spread = history.get("reward_std")
    own = (s for n, s in history.series.items() if re.fullmatch(r"rewards/.+/std", n))
    return spread if len(spread) else next(own, spread)


def _unmoved(history: History) -> bool:
    """Nothing says that the policy has changed: its entropy, its answers' length and its KL."""
    entropy, kl, lengths = history.get("entropy"), history.get("kl"), history.get("length")
    if len(kl) and abs(kl.now(5)) > max(1e-4, min(2 * abs(kl.start(5)), 5e-3)):
        return False  # rounding alone keeps two passes over the same weights some 1e-4 apart
    moves = [Rise(series, len(series) // 3) for series in (entropy, lengths) if len(series) >= 8]
    if not moves or (len(entropy) < 8 and len(kl) < 8 and len(lengths) < 1.5 * TREND_STEPS):
        return False
    return all(
        abs(m.change) < max(0.03 * abs(m.start), 2 * m.error) and 2 * m.error < 0.15 * abs(m.start) for m in moves
    )


REINFORCED = (
    no_learning_signal, divergence, entropy_collapse, length_runaway, reward_hacking, reward_collapse,
    over_optimisation, plateau,
)  # fmt: skip
