"""Scenarios -> rows -> verification -> deduplication -> decontamination -> a data set with its account.

Attempt number i is for the scenario that lacks most of its quota, so edge cases are met even where they often fail. Every
attempt is in the ledger before the next begins. When all quotas are met, the preparation that all data goes through takes
near duplicates and leaked rows out; those are withdrawn in the ledger and made anew, while tries are left.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from core.data.contamination import uncompared
from core.data.preparation import Dropped, Prepared
from core.data.prepare import PrepareOptions, prepare
from core.data.synthesis.diversity import diversity
from core.data.synthesis.ledger import Attempt, Ledger
from core.data.synthesis.plan import Scenario, Source, Spent, Synthesis, SynthesisSpec, Unfit, check_spec
from core.data.text import row_id
from core.errors import Refused

ROUNDS = 4
"""Preparations at most: rows made anew for withdrawn ones are looked at again."""


def synthesize(
    spec: SynthesisSpec,
    source: Source,
    folder: Path,
    *,
    evaluation_texts: Sequence[str] | None = None,
    verified: Sequence[str] = (),
    reserve_usd: float = 0.0,
    on_attempt: Callable[[Ledger], None] | None = None,
    by: str = "",
) -> Synthesis:
    """Make the rows into `folder` (train.jsonl, dropped.jsonl, card.json, synthesis.json, attempts.jsonl); resumes there.

    `reserve_usd`: what one more attempt may cost, kept below `spec.max_usd`. `on_attempt` is called after each attempt and
    may raise to stop; what was made stays. Raises UsageError, Refused (nothing was kept, the budget is used), ToolError.
    """
    check_spec(spec)
    folder.mkdir(parents=True, exist_ok=True)
    notes: list[str] = []
    with Ledger(folder, spec, source.name) as ledger:
        for a in ledger.kept:
            if hasattr(source, "remember"):
                source.remember(a.scenario, a.prompt)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        prepared: Prepared | None = None
        stopped = ""
        for _ in range(ROUNDS):
            stopped = _generate(spec, source, ledger, reserve_usd, on_attempt, by)
            if not ledger.kept:
                raise Refused(
                    f"No row was kept of {len(ledger.attempts)} attempts ({stopped or 'see the reasons'})", where=str(folder),
                    next=f"Dropped: {_reasons(ledger)}. Look at attempts.jsonl, correct the source or raise the budget",
                )  # fmt: skip
            prepared, withdrawn = _prepare(spec, ledger, folder, evaluation_texts)
            if not withdrawn or stopped:
                break
        assert prepared is not None
        notes += [stopped] if stopped else []
        notes += _shortfalls(spec, ledger)
        if evaluation_texts is None:
            notes.append("not checked against evaluation samples: none were given")
        made = _account(spec, source.name, ledger, folder, prepared, verified, evaluation_texts is not None, notes)
    _write(folder / "synthesis.json", made)
    return made


def _generate(
    spec: SynthesisSpec,
    source: Source,
    ledger: Ledger,
    reserve_usd: float,
    on_attempt: Callable[[Ledger], None] | None,
    by: str,
) -> str:
    """Attempts until every quota is met or given up. Why it stopped before; empty where it did not."""
    seen = {row_id(a.prompt) for a in ledger.kept}
    while (scenario := _neediest(spec, ledger)) is not None:
        if spec.max_usd is not None and ledger.spent().usd + reserve_usd > spec.max_usd:
            return f"stopped before ${spec.max_usd:.2f} were exceeded; resumes with a larger budget"
        ledger.add(_attempt(source, scenario, len(ledger.attempts), seen, by))
        if on_attempt is not None:
            on_attempt(ledger)
    return ""


def _neediest(spec: SynthesisSpec, ledger: Ledger) -> Scenario | None:
    """The scenario with the smallest share of its quota; one that used its tries is given up."""
    counts = {c.name: c for c in ledger.counts(spec)}
    open_ = [
        s for s in spec.scenarios if counts[s.name].kept < s.quota and counts[s.name].attempts < spec.tries * s.quota
    ]
    return min(open_, key=lambda s: counts[s.name].kept / s.quota, default=None)


def _attempt(source: Source, scenario: Scenario, i: int, seen: set[str], by: str) -> Attempt:
    spent = Spent()
    attempt = Attempt(i=i, scenario=scenario.name, spent=spent, by=by)
    try:
        draft = source.draft(i, scenario, spent)
        attempt.prompt, attempt.answer = draft
        if not draft.prompt.strip() or not draft.answer.strip():
            raise Unfit("empty")
        if row_id(draft.prompt) in seen:  # before the verification, which costs
            raise Unfit("repeated_prompt")
        source.verify(draft, scenario, spent)
        seen.add(row_id(draft.prompt))
    except Unfit as unfit:
        attempt.dropped, attempt.note = unfit.reason, unfit.note
    return attempt


def _prepare(spec: SynthesisSpec, ledger: Ledger, folder: Path, texts: Sequence[str] | None) -> tuple[Prepared, int]:
    """Prepare what was kept, one file a scenario; withdraw in the ledger what that drops. (result, rows withdrawn)"""
    raw, out = folder / "raw", folder / "prepared"
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir()
    order: dict[str, list[int]] = {s.name: [] for s in spec.scenarios}
    for a in ledger.kept:
        order[a.scenario].append(a.i)
    files: list[Path] = []
    for name, attempts in order.items():
        if attempts:
            path = raw / f"{name}.jsonl"
            rows = (
                msgspec.json.encode({"prompt": ledger.attempts[i].prompt, "answer": ledger.attempts[i].answer})
                for i in attempts
            )
            path.write_bytes(b"".join(row + b"\n" for row in rows))
            files.append(path)
    options = PrepareOptions(
        dev_rows=0, drop_near_duplicates=spec.near_duplicates, drop_contaminated=texts is not None, seed=spec.seed,
        conflicts="keep", splits=("train", "dev", "test", "all"), drop_broken_turns=False,
        weights={f"{s.name}.jsonl": float(s.upsample) for s in spec.scenarios if s.upsample > 1 and order[s.name]},
    )  # fmt: skip
    try:
        prepared = prepare(files, out, options=options, evaluation_texts=texts)
    finally:
        shutil.rmtree(raw, ignore_errors=True)
    withdrawn = [msgspec.json.decode(line, type=Dropped) for line in (out / "dropped.jsonl").read_bytes().splitlines()]
    for row in withdrawn:
        ledger.withdraw(order[row.file.removesuffix(".jsonl")][row.line - 1], row.reason)
    for name in ("train.jsonl", "dropped.jsonl", "card.json"):
        os.replace(out / name, folder / name)
    shutil.rmtree(out)
    return prepared, len(withdrawn)


def _account(
    spec: SynthesisSpec, source: str, ledger: Ledger, folder: Path, prepared: Prepared, verified: Sequence[str],
    decontaminated: bool, notes: Sequence[str],
) -> Synthesis:  # fmt: skip
    kept = ledger.kept
    copies = {s.name: s.upsample for s in spec.scenarios}
    rows = {s.name: copies[s.name] * sum(a.scenario == s.name for a in kept) for s in spec.scenarios}
    return Synthesis(
        folder=str(folder), source=source, attempts=len(ledger.attempts), kept=len(kept), rows=prepared.train,
        dropped=_reasons(ledger), scenarios=ledger.counts(spec, rows),
        diversity=diversity([a.prompt for a in kept], [a.answer for a in kept]), spent=ledger.spent(), digest=prepared.digest,
        verified=tuple(verified), decontaminated=decontaminated, uncompared=prepared.uncompared,
        notes=(*notes, *([uncompared(prepared.uncompared)] if prepared.uncompared else [])),
    )  # fmt: skip


def _reasons(ledger: Ledger) -> dict[str, int]:
    found: dict[str, int] = {}
    for a in ledger.attempts:
        if a.dropped:
            found[a.dropped] = found.get(a.dropped, 0) + 1
    return dict(sorted(found.items()))


def _shortfalls(spec: SynthesisSpec, ledger: Ledger) -> list[str]:
    return [
        f"{c.name}: {c.kept} of {c.quota} rows after {c.attempts} attempts"
        for c in ledger.counts(spec)
        if c.kept < c.quota
    ]


def _write(path: Path, made: Synthesis) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
    os.replace(partial, path)
