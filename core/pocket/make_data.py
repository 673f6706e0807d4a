"""Makes the samples and the flawed training data of the pocket tasks: `python -m core.pocket.make_data addition`.

Development and held-out samples are set apart by the hash of the prompt, so no seed can put one into training by
accident. Then flaws are put in on purpose, of the kinds that found data has: duplicates, labels that contradict each
other, wrong labels, held-out rows that leaked in, and rows that are broken. Deterministic.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random

from core.pocket.worlds import NAMES, Item, World, prompt_id, split_of, world

HERE = Path(__file__).parent
HELDOUT, DEV, TRAIN = 1200, 600, 2600
SHARE_HELDOUT, SHARE_DEV = 14, 7


def questions(w: World, split: str, count: int, seed: int) -> list[Item]:
    """`count` different questions of one split, in the order of their hash."""
    rng, found = Random(seed), dict[str, Item]()
    for _ in range(count * 1000):
        item = w.question(rng)
        if split_of(item.prompt, SHARE_DEV, SHARE_HELDOUT) == split:
            found.setdefault(prompt_id(item.prompt), item)
        if len(found) == count:
            break
    return [found[key] for key in sorted(found)]


def flawed_lines(w: World, clean: list[Item], heldout: list[Item], seed: int) -> list[str]:
    """The lines of data/train.jsonl: the clean rows with flaws mixed in, shuffled."""
    rng = Random(seed)
    rows = [item if rng.random() > 0.10 else Item(item.prompt, w.wrong_label(rng, item)) for item in clean]
    again = rng.sample(clean, len(clean) // 8)
    rows += [item for item in again[::2]]  # duplicates
    rows += [Item(item.prompt, w.wrong_label(rng, item)) for item in again[1::2]]  # contradictions
    rows += rng.sample(heldout, 60)  # leaks
    lines = [json.dumps({"prompt": r.prompt, "answer": r.answer}) for r in rows]
    lines += [json.dumps({"prompt": r.prompt, "answer": None}) for r in rng.sample(clean, 12)]
    lines += [json.dumps({"prompt": r.prompt, "answer": ""}) for r in rng.sample(clean, 10)]
    lines += [json.dumps({"prompt": r.prompt}) for r in rng.sample(clean, 6)]
    lines += [json.dumps({"prompt": r.prompt, "answer": r.answer})[:-7] for r in rng.sample(clean, 8)]  # cut off
    rng.shuffle(lines)
    return lines


def make(name: str) -> None:
    """Writes evaluation_data/{dev,heldout}.jsonl and data/train.jsonl of one task."""
    w, folder = world(name), HERE / name
    heldout, dev = questions(w, "heldout", HELDOUT, 1), questions(w, "dev", DEV, 2)
    for split, items in (("heldout", heldout), ("dev", dev)):
        rows = [{"id": prompt_id(i.prompt), "prompt": i.prompt, "answer": i.answer} for i in items]
        _write(folder / "evaluation_data" / f"{split}.jsonl", [json.dumps(row) for row in rows])
    train = questions(w, "train", TRAIN, 3)
    _write(folder / "data" / "train.jsonl", flawed_lines(w, train, heldout, 4))


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", nargs="?", choices=NAMES)
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    for name in NAMES if args.all else [args.task or parser.error("name a task or say --all")]:
        make(name)


if __name__ == "__main__":
    main()
