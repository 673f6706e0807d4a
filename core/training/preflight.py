# pyright: basic
"""Before a long job: everything that can be wrong is made to go wrong now.

    python -P core/training/preflight.py <folder>/spec.json

Light checks (`check_light`, also used by the host): columns against the method, memory against the machine. Heavy ones, in
this process: the configuration objects really built against the installed TRL, the chat template against the evaluation's,
then a smoke test: the recipe itself for two train steps in a folder that is thrown away.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec
import psutil

from core.errors import InternError, UsageError
from core.training.memory import GB, Memory, estimate
from core.training.spec import TrainSpec, check_inputs, read_train_spec, write_spec

COLUMNS = {
    "sft": (("prompt",), ("answer",)),
    "grpo": (("prompt",), ("answer",)),
    "rejection": (("prompt",), ("answer",)),
    "dpo": (("prompt",), ("chosen", "answer"), ("rejected",)),
    "reward": (("prompt",), ("chosen", "answer"), ("rejected",)),
}
"""What a row must hold, by method; of several names one is enough."""


class Light(msgspec.Struct, frozen=True, kw_only=True):
    """What the light checks found."""

    memory: Memory | None
    available: int
    """Bytes of memory the training may take."""
    notes: tuple[str, ...] = ()


def check_light(spec: TrainSpec, gpu_bytes: int | None = None, promised: int = 0) -> Light:
    """Raises UsageError for rows that do not suit the method and for a training that cannot fit the memory.

    `gpu_bytes`: free memory of the GPU it will use; None for a CPU. `promised`: bytes of the free memory that trainings
    beside it are going to take.
    """
    check_inputs(spec)
    check_columns(spec)
    memory = estimate(spec, gpu=gpu_bytes is not None)
    free = gpu_bytes if gpu_bytes is not None else psutil.virtual_memory().available
    available = max(free - promised, 0)
    if memory is None:
        return Light(memory=None, available=available, notes=("the memory cannot be estimated: no local weights",))
    if memory.total > 1.5 * available:
        raise UsageError(
            f"it needs {memory}, {available / GB:.1f} GB are free",
            where="memory",
            next=_smaller(spec, memory, available, gpu=gpu_bytes is not None),
        )
    tight = (f"tight: it needs {memory}, {available / GB:.1f} GB are free",) if memory.total > available else ()
    return Light(memory=memory, available=available, notes=tight)


def _smaller(spec: TrainSpec, memory: Memory, available: int, gpu: bool) -> str:
    """What to do about it: the settings that fit, or where a smaller batch does not help what makes the largest term less."""
    fits = fitting(spec, available, gpu)
    if fits is not None:
        small, need = fits
        said = f"Use {_told(small)}: about {need.total / GB:.2f} GB."
        cut = small.max_length < spec.max_length
        return said + (" Rows longer than max_length are left out." if cut else " A train step takes as many rows.")
    return {
        "optimiser (AdamW)": "Train an adapter (lora), or a smaller model.",
        "gradients": "Train an adapter (lora), or a smaller model.",
        "weights": "Quantise the base (lora.quantize), or take a smaller model.",
        "reference model": "Train an adapter: it needs no second copy of the model.",
    }.get(next(iter(memory.terms)), "Use shorter rows (max_length), gradient_checkpointing, or a smaller model.")


FITTING = ("batch_size", "grad_accum", "max_length")
"""Settings that `fitting` changes."""


def fitting(spec: TrainSpec, available: int, gpu: bool) -> tuple[TrainSpec, Memory] | None:
    """The nearest spec that takes at most half of `available` bytes, for the estimate may be wrong by half and more: as many
    rows a train step in more and smaller passes, then shorter rows. None where neither is enough."""
    small = spec
    while True:
        need = estimate(small, gpu)
        if need is None or need.total <= available / 2:
            return None if need is None else (small, need)
        if small.batch_size > 1:
            changes = _halved(small)
        elif small.kind in ("sft", "rejection") and small.max_length > SHORTEST:
            changes = {"max_length": small.max_length // 2}
        else:
            return None
        small = msgspec.structs.replace(small, **changes)


def _halved(spec: TrainSpec) -> dict[str, int]:
    """Half the batch, and so many passes that a train step takes no fewer rows, and whole groups."""
    batch, rows = spec.batch_size // 2, spec.batch_size * spec.grad_accum
    passes = -(-rows // batch)
    while spec.kind == "grpo" and batch * passes % spec.num_generations:
        passes += 1
    return {"batch_size": batch, "grad_accum": passes}


SHORTEST = 64
"""Tokens of a row below which little is left to learn from."""


def _told(spec: TrainSpec) -> str:
    return ", ".join(f"{name} {getattr(spec, name)}" for name in FITTING[: 3 if spec.kind == "sft" else 2])


def check_columns(spec: TrainSpec, rows: int = 50) -> None:
    """Raises UsageError naming the missing column and its line."""
    path = Path(spec.data) / "train.jsonl"
    with path.open("rb") as lines:
        for number, line in zip(range(1, rows + 1), lines, strict=False):
            if not line.strip():
                continue
            try:
                row: Any = json.loads(line)
            except ValueError as error:
                raise UsageError(
                    f"line {number} is no JSON: {error}", where=str(path), next="Prepare it again."
                ) from error
            for names in COLUMNS[spec.kind]:
                if not any(isinstance(row.get(name), str) and row[name] for name in names):
                    what = (
                        f"line {number} has no {' or '.join(names)}, which {spec.kind} needs (it has {', '.join(row)})"
                    )
                    raise UsageError(what, where=str(path), next="Prepare the data in the format of the method.")


def check_heavy(spec: TrainSpec, folder: Path) -> list[str]:
    """Build TRL's configuration, compare templates, run two train steps. Returns what was seen."""
    seen: list[str] = []
    recipe = importlib.import_module(f"core.training.{spec.kind}")
    steps = min(spec.max_steps, 2)
    small = msgspec.structs.replace(
        spec, max_steps=steps, eval_samples=min(spec.eval_samples, 8), eval_every=0, output=str(folder / "model"),
        save_every=None, trackio_project=None, time_limit_s=None,
    )  # fmt: skip
    seen.append(compare_templates(spec))
    try:
        recipe.main(str(write_spec(folder, small)))
    except (ValueError, TypeError, LookupError, ImportError, RuntimeError, OSError) as error:  # TRL's and torch's own
        traceback.print_exception(error)
        said = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"two train steps of {spec.kind} fail with {said[:500]}", where="smoke test",
            next="Correct the field of the spec that it names; the traceback stands above.",
        ) from error  # fmt: skip
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    times = [r["values"]["step_time"] for r in rows if r["kind"] == "metric" and "step_time" in r["values"]]
    if times:
        whole = times[-1] * spec.max_steps
        seen.append(f"{times[-1]:.3g} s a train step: {spec.max_steps} steps take about {whole / 60:.1f} minutes")
        if spec.time_limit_s and whole > spec.time_limit_s:
            raise UsageError(
                f"{spec.max_steps} steps take about {whole:.0f} s, the limit is {spec.time_limit_s:.0f} s",
                where="time", next=f"Plan at most {int(spec.time_limit_s / times[-1])} steps.",
            )  # fmt: skip
    return seen


def compare_templates(spec: TrainSpec) -> str:
    """The template of the training is the evaluation's by construction; the tokenizer's own may be another one."""
    path = spec.prompting.template_path
    own = Path(spec.model).expanduser() / "chat_template.jinja"
    if spec.prompting.format == "text":
        return "prompts are plain text"
    if not path or not own.is_file():
        return "the tokenizer's own chat template is used"
    same = Path(path).read_bytes() == own.read_bytes()
    return (
        "the evaluation's template is the tokenizer's own"
        if same
        else f"the evaluation's template ({path}) replaces the tokenizer's own"
    )


def main(spec_path: str) -> None:
    """All checks of the spec at `spec_path`, a line each; raises what is wrong."""
    spec = read_train_spec(spec_path)
    light = check_light(spec, _gpu_bytes())
    for line in (str(light.memory or ""), *light.notes):
        if line:
            print(line)
    with tempfile.TemporaryDirectory(prefix="preflight-") as folder:
        for line in check_heavy(spec, Path(folder)):
            print(line)
    print("ready")


def _gpu_bytes() -> int | None:
    import torch

    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except InternError as error:
        print(f"not ready: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
