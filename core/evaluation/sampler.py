# pyright: basic
"""The job kind `sample`: answers questions with a model in several ways and scores them, in one process.

Most of a small evaluation is importing torch, so all variants of a decoding audit (greedy or sampled, zero-shot or
with examples, chat or plain text) share one process and one loaded model. Input `spec.json`, output beside it in
`output_folder`: `samples-<variant>.jsonl` (also `samples.jsonl` for the first variant) and `result.json`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from core.errors import EvaluationError
from core.evaluation.prompting import Decoding, Prompting, render
from core.evaluation.stats import wilson
from core.evaluation.verify import VerifierSpec, check
from core.training.trust import Risk

if TYPE_CHECKING:
    from core.evaluation.engines import Engine


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One way of asking."""

    name: str
    decoding: Decoding = Decoding()
    prompting: Prompting = Prompting()
    """`shots` holds worked examples already chosen, or is filled from the spec's `shots_from`."""
    declared_stops_only: bool = False
    """Stop only where generation_config or the tokenizer says, as an evaluation would; else at the end of turn too."""


class SampleSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the job does."""

    model: str
    data: str
    """A jsonl of rows with `prompt` and `answer` (and `id`)."""
    output_folder: str
    kind: str = "sample"
    limit: int = -1
    variants: tuple[Variant, ...] = ()
    prompting: Prompting = Prompting()
    decoding: Decoding = Decoding()
    """`prompting` and `decoding` make up the only variant if `variants` is empty."""
    verifier: VerifierSpec = VerifierSpec(kind="exact")
    shots_from: str | None = None
    """A jsonl whose first rows are the worked examples of variants with `decoding.shots` > 0; never the asked ones."""
    trust: tuple[Risk, ...] = ()
    """What a person approved of this model (core/training/trust.py)."""
    samples_per_prompt: int = 1
    """More than one for rejection sampling: the rows of a prompt then follow each other."""
    threads: int = 1
    seed: int = 0
    batch_size: int = 256
    device: str = "cpu"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one variant scored."""

    name: str
    n: int
    correct: int
    score: float
    interval: tuple[float, float]
    ended_share: float
    mean_tokens: float
    solved_share: float
    """Prompts with at least one right answer: the same as `score` for one answer a prompt."""
    seconds: float
    samples: str
    stop_ids: list[int]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One question."""

    prompt: str
    answer: str
    id: str = ""


def main(spec_path: str) -> None:
    """Runs one spec. Raises EvaluationError for data without questions; the supervisor records the exit."""
    started = time.monotonic()
    spec = msgspec.json.decode(Path(spec_path).read_bytes(), type=SampleSpec)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch

    from core.evaluation.engines import open_engine
    from core.evaluation.generate import declared_stop_ids

    torch.set_num_threads(max(1, spec.threads))
    folder = Path(spec.output_folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = read_rows(spec.data, spec.limit)
    examples = read_rows(spec.shots_from, 64) if spec.shots_from else []
    only = Variant(name="only", decoding=spec.decoding, prompting=spec.prompting)
    variants = spec.variants or (only,)
    tokens = max(v.decoding.max_new_tokens for v in variants)
    engine = open_engine(
        spec.model, spec.device, spec.batch_size, spec.trust, tokens=tokens,
        questions=len(rows) * spec.samples_per_prompt * len(variants), context=_context(variants, rows, examples) + tokens,
    )  # fmt: skip
    drawn: dict[str, list[Any]] = {}
    outcomes = [run_variant(spec, v, rows, examples, engine, drawn) for v in variants]
    (folder / "samples.jsonl").write_bytes(Path(outcomes[0].samples).read_bytes())
    first = msgspec.to_builtins(outcomes[0])
    result = {
        **first,
        "declared_stop_ids": declared_stop_ids(engine, engine.tokenizer),
        "engine": engine.name,
        "variants": msgspec.to_builtins(outcomes),
        "seconds": time.monotonic() - started,
    }
    partial = folder / "result.json.part"
    partial.write_bytes(msgspec.json.encode(result))
    partial.replace(folder / "result.json")


def run_variant(
    spec: SampleSpec,
    variant: Variant,
    rows: list[Row],
    examples: list[Row],
    engine: Engine,
    known: dict[str, list[Any]],
) -> Outcome:
    """Asks every row in one way and writes its samples. `known` holds what was drawn so far: two variants that ask the same
    greedily ("as given" of a model that is greedy by itself) are answered once."""
    from core.evaluation.generate import declared_stop_ids, stop_ids

    started, tokenizer = time.monotonic(), engine.tokenizer
    prompting = with_shots(variant, examples, rows)
    template = Path(prompting.template_path).read_text(encoding="utf-8") if prompting.template_path else None
    stops = declared_stop_ids(engine, tokenizer)
    if not variant.declared_stops_only:
        stops = stop_ids(engine, tokenizer, template)
    asked = [row for row in rows for _ in range(spec.samples_per_prompt)]
    same = repr((sorted(stops), variant.decoding, prompting))
    drawn = known.get(same) or engine.generate(
        [render(tokenizer, prompting, row.prompt) for row in asked],
        max_new_tokens=variant.decoding.max_new_tokens,
        temperature=variant.decoding.temperature,
        seed=spec.seed,
        stop=stops,
    )
    if variant.decoding.temperature == 0:
        known[same] = drawn
    right = [check(spec.verifier, d.text, row.answer) for row, d in zip(asked, drawn, strict=True)]
    path = Path(spec.output_folder) / f"samples-{variant.name}.jsonl"
    path.write_bytes(b"".join(_line(r, d, ok) for r, d, ok in zip(asked, drawn, right, strict=True)))
    per = spec.samples_per_prompt
    solved = sum(any(right[i : i + per]) for i in range(0, len(right), per))
    return Outcome(
        name=variant.name,
        n=len(asked),
        correct=sum(right),
        score=sum(right) / len(asked),
        interval=wilson(sum(right), len(asked)),
        ended_share=sum(d.ended for d in drawn) / len(asked),
        mean_tokens=sum(d.tokens for d in drawn) / len(asked),
        solved_share=solved / len(rows),
        seconds=time.monotonic() - started,
        samples=str(path),
        stop_ids=stops,
    )


def _context(variants: tuple[Variant, ...], rows: list[Row], examples: list[Row]) -> int:
    """Tokens that hold the longest question with its worked examples: a byte is at most a token, and a template adds some."""

    def size(row: Row) -> int:
        return len(row.prompt.encode()) + len(row.answer.encode()) + TEMPLATE_BYTES

    system = max(len((v.prompting.system or "").encode()) for v in variants)
    shots = max(max(v.decoding.shots, len(v.prompting.shots)) for v in variants)
    given = max(sum(len(p.encode()) + len(a.encode()) + TEMPLATE_BYTES for p, a in v.prompting.shots) for v in variants)
    return system + max(map(size, rows)) + max(given, shots * max(map(size, examples), default=0))


TEMPLATE_BYTES = 200
"""What a chat template writes around a turn, at most."""


def read_rows(path: str, limit: int) -> list[Row]:
    """The rows with a prompt and an answer, at most `limit` (-1: all); ids are made where there are none."""
    from hashlib import sha256

    rows: list[Row] = []
    for line in Path(path).read_bytes().splitlines():
        if 0 <= limit <= len(rows):
            break
        try:
            row = msgspec.json.decode(line, type=Row)
        except msgspec.DecodeError:
            continue
        made = sha256(" ".join(row.prompt.split()).encode()).hexdigest()[:16]
        rows.append(row if row.id else msgspec.structs.replace(row, id=made))
    if not rows:
        raise EvaluationError(
            "no row with a prompt and an answer", where=path, next="Prepare the data first, or name another file."
        )
    return rows


def with_shots(variant: Variant, examples: list[Row], rows: list[Row]) -> Prompting:
    """The prompting with `decoding.shots` examples that are not among the questions asked."""
    wanted, prompting = variant.decoding.shots, variant.prompting
    if variant.decoding.template and not prompting.template_path:
        prompting = msgspec.structs.replace(prompting, template_path=variant.decoding.template)
    if wanted <= len(prompting.shots):
        return msgspec.structs.replace(prompting, shots=prompting.shots[:wanted]) if wanted else prompting
    asked = {row.id for row in rows}
    fresh = [(e.prompt, e.answer) for e in examples if e.id not in asked]
    return msgspec.structs.replace(prompting, shots=tuple((*prompting.shots, *fresh)[:wanted]))


def _line(row: Row, drawn: Any, correct: bool) -> bytes:
    record = {
        "id": row.id,
        "prompt": row.prompt,
        "answer": row.answer,
        "completion": drawn.text,
        "correct": correct,
        "tokens": drawn.tokens,
        "ended": drawn.ended,
    }
    return msgspec.json.encode(record) + b"\n"


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
