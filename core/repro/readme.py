"""The pack's README.md."""

from __future__ import annotations

from collections.abc import Sequence

from core.describe import percent
from core.repro.lineage import Lineage, Trained


def readme(line: Lineage, notes: Sequence[str]) -> str:
    """What the pack holds, how to run it, and what to expect."""
    created, heldout = line.created, line.heldout
    trainings = [s for s in line.steps if isinstance(s, Trained)]
    result = "The run measured no held-out score; the rerun compares the model alone."
    if heldout is not None:
        low, high = heldout.interval
        result = (
            f"The run's held-out score was {percent(heldout.score)} (95 % interval {percent(low)} to {percent(high)}, "
            f"n = {heldout.samples})."
        )
    jobs = [f"- {s.job}: {s.title}, {s.steps or '?'} train steps [{s.seq}]" for s in trainings]
    rows = {s.data: s.data_sha256 for s in trainings}
    data = [
        f"- `{d.name}`: {d.rows} rows" + (f", SHA-256 of train.jsonl {rows[d.name]}" if rows[d.name] else "")
        for d in line.datasets
    ]
    return "\n".join(
        [
            f"# {created.goal or created.run}",
            "",
            f"Makes the final model of run `{created.run}` again and measures it. Numbers in brackets name events in its log.",
            "",
            "```",
            "python -m venv .venv && .venv/bin/pip install -r requirements.txt",
            ".venv/bin/python rerun.py",
            "```",
            "",
            f"{result} `rerun.py` ends with 0 where the new score is not significantly different, with 1 where it is, and says",
            "whether the weights are the same to the byte. `rerun.py --check` only compares digests and versions.",
            "",
            "## Trainings",
            "",
            *(jobs or ["None: the final model is the base with another decoding or template."]),
            "",
            "## Data",
            "",
            *(data or ["None was prepared."]),
            "",
            "## Contents",
            "",
            "- `plan.json`: every step with all its settings and seeds; `files.json`: SHA-256 of every file here",
            "- `base/` (where it is not too large), `data/`, `task/`: model, prepared rows, and the evaluation as it was when the run began",
            "- `code/`: the program; `requirements.txt`: exact versions (those the run recorded; others from where this was packed)",
            *(["", "## Notes", "", *(f"- {note}" for note in notes)] if notes else []),
            "",
        ]
    )
