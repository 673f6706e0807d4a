"""From data as found to data to train on: filtered, deduplicated, split by prompt, every dropped row accounted for.

The original is only read. The result is a folder with `train.jsonl`, `dev.jsonl`, `dropped.jsonl` and `card.json`;
the same
inputs and options give the same bytes. Train and development rows are parted by the hash of the normalised prompt, so
no
prompt is in both, whatever its position or how often it repeats.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from core.data import contamination, duplicates, shapes
from core.data.files import Data, open_data
from core.data.flags import flag
from core.data.preparation import Account, Dropped, Prepared, PrepareOptions, Row
from core.data.schema import Roles
from core.data.splitting import split, weigh, write
from core.data.text import row_id
from core.errors import Refused, ToolError, UsageError

__all__ = ["Dropped", "PrepareOptions", "Prepared", "prepare", "strip_hidden"]

CARD_VERSION = 1


def prepare(
    paths: Sequence[Path | str],
    out_folder: Path | str,
    *,
    options: PrepareOptions,
    evaluation_texts: Sequence[str] | None = None,
) -> Prepared:
    """Prepare `paths` (files or folders) into `out_folder`, which appears whole or not at all.

    Raises UsageError (options that contradict each other), Refused (a development split too small to mean anything, or
    nothing left to train on), NotFound, ToolError.
    """
    _check(options, paths)
    out = Path(out_folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}_", dir=out.parent))
    try:
        prepared = _prepare(paths, staging, out, options, evaluation_texts)
        if out.exists():
            shutil.rmtree(out)
        os.replace(staging, out)
    except duckdb.Error as error:
        shutil.rmtree(staging, ignore_errors=True)
        reason = str(error).splitlines()[0][:200]
        raise ToolError(
            f"The preparation stopped: {reason}", where=str(out), next="Make room, or prepare less."
        ) from error
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return prepared


def _check(options: PrepareOptions, paths: Sequence[Path | str]) -> None:
    if not paths:
        raise UsageError("No data to prepare was named", next="Give at least one file or folder.")
    if not 0 <= options.dev_fraction < 1 or (options.dev_rows or 0) < 0:
        raise UsageError(
            "The development split must be a fraction in [0, 1) or a number of rows", where=f"{options.dev_fraction}"
        )
    if options.max_tokens is not None and options.tokenizer_json is None:
        raise UsageError("max_tokens needs the base model's tokenizer.json", next="Give tokenizer_json.")
    bad = [
        k
        for k, w in [*options.weights.items(), *options.upsample.items()]
        if not 0 <= w <= 1000 or not math.isfinite(w)
    ]
    if bad:
        raise UsageError(f"The weight of '{bad[0]}' must lie in 0 to 1000", next="Correct the weight.")


def _prepare(
    paths: Sequence[Path | str], staging: Path, out: Path, options: PrepareOptions, texts: Sequence[str] | None
) -> Prepared:
    notes: list[str] = (
        []
        if texts is not None or not options.drop_contaminated
        else ["not checked against evaluation samples: none were given"]
    )
    with _open_all(paths, options.roles) as data:
        reasons, left = _reasons(data, options, texts)
        notes += [contamination.uncompared(left)] if left else []
        before = _digests(data)
        read, files = data.rows, [Path(f.path) for f in data.files]
        with (staging / "dropped.jsonl").open("wb") as stream:
            account = Account(stream, [f.name for f in files])
            rows, changed = _keep(data, options, reasons, account, notes)
            dev, train = split(rows, options, notes, account) if rows else ([], [])
        sources = [_source(data, i, before) for i in range(len(data.files))]
        roles, broken = data.roles, sum(f.broken_lines for f in data.files)
    dropped = dict(sorted(account.counts.items()))
    if not train:
        raise Refused("No row is left to train on", where=str(out), next=f"Dropped: {dropped}. Loosen the options.")
    weigh(train, files, options)
    write(staging / "train.jsonl", (r for row in train for r in [row] * row.copies), options.format)
    write(staging / "dev.jsonl", dev, options.format)
    digest = _digest([staging / "train.jsonl", staging / "dev.jsonl"])
    prepared = Prepared(
        folder=str(out), format=options.format, read=read, train=sum(r.copies for r in train), dev=len(dev),
        unique_train=len(train), dropped=dropped, changed=changed, digest=digest, notes=tuple(notes), uncompared=left,
    )  # fmt: skip
    card = {"version": CARD_VERSION, "sources": sources, "broken_lines": broken, "roles": roles, "options": options}
    card |= {
        "result": msgspec.structs.replace(prepared, folder=""),
        "evaluation_samples": None if texts is None else len(texts),
    }
    (staging / "card.json").write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=1) + b"\n")
    return prepared


def _open_all(paths: Sequence[Path | str], roles: Roles | None) -> Data:
    """One table over all paths. Links in a scratch folder would hide the names: files are added one path after
    another."""
    first, *rest = paths
    data = open_data(first, roles=roles)
    try:
        for path in rest:
            data.add(Path(path), roles)
    except BaseException:
        data.close()
        raise
    return data


def _digests(data: Data) -> list[str]:
    return [_digest([Path(f.path)]) for f in data.files]


def _digest(paths: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                total.update(chunk)
    return total.hexdigest()


def _source(data: Data, index: int, digests: Sequence[str]) -> dict[str, Any]:
    file = data.files[index]
    return {
        "path": file.path,
        "rows": file.rows,
        "broken_lines": file.broken_lines,
        "notes": list(file.notes),
        "sha256": digests[index],
    }


def _reasons(
    data: Data, options: PrepareOptions, texts: Sequence[str] | None
) -> tuple[dict[int, tuple[str, str]], int]:
    """Why a row goes: row -> (reason, note), the first reason in this order; and the pairs that were not compared."""
    left = 0
    listed = ", ".join("'" + s.replace("'", "''") + "'" for s in options.splits)
    flag(data, "other_split", f"SELECT n, split AS note FROM rows WHERE coalesce(split, 'all') NOT IN ({listed})")
    order = ["other_split"]
    if options.drop_broken_turns:
        from core.data import turns

        turns.broken(data)
        order.append("broken_turns")
    if options.drop_contaminated and texts:
        left = contamination.check_data(data, texts).uncompared
        order.append("contaminated")
    if options.drop_shape_mismatch:
        shapes.shape(data)
        order.append("answer_shape")
    if options.conflicts != "keep":
        _conflicts(data, options.conflicts)
        order.append("conflicting_labels")
    if options.drop_near_duplicates:
        duplicates.repeated(data)
        duplicates.near(data)
        order.append("near_duplicates")
    found: dict[int, tuple[str, str]] = {}
    for concern in reversed(order):
        query = "SELECT n, min(note) FROM flags WHERE concern = ? GROUP BY n"
        found.update({int(n): (concern, str(note or "")) for n, note in data.all(query, [concern])})
    return found, left


def _conflicts(data: Data, policy: str) -> None:
    """Flag the rows of contradicting prompts that go: all, or those outside a clear majority.

    Rows that go for another reason have no vote: a leaked or ill-formed row says nothing about the label.
    """
    if not duplicates.short_answers(data):
        return
    voters = "trim(prompt) <> '' AND trim(answer) <> '' AND n NOT IN (SELECT n FROM flags)"
    kept = "c = top AND tops = 1" if policy == "majority" else "false"
    flag(
        data,
        "conflicting_labels",
        f"""SELECT n, c || ' of ' || total || ' say this' AS note FROM rows JOIN (SELECT *, sum(c) OVER w AS total,
        max(c) OVER w AS top, count(*) OVER w AS answers, count(*) FILTER (WHERE c = m) OVER w AS tops
        FROM (SELECT pkey, akey, count(*) AS c, max(count(*)) OVER (PARTITION BY pkey) AS m FROM rows WHERE {voters}
        GROUP BY pkey, akey) WINDOW w AS (PARTITION BY pkey)) USING (pkey, akey)
        WHERE answers > 1 AND NOT ({kept}) AND {voters}""",
    )


def _keep(
    data: Data, options: PrepareOptions, reasons: Mapping[int, tuple[str, str]], account: Account, notes: list[str]
) -> tuple[list[Row], dict[str, int]]:
    """The rows that stay, and the counts of changed ones."""
    tokens = _token_counter(options)
    excluded = set(options.exclude)
    seen: set[tuple[int, int, str]] = set()
    kept: list[Row] = []
    changed: dict[str, int] = {}
    met: set[str] = set()
    for row, key in _rows(data, options, changed):
        met.update(excluded & {row.id, f"{row.id}:{row.answer}"})
        reason, note = reasons.get(row.n) or _own_reason(row, options, excluded, tokens)
        if not reason and options.dedup:
            reason = "repeated_row" if key in seen else ""
            seen.add(key)
        if reason:
            account.drop(row, reason, note)
        else:
            kept.append(row)
    if excluded - met:
        notes.append(f"{len(excluded - met)} of {len(excluded)} excluded ids are not in the data")
    return kept, changed


def _rows(data: Data, options: PrepareOptions, changed: dict[str, int]) -> Iterator[tuple[Row, tuple[int, int, str]]]:
    cursor = data.con.cursor()
    cursor.execute(
        "SELECT n, source, line, prompt, coalesce(answer, ''), turns, rejected, system, coalesce(pkey, 0), "
        "coalesce(akey, 0) FROM rows ORDER BY n"
    )
    while batch := cursor.fetchmany(5000):
        for n, source, line, prompt, answer, turns, rejected, system, pkey, akey in batch:
            texts = [prompt or "", answer, rejected or ""]
            clean = [strip_hidden(t) for t in texts] if options.strip_control else texts
            if clean != texts:
                changed["strip_control"] = changed.get("strip_control", 0) + 1
            if turns and options.strip_control:
                turns = [{**t, "content": strip_hidden(t["content"] or "")} for t in turns]
            name = clean[0] if data.roles.kind != "text" else clean[1]
            row = Row(
                n,
                source,
                line,
                row_id(name),
                clean[0],
                clean[1],
                turns,
                clean[2] if rejected is not None else None,
                system,
            )
            yield row, (int(pkey), int(akey), clean[2])


def strip_hidden(text: str) -> str:
    """The text without characters a reader cannot see (line ends and tabs stay)."""
    from core.data.cleanliness import HIDDEN_PATTERN

    return HIDDEN_PATTERN.sub("", text) if not text.isascii() or not text.isprintable() else text


def _own_reason(
    row: Row, options: PrepareOptions, excluded: set[str], tokens: Callable[[str, str], int] | None
) -> tuple[str, str]:
    if row.id in excluded or f"{row.id}:{row.answer}" in excluded:
        return "excluded", "by its id"
    if options.drop_empty and not _complete(row, options.format):
        return "empty", ""
    if options.format == "messages" and not row.turns and not row.prompt:
        return "wrong_format", "no turns"
    if tokens is not None and (count := tokens(row.prompt, row.answer)) > (options.max_tokens or 0):
        return "too_long", f"{count} tokens"
    return "", ""


def _complete(row: Row, form: str) -> bool:
    if form == "prompts":
        return bool(row.prompt.strip())
    if form == "preference":
        return bool(
            row.prompt.strip() and row.answer.strip() and (row.rejected or "").strip() and row.answer != row.rejected
        )
    return bool(row.answer.strip() and (row.prompt.strip() or row.turns is not None))


def _token_counter(options: PrepareOptions) -> Callable[[str, str], int] | None:
    if options.max_tokens is None or options.tokenizer_json is None:
        return None
    from tokenizers import Tokenizer

    if not Path(options.tokenizer_json).is_file():
        raise ToolError(
            "There is no tokenizer.json", where=options.tokenizer_json, next="Give the base model's own file."
        )
    tokenizer = Tokenizer.from_file(options.tokenizer_json)

    def count(prompt: str, answer: str) -> int:
        return sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in (prompt, answer))

    return count
