"""What a training job is told: one `TrainSpec`, written as spec.json into the job's folder.

Light: the host builds and reads it, the job process decodes it. Defaults are TRL 1.16's own (SFTConfig, GRPOConfig,
ModelConfig) unless a field names a paper; none is tuned to a task.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from core.errors import NotFound, UsageError
from core.evaluation.prompting import Prompting
from core.evaluation.verify import VerifierSpec
from core.training.trust import Risk

Kind = Literal["sft", "grpo", "dpo", "reward", "rejection"]
"""rejection: sample from the model, keep what the verifier accepts, fine-tune on it (2308.01825)."""
KINDS: tuple[Kind, ...] = ("sft", "grpo", "dpo", "reward", "rejection")
Device = Literal["auto", "cpu", "cuda"]

DEFAULT_LR: dict[str, float] = {"sft": 2e-5, "grpo": 1e-6, "dpo": 1e-6, "reward": 1e-4, "rejection": 2e-5}
"""TRL's defaults for full weights."""
LORA_LR_FACTOR = 10.0
"""LoRA's best learning rate is about ten times that of full weights (TRL's guide "LoRA without regret")."""


class LoraSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Low-rank adapters (2106.09685). TRL ModelConfig's r, alpha and dropout; all linear layers after 2305.14314."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.05
    targets: str | tuple[str, ...] = "all-linear"
    quantize: Literal["nf4", "int8"] | None = None
    """QLoRA (2305.14314): the frozen base in 4 bits (nf4, double quantisation, bfloat16 arithmetic) or 8; needs a GPU and
    bitsandbytes. The adapter is merged into the base's full weights, loaded again in bfloat16."""


class RewardSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reward function of a GRPO job; several are summed with their weights."""

    kind: Literal["verifier", "format", "overlong", "python"] = "verifier"
    """verifier: does the completion give the answer. format: does the whole completion match `pattern`, whatever the
    answer. overlong: DAPO's soft penalty near the length limit (2503.14476), in [-1, 0]. python: a user's own."""
    verifier: VerifierSpec | None = None
    pattern: str | None = None
    function: str | None = None
    """`path/to/file.py:name`; called with (prompt, completion, answer) and returns a float."""
    weight: float = 1.0
    name: str | None = None
    """Shown in the metrics as `rewards/<name>/mean`."""


class TrainSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training."""

    kind: Kind
    model: str
    """Folder or Hub id of the base."""
    data: str
    """Folder with train.jsonl and dev.jsonl (rows: id, prompt, answer)."""
    output: str | None = None
    """Where the final model goes; by default `model/` in the job's folder."""
    prompting: Prompting = Prompting()
    verifier: VerifierSpec = VerifierSpec(kind="exact")
    """Scores the development samples during the training."""

    lora: LoraSpec | None = None
    lr: float | None = None
    """Peak learning rate; None: `DEFAULT_LR`, times `LORA_LR_FACTOR` with LoRA."""
    scheduler: Literal["linear", "constant", "cosine", "constant_with_warmup"] | None = None
    """None: constant for GRPO (DAPO 2503.14476), else linear (transformers' default)."""
    warmup_ratio: float = 0.0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    max_steps: int = 200
    batch_size: int = 64
    """Rows (SFT) or completions (GRPO) a forward pass; a train step takes `batch_size * grad_accum`."""
    grad_accum: int = 1
    max_length: int = 1024
    """SFT: tokens of prompt and answer; a longer row is left out and counted."""

    rewards: tuple[RewardSpec, ...] = ()
    """GRPO; empty: `verifier` alone."""
    check_rewards: bool = True
    """GRPO: before the training, see on answers of the base how often each reward fires; one that never or always fires
    teaches nothing and is refused."""
    num_generations: int = 8
    max_completion_length: int = 512
    temperature: float = 1.0
    beta: float = 0.0
    """GRPO: weight of the KL term. 0, as in DAPO, saves the reference model; above 0 the stream carries `kl`. DPO: its beta;
    0 stands for TRL's 0.1."""
    dpo_loss: str = "sigmoid"
    """A loss_type of TRL's DPOConfig: sigmoid, ipo, robust, ..."""
    keep_a_prompt: int = 2
    """rejection: at most this many different accepted answers of one prompt, so that easy prompts do not fill the data."""
    epsilon: float = 0.2
    epsilon_high: float | None = None
    """DAPO's clip-higher is 0.28 (2503.14476)."""
    mask_truncated: bool = False
    """Leave truncated completions out of the loss (2503.14476)."""
    loss_type: str = "dapo"
    scale_rewards: Literal["group", "batch", "none"] = "group"

    eval_every: int | None = None
    """Train steps between development scores; None: an eighth of the training; 0: at the end only."""
    eval_samples: int = 200
    eval_max_new_tokens: int | None = None
    """None: `max_completion_length`."""
    eval_at_start: bool = True
    log_every: int | None = None
    """Train steps between metric lines; None: every step for GRPO, else about 60 lines a training."""
    save_every: int | None = None
    """Train steps between checkpoints; None: by the clock alone, and when the control file asks."""
    checkpoint_every_s: float = 600.0
    """Seconds between checkpoints, so that a killed job loses no more than that; 0: none by the clock."""
    resume_from: str | None = None
    """A checkpoint folder of an earlier job. A job that was interrupted goes on from its own newest one by itself."""

    trust: tuple[Risk, ...] = ()
    """What a person approved of this model (core/training/trust.py); without it nothing that comes with a model runs."""

    seed: int = 0
    device: Device = "auto"
    threads: int | None = None
    """CPU threads of torch; None: torch's choice (OMP_NUM_THREADS)."""
    gradient_checkpointing: bool | None = None
    """None: on with a GPU, off on a CPU."""
    packing: bool = False
    """SFT: several rows in one of `max_length` tokens, none attending to another (TRL's best-fit packing). A train step then
    holds more examples; needs flash attention, so a GPU, an adapter and the package flash-attn."""
    vllm: bool | None = None
    """None: generate with vLLM if it is installed and there is a GPU (GRPO)."""
    time_limit_s: float | None = None
    """The job ends by itself, with a saved model, within this many seconds of its process's start."""
    stop_after: int | None = None
    """Stop after this train step, on a schedule planned for `max_steps`: repeats a job that its time limit ended."""
    trackio_project: str | None = None
    """None: no Trackio."""
    trackio_dir: str | None = None
    """Folder of the local Trackio store; by default `trackio/` in the job's folder."""
    run_name: str | None = None

    @property
    def learning_rate(self) -> float:
        if self.lr is not None:
            return self.lr
        return DEFAULT_LR[self.kind] * (LORA_LR_FACTOR if self.lora else 1.0)

    @property
    def evaluation_tokens(self) -> int:
        return self.eval_max_new_tokens or self.max_completion_length


def check_train_spec(spec: TrainSpec) -> None:
    """Raise `UsageError` for values that cannot work together, before anything heavy is loaded."""
    for name in ("max_steps", "batch_size", "grad_accum", "max_length", "max_completion_length"):
        if getattr(spec, name) < 1:
            raise UsageError(f"{name} is {getattr(spec, name)}", where="spec", next=f"Give a {name} of at least 1.")
    if not 0 < spec.learning_rate < float("inf"):
        raise UsageError(f"lr is {spec.learning_rate}", where="spec", next="Give a learning rate above 0.")
    if spec.time_limit_s is not None and spec.time_limit_s <= 0:
        raise UsageError(f"time_limit_s is {spec.time_limit_s}", where="spec", next="Give seconds above 0.")
    if spec.kind == "grpo":
        _check_grpo(spec)
    if spec.kind == "rejection" and (spec.num_generations < 1 or spec.keep_a_prompt < 1 or spec.temperature <= 0):
        what = "rejection sampling needs num_generations and keep_a_prompt of at least 1 and a temperature above 0"
        raise UsageError(what, where="spec", next="Give num_generations 8, keep_a_prompt 2, temperature 1.")


def _check_grpo(spec: TrainSpec) -> None:
    total = spec.batch_size * spec.grad_accum
    if spec.num_generations < 2:
        raise UsageError("num_generations is below 2", where="spec", next="A group needs two completions to compare.")
    if total % spec.num_generations:
        raise UsageError(
            f"batch_size * grad_accum = {total} is no multiple of num_generations = {spec.num_generations}",
            where="spec",
            next=f"Try a batch of {max(total // spec.num_generations, 1) * spec.num_generations}.",
        )
    for reward in spec.rewards:
        needed = {"verifier": reward.verifier, "format": reward.pattern, "python": reward.function, "overlong": True}
        if needed[reward.kind] is None:
            field = {"verifier": "verifier", "format": "pattern", "python": "function"}[reward.kind]
            raise UsageError(f"a {reward.kind} reward lacks its {field}", where="spec", next=f"Add `{field}`.")


def read_train_spec(path: str | Path) -> TrainSpec:
    """The checked spec in a file. `UsageError` names the field that does not fit."""
    try:
        spec = msgspec.json.decode(Path(path).read_bytes(), type=TrainSpec)
    except OSError as error:
        raise UsageError(f"cannot read the spec: {error.strerror}", where=str(path), next="Check the path.") from error
    except msgspec.DecodeError as error:
        raise UsageError(
            f"the spec does not fit: {error}", where=str(path), next="See core/training/spec.py."
        ) from error
    check_train_spec(spec)
    return spec


def check_inputs(spec: TrainSpec) -> None:
    """Raise NotFound for files that are not there, in milliseconds and not after the imports of a training."""
    local = Path(spec.model).expanduser()
    if not local.is_dir() and (spec.model.startswith(("/", ".", "~")) or spec.model.count("/") != 1):
        raise NotFound("no such model folder", where=spec.model, next="Give a folder with config.json, or a Hub id.")
    if local.is_dir() and not (local / "config.json").is_file():
        raise NotFound("no model here: config.json is missing", where=spec.model, next="Check the path.")
    if not (Path(spec.data) / "train.jsonl").is_file():
        raise NotFound("no train.jsonl", where=spec.data, next="Prepare the data first.")
    template = spec.prompting.template_path
    if template and not Path(template).is_file():
        raise NotFound("no such chat template", where=template, next="Check prompting.template_path.")


def write_spec(folder: str | Path, spec: msgspec.Struct) -> Path:
    """Write `spec` as spec.json into a job's folder; returns its path."""
    path = Path(folder) / "spec.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(spec), indent=1))
    return path


def changed(spec: TrainSpec, changes: dict[str, Any]) -> TrainSpec:
    """`spec` with a remedy's changes: a value replaces, `"*0.3"` multiplies (whole numbers stay whole, at least 1).

    `overlong` adds DAPO's soft length penalty with that weight. A field with None as its default counts as TRL's.
    """
    values: dict[str, Any] = {}
    for name, value in changes.items():
        if name == "overlong":
            own = spec.rewards or (RewardSpec(kind="verifier", verifier=spec.verifier),)
            others = tuple(r for r in own if r.kind != "overlong")
            values["rewards"] = (*others, RewardSpec(kind="overlong", weight=float(value)))
        elif name == "lora":
            values[name] = LoraSpec() if value == {} else msgspec.convert(value, LoraSpec)
        elif isinstance(value, str) and value.startswith("*"):
            values[name] = _scaled(spec, name, float(value[1:]))
        else:
            values[name] = tuple(cast(list[Any], value)) if isinstance(value, list) else value
    if values.get("kind", spec.kind) != spec.kind and spec.lr is not None:
        values.setdefault("lr", None)  # a learning rate does not carry over from one method to another
    result = msgspec.structs.replace(spec, **values)
    if result.kind == "grpo" and result.batch_size * result.grad_accum % result.num_generations:
        size = max(result.batch_size // result.num_generations, 1) * result.num_generations
        result = msgspec.structs.replace(result, batch_size=size)
    check_train_spec(result)
    return result


def _scaled(spec: TrainSpec, name: str, factor: float) -> float | int:
    now = spec.learning_rate if name == "lr" else getattr(spec, name)
    if name == "beta" and now == 0:
        return 0.001 * factor  # from nothing: INTELLECT-2's coefficient (2505.07291) as the unit
    return max(round(now * factor), 1) if isinstance(now, int) else now * factor
