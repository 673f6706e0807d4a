"""Which rented machine a job needs, and what it can cost at most. Pure: the price list comes from the service."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from core.compute.protocol import Quote
from core.compute.spec import JobSpec
from core.errors import Refused

SETUP_S = 600.0
"""Beside the work itself: pulling the image, downloads, pushing the result."""

DEFAULT_LIMIT_S = 3600.0
HEADROOM = 1.1
UNKNOWN_BYTES = 22 << 30
"""Assumed of each GPU where nothing can be estimated: the smallest class that fine-tunes models of a few billion."""

FULL_BYTES = 16
"""Bytes a parameter of mixed-precision Adam: weights, gradients, fp32 copy, two moments (arXiv 1910.02054, sec. 3.1)."""

ADAPTER_BYTES = 2.5
"""Bytes a parameter of a frozen bf16 base with a LoRA adapter beside it."""

ACTIVATIONS = 1.25
RUNTIME_BYTES = 2 << 30


class Flavor(msgspec.Struct, frozen=True, kw_only=True):
    """One machine on offer."""

    name: str
    usd_per_hour: float
    gpus: int = 0
    gpu_bytes: int = 0
    """Memory of each GPU."""


def training_bytes(parameters: float, *, adapter: bool) -> int:
    """GPU memory of training a model of so many parameters, roughly (no long contexts)."""
    return int(parameters * (ADAPTER_BYTES if adapter else FULL_BYTES) * ACTIVATIONS) + RUNTIME_BYTES


def estimate_bytes(spec_json: Path) -> int | None:
    """GPU memory of a job by its spec.json and the weights it names; None where they are not here."""
    try:
        told = msgspec.json.decode(spec_json.read_bytes(), type=_Told)
    except (OSError, msgspec.MsgspecError):
        return None
    weights = sum(p.stat().st_size for p in Path(told.model).glob("*.safetensors")) if told.model else 0
    if not weights:
        return None
    return training_bytes(weights / 2, adapter=told.lora is not None)


class _Told(msgspec.Struct):
    model: str = ""
    lora: dict[str, object] | None = None


def choose(flavors: Sequence[Flavor], spec: JobSpec, *, wanted: str = "", attempts: int = 1) -> Quote:
    """The cheapest flavour that is large enough (or the one asked for by name). Raises Refused where there is none."""
    timeout_s = (spec.time_limit_s or DEFAULT_LIMIT_S) + SETUP_S
    if wanted:
        found = next((f for f in flavors if f.name == wanted), None)
        if found is None:
            names = ", ".join(f.name for f in flavors)
            raise Refused(f"No flavour is called {wanted!r}", where="Hugging Face Jobs", next=f"On offer: {names}")
        return _quote(found, timeout_s, attempts, "asked for by name")
    need = int((spec.gpu_memory_bytes or UNKNOWN_BYTES) * HEADROOM) if spec.gpus else 0
    enough = [f for f in flavors if f.gpus >= spec.gpus and (not spec.gpus or f.gpu_bytes >= need)]
    if not enough:
        largest = max(flavors, key=lambda f: f.gpu_bytes * max(f.gpus, 1), default=None)
        has = f"the largest is {largest.name}" if largest else "nothing is on offer"
        raise Refused(
            f"{spec.job} needs {spec.gpus} GPUs of {need / 2**30:.0f} GB; {has}", where="Hugging Face Jobs",
            next="Choose LoRA or a smaller model",
        )  # fmt: skip
    cheapest = min(enough, key=lambda f: (f.usd_per_hour, f.name))
    guess = "" if spec.gpu_memory_bytes or not spec.gpus else " (assumed: nothing to estimate from)"
    why = f"cheapest with {spec.gpus} GPU of {need / 2**30:.0f} GB{guess}" if spec.gpus else "cheapest CPU"
    return _quote(cheapest, timeout_s, attempts, why)


def _quote(f: Flavor, timeout_s: float, attempts: int, reason: str) -> Quote:
    return Quote(flavor=f.name, usd_per_hour=f.usd_per_hour, timeout_s=timeout_s, attempts=attempts, reason=reason)


def memory(text: str) -> int:
    """Bytes of `24 GB`, `1.5 TB`; 0 where it is none."""
    match = re.match(r"\s*([\d.]+)\s*([GMT])i?B", text or "", re.IGNORECASE)
    return int(float(match[1]) * {"M": 1 << 20, "G": 1 << 30, "T": 1 << 40}[match[2].upper()]) if match else 0


def per_hour(usd: float, label: str) -> float:
    """A price a unit as a price an hour."""
    return usd * {"second": 3600.0, "minute": 60.0, "hour": 1.0, "day": 1 / 24}.get(label, 60.0)
