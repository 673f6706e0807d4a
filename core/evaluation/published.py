"""The third baseline: what the makers' own instruct model scores, where that is published. Quoted, never measured here.

Figures of PostTrainBench's tasks are from its paper (arXiv 2603.08640): official instruct models under its evaluation. A
task of one's own names its figure in task.toml:

    [published]
    model = "Qwen/Qwen3-1.7B"
    score = 0.885
    source = "arXiv 2603.08640"
"""

from __future__ import annotations

import re

import msgspec

PAPER = "arXiv 2603.08640"


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """A score that somebody else measured."""

    model: str
    score: float
    """In [0, 1]."""
    source: str


_FIGURES: dict[tuple[str, str], tuple[str, float]] = {
    ("qwen31.7b", "gpqa"): ("Qwen/Qwen3-1.7B", 0.355),
    ("qwen31.7b", "gsm8k"): ("Qwen/Qwen3-1.7B", 0.885),
    ("qwen31.7b", "aime2025"): ("Qwen/Qwen3-1.7B", 0.267),
    ("qwen31.7b", "humaneval"): ("Qwen/Qwen3-1.7B", 0.689),
    ("qwen34b", "gpqa"): ("Qwen/Qwen3-4B", 0.446),
    ("smollm33b", "gpqa"): ("HuggingFaceTB/SmolLM3-3B", 0.333),
    ("gemma34b", "gpqa"): ("google/gemma-3-4b-it", 0.315),
}
"""(base model, benchmark), both as `_plain` writes them -> (instruct model, score)."""


def published(model: str, task: str) -> Published | None:
    """The figure for a base model (a Hub id, or a folder named like one) and a task's name; None if none is known.

    The task's name must end in the benchmark's: `gsm8k_hard` and `gpqa_diamond` are other benchmarks, and a wrong figure is
    worse than none.
    """
    base = re.sub(r"(base|pt)$", "", _plain(model.rstrip("/").rpartition("/")[2]))
    words = _words(task)
    for (known, benchmark), (instruct, score) in _FIGURES.items():
        if base == known and re.search(rf"\b{benchmark}(?: main| cot)?$", words):
            return Published(model=instruct, score=score, source=PAPER)
    return None


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", text.lower())


def _words(text: str) -> str:
    """`GPQA main` and `gpqa_diamond` as words; `AIME 2025` as one."""
    spaced = re.sub(r"[^a-z0-9]+", " ", text.lower())
    return re.sub(r"\baime (2025)\b", r"aime\1", spaced)
