# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""What decides the next tool call: the playbook, or an LLM behind a smolagents Model.

A brain is named on the command line: `playbook`, `hf:<model>` (Hugging Face Inference Providers, key from HF_TOKEN) or
`openai:<model>@<base url>` (vLLM, Ollama, llama.cpp, LM Studio, a router; key from OPENAI_API_KEY where one is needed).
Keys are read from the environment when the run's host starts and are never written anywhere.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from core.errors import UsageError

HOW_TO_USE_AN_LLM = "for an LLM: --brain hf:<model> (HF_TOKEN) or --brain openai:<model>@<url>"

POLICIES = ("playbook", "random", "hill", "sft", "greedy", "hand")
"""Brains without an LLM: the playbook, and what `intern bench` compares it with. `hand` follows a file of a person's."""


class BrainSpec(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    """One of POLICIES, hf or openai."""
    model: str = ""
    """The model's name; of `hand` the recipe's file."""
    url: str = ""

    def __str__(self) -> str:
        return self.kind if not self.model else f"{self.kind}:{self.model}" + (f"@{self.url}" if self.url else "")


def parse_brain(name: str) -> BrainSpec:
    """Raises UsageError for a name that is none of these forms."""
    kind, _, rest = name.partition(":")
    if kind == "hand":
        return BrainSpec(kind=kind, model=rest)
    if name in POLICIES:
        return BrainSpec(kind=name)
    if kind == "hf" and rest:
        return BrainSpec(kind="hf", model=rest)
    if kind == "openai" and rest:
        model, at, url = rest.rpartition("@")
        if at and model and url.startswith(("http://", "https://")):
            return BrainSpec(kind="openai", model=model, url=url)
        if not at:
            return BrainSpec(kind="openai", model=rest)
    raise UsageError(
        f"No brain is called {name!r}",
        where="--brain",
        next="Use playbook, hf:<model>, or openai:<model>@http://host:port/v1",
    )


def check_brain(spec: BrainSpec) -> None:
    """Say before a run starts what the brain lacks."""
    if spec.kind == "hand":
        from core.agent.playbook.hand import read_recipe

        read_recipe(spec.model)
    if spec.kind == "hf" and not (os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")):
        raise UsageError(f"{spec} needs a token", where="environment", next="Set HF_TOKEN, or use --brain playbook")
    if spec.kind == "openai" and not spec.url and not os.environ.get("OPENAI_API_KEY"):
        raise UsageError(
            f"{spec} needs a key",
            where="environment",
            next="Set OPENAI_API_KEY, or name a server: openai:<model>@<url>",
        )


def make_model(spec: BrainSpec, seed: int) -> Any:
    """The smolagents Model of a brain."""
    if spec.kind in POLICIES:
        from core.agent.playbook import PlaybookModel

        return PlaybookModel(seed, spec.kind, spec.model)
    from core.agent.endpoint import Endpoint, hf_router

    if spec.kind == "hf":
        key = os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN") or "none"
        return Endpoint(spec.model, hf_router(), key)
    return Endpoint(spec.model, spec.url, os.environ.get("OPENAI_API_KEY") or "none")
