"""What can be wrong with a training, why that happens and what helps: the words of the detectors.

Pure and light: the host, `intern diagnose` and the playbook read it. A remedy names its source (an arXiv id) where it
has one, and says in `changes` what it means for a `TrainSpec`, so that it can be tried as an experiment.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Kind = Literal[
    "no_learning_signal",
    "divergence",
    "entropy_collapse",
    "length_runaway",
    "reward_hacking",
    "reward_collapse",
    "over_optimisation",
    "over_fitting",
    "plateau",
    "non_finite",
    "stalled",
    "slow",
    "crash",
    "out_of_memory",
    "data_starvation",
    "throughput_drop",
    "no_checkpoint",
]
Severity = Literal["warning", "failing"]


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """Something to try."""

    text: str
    source: str | None = None
    """arXiv id of a paper that shows it, or a library's documentation; None: plain craft."""
    changes: dict[str, Any] = {}
    """TrainSpec fields: a value to set, or `"*0.3"` to multiply. Empty: it is not a matter of the spec."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, with what shows it."""

    kind: Kind
    first_step: int
    """Train step at which the signs began; 0 for what is known before or outside of steps."""
    severity: Severity
    confidence: float
    """In [0, 1]: how seldom a healthy training looks like this."""
    evidence: tuple[str, ...]
    causes: tuple[str, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    hopeless: bool = False
    """Going on is a waste: stop the job early."""
    job: str = ""
    """Which training of a run, or which run of a Trackio project; "" where there is only one."""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one training."""

    verdict: Literal["healthy", "failing"]
    findings: tuple[Finding, ...]
    trainer: str = ""
    steps: int = 0
    """Last train step seen."""
    source: str = ""
    """What was read."""
    notes: tuple[str, ...] = ()
    """What of it was left out."""


def diagnosis(findings: list[Finding], **about: Any) -> Diagnosis:
    """Failing if any finding is. One finding a kind: the gravest, then the earliest."""
    best: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        known = best.get((finding.job, finding.kind))
        if known is None or gravity(finding) > gravity(known):
            best[finding.job, finding.kind] = finding
    kept = tuple(sorted(best.values(), key=lambda f: (f.severity != "failing", f.first_step)))
    return Diagnosis(
        verdict="failing" if any(f.severity == "failing" for f in kept) else "healthy", findings=kept, **about
    )


def gravity(finding: Finding) -> int:
    """1 warning, 2 failing, 3 hopeless."""
    return 1 + (finding.severity == "failing") + finding.hopeless


def finding(
    kind: Kind, step: int, severity: Severity, confidence: float, evidence: list[str], hopeless: bool = False
) -> Finding:
    """A finding with the causes and remedies of its kind."""
    causes, remedies = KNOWLEDGE[kind]
    return Finding(
        kind=kind,
        first_step=step,
        severity=severity,
        confidence=confidence,
        evidence=tuple(evidence),
        causes=causes,
        remedies=remedies,
        hopeless=hopeless and severity == "failing",
    )


def _try(text: str, source: str | None = None, **changes: Any) -> Remedy:
    return Remedy(text=text, source=source, changes=changes)


_LOWER_LR = _try("a learning rate three times lower", None, lr="*0.3")
_KL_ANCHOR = _try("a small KL term, which keeps the policy near the base", "2505.07291", beta=0.001)
_STRONGER_KL = _try("a KL term of the size of the first GRPO paper", "2402.03300", beta=0.04)
_STRICTER = _try("a verifier as strict as the evaluation itself in place of the reward", "2209.13085", rewards=[])
_WARM_UP = _try("warm up over the first tenth of the steps", "1706.03762", warmup_ratio=0.1)
_SFT_FIRST = _try("SFT on verified answers first, so that some samples are right", "2501.12948", kind="sft")
_STOP_EARLIER = _try("fewer steps: keep the checkpoint with the best development score", None, max_steps="*0.5")
_SMALLER_BATCH = _try("half the batch with twice the accumulation", "TRL", batch_size="*0.5", grad_accum="*2")

KNOWLEDGE: dict[str, tuple[tuple[str, ...], tuple[Remedy, ...]]] = {
    "no_learning_signal": (
        ("the reward never (or always) fires: prompts too hard or too easy, or the answer's format is not recognised",
         "all labels are masked, or the learning rate is 0 (SFT)"),
        (_SFT_FIRST,
         _try("more samples a prompt, so that groups differ", "2402.03300", num_generations="*2"),
         _try("leave out prompts that are always right or always wrong", "2503.14476"),
         _try("check the verifier against samples of the base", None)),
    ),
    "divergence": (
        ("the learning rate is too high", "the batch is too small for it", "no warm-up", "broken rows in the data"),
        (_LOWER_LR, _WARM_UP, _KL_ANCHOR,
         _try("clip gradients harder", "2504.02507", max_grad_norm=0.1)),
    ),
    "entropy_collapse": (
        ("the policy became certain before it became right: learning rate too high, clipping too tight for rare tokens",
         "the reward favours one kind of answer"),
        (_try("clip-higher: more room for rare tokens to grow", "2503.14476", epsilon=0.2, epsilon_high=0.28),
         _LOWER_LR,
         _try("an adaptive entropy bonus", "2505.22312"),
         _try("a KL term on the tokens with the highest covariance, or on all", "2505.22617", beta=0.001)),
    ),
    "length_runaway": (
        ("the reward pays for length, or does not punish answers that never end",
         "the end token is not learnt", "the loss weights long answers more"),
        (_try("leave truncated answers out of the loss", "2503.14476", mask_truncated=True),
         _try("a soft penalty near the length limit", "2503.14476", overlong=1.0),
         _try("a loss without the length bias", "2503.20783", loss_type="dr_grpo", scale_rewards="none"),
         _try("SFT with the end-of-turn token inside the loss first", None, kind="sft")),
    ),
    "reward_hacking": (
        ("the reward can be had without what the evaluation asks for", "the reward is laxer than the evaluation"),
        (_STRICTER, _STRONGER_KL, _STOP_EARLIER),
    ),
    "reward_collapse": (
        ("too large policy updates", "the reward's distribution shifted (harder prompts, truncation)"),
        (_LOWER_LR, _KL_ANCHOR,
         _try("go back to the best checkpoint and go on from there", None),
         _try("bound the update of bad samples (delta 4)", "2505.07291")),
    ),
    "over_optimisation": (
        ("the policy moves away from the base without gaining: over-optimisation of a proxy reward",),
        (_try("a KL term ten times stronger", "2210.10760", beta="*10"), _STOP_EARLIER, _LOWER_LR),
    ),
    "over_fitting": (
        ("more passes over the data than it can bear", "too few or too similar rows",
         "labels or format that differ from what the evaluation wants"),
        (_STOP_EARLIER,
         _try("at most four passes over the data", "2305.16264"),
         _try("more data: the model's own verified samples", "2308.01825"),
         _try("LoRA, which forgets less than full weights", "2405.09673", lora={}),
         _try("check the labels: drop rows that a verifier or a majority contradicts", None)),
    ),
    "plateau": (
        ("the learning rate is too low", "nothing left to learn from this data"),
        (_try("a learning rate three times higher", None, lr="*3"),
         _try("harder or more varied prompts", "2503.14476"),
         _try("longer training", None, max_steps="*2")),
    ),
    "non_finite": (
        ("overflow: learning rate too high, or half precision without loss scaling", "a division by zero in the loss",
         "broken weights or rows"),
        (_LOWER_LR,
         _try("bf16 or float32 in place of fp16", "TRL"),
         _try("clip gradients harder", "2504.02507", max_grad_norm=0.1)),
    ),
    "stalled": (
        ("a deadlock or a hanging reward function, download or disk", "the machine sleeps or swaps"),
        (_try("look at the end of log.txt; cancel the job and submit it again from its last checkpoint", None),),
    ),
    "slow": (
        ("the plan does not fit the time", "generation without vLLM, padding, too few cores"),
        (_try("fewer steps, so that the schedule ends within the time", None, max_steps="*0.5"),
         _try("shorter completions", None, max_completion_length="*0.5"),
         _try("generate with vLLM (GPU)", "TRL")),
    ),
    "crash": (
        ("an error in the script, a reward function or the data: see the traceback",),
        (_try("correct what the last line of the traceback names and run again", None),),
    ),
    "out_of_memory": (
        ("batch, length, number of samples or the optimiser's state need more memory than there is",),
        (_SMALLER_BATCH,
         _try("gradient checkpointing", "1604.06174", gradient_checkpointing=True),
         _try("shorter sequences", None, max_length="*0.5", max_completion_length="*0.5"),
         _try("LoRA in place of full weights", "2106.09685", lora={})),
    ),
    "data_starvation": (
        ("the model waits for rows: slow tokenisation, disk or network, or a stuttering stream",),
        (_try("prepare and tokenise the data beforehand", None),
         _try("loader workers (GPU hosts with cores to spare)", "TRL")),
    ),
    "throughput_drop": (
        ("another program took the machine", "answers grew longer", "the device got hot and slowed down", "swapping"),
        (_try("see what else runs (telemetry); pause other jobs", None),
         _try("limit the length of completions", None, max_completion_length="*0.5")),
    ),
    "no_checkpoint": (
        ("the script ended without saving", "it saved somewhere else", "the disk is full"),
        (_try("save the model and tokenizer at the end of the script", None),),
    ),
}  # fmt: skip
"""Causes and remedies by kind, remedies in the order in which to try them."""
