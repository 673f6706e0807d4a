"""What an export job is told. Light: the host builds it."""

from __future__ import annotations

from typing import Literal

import msgspec

from core.evaluation.prompting import Decoding, Prompting
from core.training.trust import Risk


class ExportSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One export."""

    kind: Literal["export"] = "export"
    model: str
    """Folder or Hub id with full weights; the base where `adapter` is given."""
    trust: tuple[Risk, ...] = ()
    """What a person approved of this model (core/training/trust.py)."""
    adapter: str | None = None
    output: str | None = None
    """By default `model/` in the job's folder; replaced if it exists."""
    prompting: Prompting = Prompting()
    decoding: Decoding = Decoding()
    """Written into generation_config.json."""
    stop_ids: tuple[int, ...] = ()
    """Token ids that end an answer; empty: those of model, tokenizer and template."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    proof_prompts: tuple[str, ...] = ()
    """Answered after the reload; a few development prompts serve well."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
