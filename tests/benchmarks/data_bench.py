"""A million rows through the inspection: wall clock, processor time and peak memory. Target: 60 s and 1 GB on 2 free
cores.

    python tests/benchmarks/data_bench.py [ROWS]

Rows: questions of 20 to 60 words, answers of 3 to 30, with planted duplicates and leaks from 750 evaluation samples.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from core.data.files import open_data
from core.data.inspect import inspect_data


def make(path: Path, rows: int) -> list[str]:
    """Write the rows; returns the evaluation's samples, every second of which leaked."""
    r = random.Random(0)
    words = ["".join(r.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(r.randint(2, 9))) for _ in range(20_000)]
    samples = [" ".join(r.choices(words, k=40)) for _ in range(750)]
    with path.open("w", encoding="utf-8") as out:
        for i in range(rows):
            prompt = (
                samples[i // 2000 % 750]
                if i % 2000 < 1
                else " ".join(r.choices(words, k=r.randint(20, 60))).capitalize() + "?"
            )
            row = {"id": i, "prompt": prompt, "answer": " ".join(r.choices(words, k=r.randint(3, 30)))}
            out.write((json.dumps(row) + "\n") * (1 + (i % 100 == 7)))
    return samples


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "big.jsonl"
        samples = make(path, rows)
        start, before = time.time(), time.process_time()
        with open_data(path) as data:
            opened = time.time() - start
            report = inspect_data(data, evaluation_texts=samples)
        seconds, cpu = time.time() - start, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{report.rows:,} rows: {seconds:.1f} s wall ({opened:.1f} s to open), {cpu:.1f} s of processor time, peak "
        f"{peak:.0f} MB"
    )
    print("\n".join(f"{c.name}: {c.text}" for c in report.concerns))


if __name__ == "__main__":
    main()
