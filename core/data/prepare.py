"""From data as found to data to train on: filtered, deduplicated, split by prompt, every dropped row accounted for.

The original is only read. The result is a folder with `train.jsonl`, `dev.jsonl`, `dropped.jsonl` and `card.json`;
the same
inputs and options give the same bytes. Train and development rows are parted by the hash of the normalised prompt, so
no
prompt is in both, whatever its position or how often it repeats.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from core.data import contamination, duplicates, shapes
from core.data.files import Data, open_data
from core.data.flags import flag
from core.data.schema import Roles
from core.data.text import clip, row_id
from core.errors import Refused, ToolError, UsageError

SMALL_DEV, MINIMUM_DEV = 200, 20
"""Under 200 rows an accuracy is uncertain by over 7 points (95 %): marked. Under 20 it says nothing: refused."""
CARD_VERSION = 1


class PrepareOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to keep and how to write it."""

    format: Literal["answers", "messages", "preference", "prompts"] = "answers"
    dedup: bool = True
    """One row for each (prompt, answer)."""
    conflicts: Literal["majority", "drop", "keep"] = "majority"
    """Prompts with several short answers: keep the clear majority's rows, drop all, or keep all. No majority: all
    dropped."""
    drop_contaminated: bool = True
    drop_shape_mismatch: bool = False
    drop_near_duplicates: bool = False
    drop_empty: bool = True
    drop_broken_turns: bool = True
    strip_control: bool = True
    """Take invisible and control characters out of the texts."""
    max_tokens: int | None = None
    """Prompt and answer together; needs `tokenizer_json`."""
    tokenizer_json: str | None = None
    dev_rows: int | None = None
    """Rows of the development split; before `dev_fraction`. 0: none."""
    dev_fraction: float = 0.1
    weights: dict[str, float] = {}
    """Copies of a source's rows in train, by file name: 2.0 twice, 0.5 every second (by hash)."""
    upsample: dict[str, int] = {}
    """Copies of rows whose prompt or answer contains this text."""
    exclude: tuple[str, ...] = ()
    """Row ids to leave out, each an id or `id:answer` for one of several answers (a label audit's findings)."""
    splits: tuple[str, ...] = ("train", "dev", "all")
    """Splits of the source to take from; a source's test split is not training data."""
    seed: int = 0
    roles: Roles | None = None


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """One row that was left out."""

    reason: str
    file: str
    line: int
    id: str
    prompt: str
    answer: str
    note: str = ""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """The account of a preparation. read = sum of dropped + unique train rows + dev rows."""

    folder: str
    format: str
    read: int
    train: int
    """Rows written to train.jsonl, copies by weight and upsampling included."""
    dev: int
    unique_train: int
    dropped: dict[str, int]
    changed: dict[str, int]
    """Rows altered but kept, by reason."""
    digest: str
    """SHA-256 over train.jsonl and dev.jsonl."""
    notes: tuple[str, ...] = ()


class _Row(msgspec.Struct):
    n: int
    source: int
    line: int
    id: str
    prompt: str
    answer: str
    turns: list[dict[str, Any]] | None
    rejected: str | None
    system: str | None
    copies: int = 1


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
        reasons = _reasons(data, options, texts)
        before = _digests(data)
        read, names = data.rows, [Path(f.path).name for f in data.files]
        with (staging / "dropped.jsonl").open("wb") as stream:
            account = _Account(stream, names)
            rows, changed = _keep(data, options, reasons, account, notes)
            dev, train = _split(rows, options, notes, account) if rows else ([], [])
        sources = [_source(data, i, before) for i in range(len(data.files))]
        roles, broken = data.roles, sum(f.broken_lines for f in data.files)
    dropped = dict(sorted(account.counts.items()))
    if not train:
        raise Refused("No row is left to train on", where=str(out), next=f"Dropped: {dropped}. Loosen the options.")
    _weigh(train, names, options)
    _write(staging / "train.jsonl", (r for row in train for r in [row] * row.copies), options.format)
    _write(staging / "dev.jsonl", dev, options.format)
    digest = _digest([staging / "train.jsonl", staging / "dev.jsonl"])
    prepared = Prepared(
        folder=str(out), format=options.format, read=read, train=sum(r.copies for r in train), dev=len(dev),
        unique_train=len(train), dropped=dropped, changed=changed, digest=digest, notes=tuple(notes),
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


def _reasons(data: Data, options: PrepareOptions, texts: Sequence[str] | None) -> dict[int, tuple[str, str]]:
    """Why a row goes: row -> (reason, note). The first reason in this order counts."""
    listed = ", ".join("'" + s.replace("'", "''") + "'" for s in options.splits)
    flag(data, "other_split", f"SELECT n, split AS note FROM rows WHERE coalesce(split, 'all') NOT IN ({listed})")
    order = ["other_split"]
    if options.drop_broken_turns:
        from core.data import turns

        turns.broken(data)
        order.append("broken_turns")
    if options.drop_contaminated and texts:
        contamination.check_data(data, texts)
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
    return found


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


class _Account:
    """Writes each dropped row as it falls, and counts by reason."""

    def __init__(self, stream: IO[bytes], names: Sequence[str]) -> None:
        self.counts: dict[str, int] = {}
        self._stream = stream
        self._names = names

    def drop(self, row: _Row, reason: str, note: str = "") -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        record = Dropped(
            reason=reason, file=self._names[row.source], line=row.line, id=row.id, prompt=clip(row.prompt, 200),
            answer=clip(row.answer, 200), note=note,
        )  # fmt: skip
        self._stream.write(msgspec.json.encode(record) + b"\n")


def _keep(
    data: Data, options: PrepareOptions, reasons: Mapping[int, tuple[str, str]], account: _Account, notes: list[str]
) -> tuple[list[_Row], dict[str, int]]:
    """The rows that stay, and the counts of changed ones."""
    tokens = _token_counter(options)
    excluded = set(options.exclude)
    seen: set[tuple[int, int, str]] = set()
    kept: list[_Row] = []
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


def _rows(data: Data, options: PrepareOptions, changed: dict[str, int]) -> Iterator[tuple[_Row, tuple[int, int, str]]]:
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
            row = _Row(
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


def _own_reason(row: _Row, options: PrepareOptions, excluded: set[str], tokens: Any) -> tuple[str, str]:
    if row.id in excluded or f"{row.id}:{row.answer}" in excluded:
        return "excluded", "by its id"
    if options.drop_empty and not _complete(row, options.format):
        return "empty", ""
    if options.format == "messages" and not row.turns and not row.prompt:
        return "wrong_format", "no turns"
    if tokens is not None and (count := tokens(row.prompt, row.answer)) > (options.max_tokens or 0):
        return "too_long", f"{count} tokens"
    return "", ""


def _complete(row: _Row, form: str) -> bool:
    if form == "prompts":
        return bool(row.prompt.strip())
    if form == "preference":
        return bool(
            row.prompt.strip() and row.answer.strip() and (row.rejected or "").strip() and row.answer != row.rejected
        )
    return bool(row.answer.strip() and (row.prompt.strip() or row.turns is not None))


def _token_counter(options: PrepareOptions) -> Any:
    if options.max_tokens is None or options.tokenizer_json is None:
        return None
    from tokenizers import Tokenizer

    if not Path(options.tokenizer_json).is_file():
        raise ToolError(
            "There is no tokenizer.json", where=options.tokenizer_json, next="Give the base model's own file."
        )
    tokenizer = Tokenizer.from_file(options.tokenizer_json)
    return lambda prompt, answer: sum(len(tokenizer.encode(t, add_special_tokens=False).ids) for t in (prompt, answer))


def _split(
    rows: list[_Row], options: PrepareOptions, notes: list[str], account: _Account
) -> tuple[list[_Row], list[_Row]]:
    """(dev, train) by the salted hash of the row id: whole prompts, one row of each in dev."""
    ids = sorted({r.id for r in rows}, key=lambda i: _rank(i, options.seed))
    wanted = options.dev_rows if options.dev_rows is not None else round(len(ids) * options.dev_fraction)
    if wanted and (wanted < MINIMUM_DEV or wanted * 2 > len(ids)):
        why = f"{wanted} of {len(ids)} different prompts"
        raise Refused(
            f"The development split would hold {why}", where="dev_rows, dev_fraction",
            next=f"Take at least {MINIMUM_DEV} and at most half of the prompts, or dev_rows=0 for none.",
        )  # fmt: skip
    if wanted == 0:
        notes.append("no development split: nothing to choose a checkpoint by")
    elif wanted < SMALL_DEV:
        notes.append(
            f"small development split: {wanted} rows, an accuracy is uncertain by +-{98 / math.sqrt(wanted):.0f} points"
        )
    chosen = set(ids[:wanted])
    dev: dict[str, _Row] = {}
    for row in rows:
        if row.id in chosen and dev.setdefault(row.id, row) is not row:
            account.drop(row, "repeats_dev_prompt")
    train = [r for r in rows if r.id not in chosen]
    return list(dev.values()), train


def _rank(identity: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{identity}".encode()).hexdigest()


def _weigh(train: list[_Row], names: Sequence[str], options: PrepareOptions) -> None:
    """Set the copies of each train row; a fractional copy is given to the rows whose hash says so."""
    if not options.weights and not options.upsample:
        return
    for row in train:
        weight = options.weights.get(names[row.source], 1.0)
        for text, times in options.upsample.items():
            if text in row.prompt or text in row.answer:
                weight *= times
        chance = int(_rank(f"{row.id}:{row.answer}:copies", options.seed)[:8], 16) / 2**32
        row.copies = int(weight) + (chance < weight - int(weight))


def _write(path: Path, rows: Iterable[_Row], form: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as out:
        for row in rows:
            out.write(json.dumps(_record(row, form), ensure_ascii=False) + "\n")


def _record(row: _Row, form: str) -> dict[str, Any]:
    record: dict[str, Any] = {"id": row.id, "prompt": row.prompt, "answer": row.answer}
    if form == "messages":
        turns = row.turns or [{"role": "user", "content": row.prompt}, {"role": "assistant", "content": row.answer}]
        system = [{"role": "system", "content": row.system}] if row.system and turns[0]["role"] != "system" else []
        record["messages"] = system + turns
    if form == "preference":
        record |= {"chosen": row.answer, "rejected": row.rejected}
    return record
