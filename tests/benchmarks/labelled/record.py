"""Record the labelled runs: `python -m tests.benchmarks.labelled.record SEED...` (about five minutes a seed on one core).

Writes `logs/<seed>.jsonl.xz`, one run a line; with LABELLED_ONLY=name,name,... (and
LABELLED_SIZE=small) only those are recorded again, the others stay. The detectors' benchmark reads these files, so that it takes seconds.
"""

from __future__ import annotations

import json
import logging
import lzma
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
LOGS = Path(__file__).parent / "logs"


def main() -> None:
    import datasets
    import torch
    import transformers

    from tests.benchmarks.labelled.catalogue import plans
    from tests.benchmarks.labelled.train import run

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()
    transformers.logging.disable_progress_bar()
    bases = Path(os.environ.get("LABELLED_BASES", "/tmp/labelled-bases"))
    only = [name for name in os.environ.get("LABELLED_ONLY", "").split(",") if name]
    size = os.environ.get("LABELLED_SIZE", "")
    LOGS.mkdir(exist_ok=True)
    for seed in map(int, sys.argv[1:]):
        path = LOGS / f"{seed}.jsonl.xz"
        wanted = [p for p in plans(seed) if (not only or p.name in only) and size in ("", p.size)]
        again = {(p.method, p.name) for p in wanted}
        records = [r for r in read(path) if (r["method"], r["name"]) not in again]
        for plan in wanted:
            began = time.time()
            said = run(plan, bases)
            records.append(said)
            path.write_bytes(lzma.compress("".join(json.dumps(r) + "\n" for r in records).encode()))
            print(
                f"{seed} {plan.method}/{plan.name}/{plan.size} {time.time() - began:.1f}s {said['accuracy']} "
                f"{said['steps']}/{said['max_steps']} {said['tail'].strip().splitlines()[-1:]}", file=sys.stderr, flush=True,
            )  # fmt: skip


def read(path: Path) -> list[dict]:
    """The runs that a file holds."""
    return (
        [json.loads(line) for line in lzma.decompress(path.read_bytes()).decode().splitlines()] if path.exists() else []
    )


if __name__ == "__main__":
    main()
