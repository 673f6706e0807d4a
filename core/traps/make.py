"""Make a task folder with a trap in it: `nothing`, `leaky` or `stop`.

nothing   an answer is right or wrong by a hash of its question and its last digit: no training can gain anything, so a run
          that claims an improvement has claimed noise (A/A)
leaky     a third of the training rows are held-out samples with their answers: they must not be trained on
stop      the base's generation_config names a token that its answers never end with: found by the decoding audit, or lost
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from random import Random
from typing import Any

from core.errors import UsageError
from core.tasks import POCKET

KINDS = ("nothing", "leaky", "stop")
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
    {"nothing": _nothing, "leaky": _leaky, "stop": _stop}[kind](folder, seed)
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


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows that can be read; found data has broken lines."""
    rows: list[dict[str, Any]] = []
    for line in path.read_text("utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
