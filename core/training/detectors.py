"""Seeing from its metrics that a training goes wrong, as early as the signs allow.

`Watch` takes the rows as they come and names each problem once (again if it grows from a warning to failing). The rules
compare a training with its own first rows; constants are shares, multiples or standard errors, not levels. Where a paper
names a threshold it is named here; the others were set on labelled runs (tests/benchmarks/labelled) and confirmed on seeds
held out.

non_finite            loss or reward is NaN or infinite; entropy, KL or gradients twice in a row
no_learning_signal    all groups of equal reward from the start; gradients or learning rate 0; > .8 for 10 rows (2503.14476)
divergence            loss above its best by > 8 noise and 30 % of its start (2504.02507); GRPO: worse than at the
                      start, or KL > .5 at once; DPO: worse than the reference model, for good; SFT: sure of what is
                      wrong early on (loss twice the entropy, 1706.04599), and since then only less sure
entropy_collapse      entropy down > 70 % while score and reward are flat, or the score falls and the reward alone rises;
                      falling alone is normal (2505.22617)
length_runaway        length twice its start, or truncated > .25 and rising, while the score does not rise (2503.14476),
                      or a reward that follows the length
reward_hacking        reward up by > 3 errors, development score down by > 2.5, or a gap that opens (2209.13085)
reward_collapse       smoothed reward under half its best
over_optimisation     KL doubled since the best reward or score, which was not reached again (2210.10760); DPO: the chosen
                      answers lose most of their likelihood (2402.13228)
over_fitting          eval loss up > 10 % from its least, or development score down, while the training loss falls
plateau               nothing moved by 60 % of the plan; failing where the loss or the policy is certainly as it was
throughput_drop       step time doubled (failing: three times, lasting);  data_starvation  > 30 % (50 %) of it waiting
slow                  the plan is beyond the limit (failing: by half);  stalled  silence for 20 train steps and a minute

A warning is for reading; `failing` decides the verdict; `hopeless` lets the host stop the job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from core.training.devscore import Watched
from core.training.diagnosis import Finding, finding, gravity
from core.training.history import History
from core.training.recovery import recovered
from core.training.signs_preference import PREFERENCE
from core.training.signs_reinforced import REINFORCED
from core.training.signs_speed import SPEED, ending
from core.training.signs_supervised import SUPERVISED

_REINFORCED_METHODS = ("grpo", "rloo", "ppo", "online_dpo")
_WATCHED = ("loss", "reward", "entropy", "kl", "train_loss", "eval_loss")


_PREFERENCE_METHODS = ("dpo", "orpo", "kto", "cpo", "ipo", "simpo")


def _rules(method: str) -> tuple[Callable[[Watched], Finding | None], ...]:
    if method in _REINFORCED_METHODS:
        return REINFORCED
    return PREFERENCE if method in _PREFERENCE_METHODS else SUPERVISED


_WITHOUT_KL = ("sft", "reward")
"""Their trainers have no reference policy, so a remedy that changes the KL term is none."""

ABOUT_SPEED = ("slow", "throughput_drop", "data_starvation")


class Watch:
    """The detectors over one training.

    `method`: "grpo", "sft", "dpo" or "reward"; `planned_steps`: train steps of the plan, if known; `base_dev_score`:
    the base model's score on the same development samples, if it is not in the stream; `time_limit_s`: for `slow`;
    `live`: a running job, whose slowness is no reason to discard what it learns.
    """

    def __init__(
        self,
        method: str,
        planned_steps: int | None = None,
        base_dev_score: float | None = None,
        *,
        time_limit_s: float | None = None,
        live: bool = False,
    ) -> None:
        self.method = method
        self.history = History(planned_steps)
        self.base_dev_score = base_dev_score
        self.time_limit_s = time_limit_s
        self.live = live
        self.findings: list[Finding] = []
        self._rules = _rules(method) + SPEED
        self._gravity: dict[str, int] = {}
        self._broken_rows = 0

    def feed(self, step: int, values: Mapping[str, float]) -> list[Finding]:
        """Take in the metrics logged at a train step; returns what is new."""
        row = {k: float(v) for k, v in values.items()}
        broken = self.history.add(step, row)
        if not broken and ("grad_norm" in row or "loss" in row):
            self._broken_rows = 0
        found = [self._non_finite(step, broken)] if any(name in (*_WATCHED, "grad_norm") for name in broken) else []
        if not any(name in broken for name in _WATCHED) and self._due():
            found += [rule(self) for rule in self._rules]
        return self._new(found)

    def _due(self) -> bool:
        """Every row of the first hundreds; of a long log about two hundred times more, which bounds the time it takes."""
        rows = self.history.rows
        return rows < 400 or rows % (rows // 200) == 0

    def take_as_complete(self) -> list[Finding]:
        """The log is all there is and says no plan: judge it as a whole. Too few rows say nothing of that kind."""
        if self.history.planned is None and self.history.rows >= 20:
            self.history.planned = self.history.last_step or None
        return self.look()

    def look(self) -> list[Finding]:
        """Look once more, as after the last row."""
        return self._new([rule(self) for rule in self._rules]) if self.history.rows else []

    def settle(self) -> None:
        """No further row will come: what the rest of the log refutes was a warning, and says so."""
        for i, found in enumerate(self.findings):
            said = recovered(self, found.kind, found.first_step) if found.severity == "failing" else ""
            if said:
                self.findings[i] = msgspec.structs.replace(
                    found, severity="warning", hopeless=False, confidence=min(found.confidence, 0.4),
                    evidence=(*found.evidence, said),
                )  # fmt: skip

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
        return self._new([ending(self.history, exit_code, log_tail, model_saved)])

    def _new(self, found: list[Finding | None]) -> list[Finding]:
        fresh: list[Finding] = []
        for one in found:
            if one is None:
                continue
            if self.live and one.kind in ABOUT_SPEED:
                one = msgspec.structs.replace(one, severity="warning")
            if self.method in _WITHOUT_KL:
                fit = tuple(remedy for remedy in one.remedies if "beta" not in remedy.changes)
                one = msgspec.structs.replace(one, remedies=fit)
            if gravity(one) > self._gravity.get(one.kind, 0):
                self._gravity[one.kind] = gravity(one)
                fresh.append(one)
        self.findings += fresh
        return fresh

    def _non_finite(self, step: int, broken: list[str]) -> Finding | None:
        watched = [name for name in broken if name in _WATCHED]
        grave = [name for name in watched if name not in ("entropy", "kl")]
        self._broken_rows += 1
        if not grave and self._broken_rows < 2:
            return None  # a single overflow is what loss scaling is for
        said = [f"{', '.join(watched or ['grad_norm'])} not finite at step {step}"]
        return finding("non_finite", step, "failing", 0.99, said, hopeless=True)
