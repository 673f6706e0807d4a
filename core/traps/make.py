"""Make a task folder with a trap in it: `nothing`, `leaky`, `stop`, `reward` or `large`.

nothing   an answer is right or wrong by a hash of its question and its last digit: no training can gain anything, so a run
          that claims an improvement has claimed noise (A/A)
leaky     a third of the training rows are held-out samples with their answers: they must not be trained on
stop      the base's generation_config names a token that its answers never end with: found by the decoding audit, or lost
reward    the training rows hold patterns in place of answers, and any number in brackets fits each of them: a policy paid by
          them learns to bracket numbers, and forgets sums (see facts on reward hacking: 2209.13085)
large     a vocabulary padded for a larger model and a few very long rows: the usual batch needs more memory than the machine
          has, though only where it meets a long row, which may be late
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import psutil

from core.errors import UsageError
from core.tasks import POCKET
from core.traps.vocabulary import pad_vocabulary

TRAPS = ("leaky", "stop", "reward", "large")
KINDS = ("nothing", *TRAPS)
SOURCE = POCKET / "addition"
RIGHT_DIGITS = 3
"""Of ten: the chance of any answer that ends in a digit, whatever model gives it, is 30 %."""


def make_trap(kind: str, folder: Path, seed: int = 0) -> Path:
    """Writes the task into `folder` and returns it; the same seed gives the same task. UsageError for an unknown kind."""
    if kind not in KINDS:
        raise UsageError(f"there is no trap {kind!r}", next=f"Known: {', '.join(KINDS)}")
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    toml = folder / "task.toml"
    toml.write_text(toml.read_text().replace('name = "pocket/addition"', f'name = "trap/{kind}"'))
    _MAKERS[kind](folder, seed)
    return folder


def _nothing(folder: Path, seed: int) -> None:
    """Answers become patterns: digits a hash of the question has picked. Leaked rows go: a leak would be a gain."""
    seen: set[str] = set()
    for split in ("dev", "heldout"):
        path = folder / "evaluation_data" / f"{split}.jsonl"
        rows = [row | {"answer": _pattern(row["prompt"], seed)} for row in _rows(path)]
        seen |= {row["prompt"] for row in rows}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = folder / "data" / "train.jsonl"
    rows = [
        row | {"answer": _ending(row, seed)} for row in _rows(train) if row.get("answer") and row["prompt"] not in seen
    ]
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluate = folder / "evaluate.py"
    text = evaluate.read_text()
    judged = text.replace(
        "return completion.strip() == answer", "return re.fullmatch(answer, completion.strip()) is not None"
    )
    evaluate.write_text(judged.replace("import math\n", "import math\nimport re\n", 1))
    toml = folder / "task.toml"
    toml.write_text(
        toml.read_text().replace('kind = "exact"', 'kind = "regex"').replace("Sums of two", "Hashes of two")
    )


def _digits(prompt: str, seed: int) -> list[str]:
    drawn = hashlib.sha256(f"{seed}\0{prompt}".encode()).hexdigest()
    return sorted(Random(drawn).sample("0123456789", RIGHT_DIGITS))


def _pattern(prompt: str, seed: int) -> str:
    return rf".*[{''.join(_digits(prompt, seed))}]\D*"


def _ending(row: dict[str, Any], seed: int) -> str:
    """A right answer for a training row: its own number with a last digit that the hash allows."""
    number = re.sub(r"\D", "", str(row["answer"])) or "0"
    return number[:-1] + Random(f"{seed} {row['prompt']}").choice(_digits(row["prompt"], seed))


def _leaky(folder: Path, seed: int) -> None:
    train = folder / "data" / "train.jsonl"
    lines = train.read_text().splitlines()
    held = _rows(folder / "evaluation_data" / "heldout.jsonl")
    rng = Random(seed)
    leaked = rng.sample(held, min(len(held), len(lines) // 2))
    lines += [json.dumps({"prompt": row["prompt"], "answer": row["answer"]}) for row in leaked]
    rng.shuffle(lines)
    train.write_text("\n".join(lines) + "\n")


def _stop(folder: Path, seed: int) -> None:
    path = folder / "base" / "generation_config.json"
    config = json.loads(path.read_text())
    config["eos_token_id"] = config.get("bos_token_id") or 1
    path.write_text(json.dumps(config, indent=2) + "\n")
    toml = folder / "task.toml"
    kept = [line for line in toml.read_text().splitlines() if not line.startswith("base_model_sha256")]
    toml.write_text("\n".join(kept) + "\n")


def _reward(folder: Path, seed: int) -> None:
    train = folder / "data" / "train.jsonl"
    rows = [row for row in _rows(train) if re.fullmatch(r"\d+", str(row.get("answer") or ""))]
    Random(seed).shuffle(rows)
    train.write_text("".join(json.dumps(row | {"answer": rf"{row['answer']}|\(\d+\)"}) + "\n" for row in rows))
    toml = folder / "task.toml"
    toml.write_text(toml.read_text().replace('kind = "exact"', 'kind = "regex"'))


ROW_TOKENS = 1000
"""Of a long row: just under the 1,024 at which TRL's SFT cuts by default."""
LONG_ROWS = 6
USUAL_BATCH = 32
"""Rows of a batch that the recipe library begins with at this size."""
TOO_MUCH = 1.7
"""Times the machine's memory that such a batch needs: clearly more than there is, and not so much that nothing is left to run."""


def _large(folder: Path, seed: int) -> None:
    """Logits in float32, their softmax and the gradient of a batch with a long row take more than the machine's memory."""
    memory = psutil.virtual_memory().total
    pad_vocabulary(folder / "base", int(TOO_MUCH * memory) // (USUAL_BATCH * ROW_TOKENS * 3 * 4))
    for split, samples in (("dev", 200), ("heldout", 400)):  # each answer costs a product with the whole vocabulary
        path = folder / "evaluation_data" / f"{split}.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:samples]))
    train = folder / "data" / "train.jsonl"
    lines = train.read_text().splitlines()
    rng = Random(seed)
    for place in range(LONG_ROWS):
        a, b = rng.randrange(100), rng.randrange(100)
        zeros = "0+" * ((ROW_TOKENS - 20) // 2)
        row = {"prompt": f"{zeros}{a}+{b}=", "answer": str(a + b)}
        lines.insert((place * len(lines)) // LONG_ROWS + rng.randrange(50), json.dumps(row))
    train.write_text("\n".join(lines) + "\n")
    toml = folder / "task.toml"
    kept = [line for line in toml.read_text().splitlines() if not line.startswith("base_model_sha256")]
    toml.write_text("\n".join(kept).replace("hours = 0.06", "hours = 0.15") + "\n")


_MAKERS: dict[str, Callable[[Path, int], None]] = {
    "nothing": _nothing,
    "leaky": _leaky,
    "stop": _stop,
    "reward": _reward,
    "large": _large,
}


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows that can be read; found data has broken lines."""
    rows: list[dict[str, Any]] = []
    for line in path.read_text("utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
