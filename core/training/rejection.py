# pyright: basic
"""Rejection sampling fine-tuning (2308.01825): sample answers, keep what the verifier accepts, fine-tune on it.

    python -P core/training/rejection.py <folder>/spec.json

reads a `TrainSpec`, writes the accepted answers to `accepted/train.jsonl` with an account of what was dropped and why,
and goes on as SFT does. It teaches the model to do reliably what it does now and then: nothing new, often much.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec
from accelerate import PartialState
from trl import SFTTrainer  # pyright: ignore[reportPrivateImportUsage]

from core.errors import JobError, UsageError
from core.evaluation.generate import generate, stop_ids
from core.evaluation.prompting import render
from core.evaluation.verify import check
from core.home import write_json
from core.training import sft
from core.training.examples import Row, read_rows, template_text
from core.training.model_files import lora_config
from core.training.recipe import Bench, by_hand, make_callback, run, set_up
from core.training.spec import TrainSpec, read_train_spec
from core.training.stream import is_first

PROMPTS = 128
"""Prompts that are drawn for at once; between two such chunks a job can be interrupted and go on."""

SAMPLING_SHARE = 0.4
"""Of the job's time, at most, goes into sampling: the fine-tuning needs the rest."""


def main(spec_path: str) -> None:
    """Run the job whose spec is at `spec_path`."""
    spec = read_train_spec(spec_path)
    bench = set_up(spec, Path(spec_path).resolve().parent)
    sampled = sample(bench) if is_first() else None
    PartialState(cpu=bench.device == "cpu").wait_for_everyone()
    accepted = sampled or bench.folder / "accepted"
    if not (accepted / "train.jsonl").is_file():  # preempted while it sampled
        return
    tuned = bench._replace(spec=msgspec.structs.replace(spec, data=str(accepted)))
    callback = make_callback(bench)
    trainer = SFTTrainer(
        model=bench.model,
        args=sft.settings(spec, tuned),
        train_dataset=sft.examples(tuned.spec, tuned),
        processing_class=bench.tokenizer,
        peft_config=lora_config(spec.lora),
        callbacks=[callback],
    )
    run(bench, trainer, callback)


def sample(bench: Bench) -> Path | None:
    """Draw `num_generations` answers to each prompt and keep the accepted ones; returns the folder of the new data.

    A process that was interrupted here is followed by one that goes on behind the last prompts it drew for. None where a
    scheduler takes the machine away: it will be started again, and a part of the answers would be another training.
    """
    spec, began = bench.spec, time.monotonic()
    rows = list(read_rows(Path(spec.data) / "train.jsonl"))
    if not rows:
        raise UsageError("train.jsonl has no rows", where=spec.data, next="Prepare the data again.")
    stop = stop_ids(bench.model, bench.tokenizer, template_text(bench.tokenizer, spec.prompting))
    folder = bench.folder / "accepted"
    if (
        folder / "train.jsonl"
    ).is_file():  # sampled by a process before this one: what is fine-tuned on must not change
        return folder
    folder.mkdir(exist_ok=True)
    known = _drawn(folder)
    counts = Counter(known.counts)
    with (folder / "train.jsonl.partial").open("ab") as out:
        out.truncate(known.size)
        for start in range(known.prompts, len(rows), PROMPTS):
            chunk = rows[start : start + PROMPTS]
            answers = _draw(bench, chunk, stop, seed=spec.seed + start)
            for row, texts in zip(chunk, answers, strict=True):
                for text in _kept(row, texts, spec, counts):
                    out.write(json.dumps({"prompt": row.prompt, "answer": text, "id": row.id}).encode() + b"\n")
            out.flush()
            done = min(start + PROMPTS, len(rows))
            write_json(folder / "drawn.json", Drawn(prompts=done, size=out.tell(), counts=dict(counts)))
            bench.stream.heartbeat(0)
            asked = bench.stream.control() == "stop"
            if asked and bench.stream.why_stop() == "preempted":
                return None
            if asked or _out_of_time(spec, began):
                why = "the job is asked to stop" if asked else "its share of the time is used"
                bench.stream.note(f"sampling stopped after {done} of {len(rows)} prompts: {why}")
                break
    drawn = sum(counts.values())
    said = ", ".join(f"{count} {why}" for why, count in counts.most_common())
    bench.stream.note(f"rejection sampling: {drawn} answers drawn, {said}")
    if not counts["accepted"]:
        raise JobError(
            f"none of {drawn} sampled answers passes the verifier ({said})",
            where="rejection sampling",
            next="Fine-tune on given answers first, or check the verifier.",
        )
    (folder / "train.jsonl.partial").replace(folder / "train.jsonl")
    return folder


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """drawn.json: how far sampling has come. Written after the rows it speaks of, so what follows `size` bytes is drawn anew."""

    prompts: int = 0
    size: int = 0
    """Bytes of train.jsonl.partial."""
    counts: dict[str, int] = {}


def _drawn(folder: Path) -> Drawn:
    try:
        known = msgspec.json.decode((folder / "drawn.json").read_bytes(), type=Drawn)
        whole = (folder / "train.jsonl.partial").stat().st_size >= known.size
    except (FileNotFoundError, msgspec.DecodeError):
        return Drawn()
    return known if whole else Drawn()  # a power cut keeps names and loses contents


def _draw(bench: Bench, rows: list[Row], stop: list[int], seed: int) -> list[list[tuple[str, bool]]]:
    """`num_generations` answers (text, ended) of each row."""
    spec = bench.spec
    prompts = [render(bench.tokenizer, spec.prompting, row.prompt) for row in rows for _ in range(spec.num_generations)]
    drawn = generate(
        bench.model, bench.tokenizer, prompts, max_new_tokens=spec.max_completion_length,
        temperature=spec.temperature, seed=seed, batch_size=max(spec.batch_size, 64), stop=stop,
    )  # fmt: skip
    n = spec.num_generations
    return [[(d.text, d.ended) for d in drawn[i * n : (i + 1) * n]] for i in range(len(rows))]


def _kept(row: Row, texts: list[tuple[str, bool]], spec: TrainSpec, counts: Counter[str]) -> list[str]:
    """The different accepted answers of a prompt, the shortest first, at most `keep_a_prompt`."""
    right: set[str] = set()
    for text, ended in texts:
        if not ended:
            counts["never ended"] += 1
        elif not check(spec.verifier, text, row.answer):
            counts["wrong"] += 1
        elif text in right:
            counts["repeated"] += 1
        else:
            right.add(text)
    kept = sorted(right, key=len)[: spec.keep_a_prompt]
    counts["accepted"] += len(kept)
    counts["more than wanted of one prompt"] += len(right) - len(kept)
    return kept


def _out_of_time(spec: TrainSpec, began: float) -> bool:
    return spec.time_limit_s is not None and time.monotonic() - began > SAMPLING_SHARE * spec.time_limit_s


if __name__ == "__main__":
    sys.exit(by_hand("rejection", main))
