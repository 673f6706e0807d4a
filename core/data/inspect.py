"""Look hard at data before training on it: one call, one report with a score per concern and rows to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import duckdb

from core.data import cleanliness, contamination, duplicates, languages, paraphrase, shapes, turns, unused, verifying
from core.data.files import Data, looked_at, open_data, stride
from core.data.flags import build
from core.data.schema import AnswerShape, Concern, Example, Inspection, Lengths, Roles, SampleRow, VerifierSpec
from core.data.text import clip
from core.errors import ToolError
from core.hub.licences import stated_in

SAMPLES = 8
LICENCES = 6
"""Different values of a licence column that are named."""
TOKENIZED = 20_000
"""Rows whose tokens are counted, evenly spread."""


def inspect(
    path: Path | str,
    *,
    tokenizer_json: Path | str | None = None,
    verifier: VerifierSpec | verifying.Check | None = None,
    evaluation_texts: Sequence[str] | None = None,
    limit: int | None = None,
    roles: Roles | None = None,
) -> Inspection:
    """Everything that can be said about data without a model.

    `tokenizer_json`: the base model's tokenizer, for lengths in tokens; `evaluation_texts`: the strings of the
    evaluation's
    samples (`contamination.evaluation_strings`), used by the checker alone; `limit`: look at the first rows only.
    Raises NotFound, ToolError or UsageError.
    """
    with open_data(path, limit=limit, roles=roles) as data:
        try:
            return inspect_data(
                data, tokenizer_json=tokenizer_json, verifier=verifier, evaluation_texts=evaluation_texts
            )
        except duckdb.Error as error:
            raise ToolError(
                f"The inspection stopped: {str(error).splitlines()[0][:200]}",
                where=str(path),
                next="Look at the first rows only (limit), or make room in the temporary folder.",
            ) from error


def inspect_data(
    data: Data,
    *,
    tokenizer_json: Path | str | None = None,
    verifier: VerifierSpec | verifying.Check | None = None,
    evaluation_texts: Sequence[str] | None = None,
) -> Inspection:
    """The same on data that is already open; the row-level findings stay in its table `flags`."""
    unchecked: list[str] = []
    embedder, left = None, 0
    found: list[Concern | None] = [_broken_lines(data), _encoding(data), _unknown(data), *_mixed_types(data)]
    found += [unused.columns(data), unused.kinds(data), unused.nested(data)]
    found += [check(data) for check in _CHECKS]
    spoken, concern = languages.mixed(data)
    found.append(concern)
    shape, shape_concerns = (
        shapes.shape(data)
        if data.roles.kind != "text"
        else (AnswerShape(name="text", share=1.0, checked=data.rows), [])
    )
    found += shape_concerns
    if verifier is None:
        unchecked.append("answers against a verifier: none was given")
    else:
        found.append(verifying.mismatches(data, verifier))
    if evaluation_texts is None:
        unchecked.append("contamination: no evaluation samples were given")
    else:
        checked = contamination.check_data(data, evaluation_texts)
        found.append(contamination.concern(checked))
        left = checked.uncompared
        unchecked += [contamination.uncompared(left)] if left else []
        embedder = paraphrase.find_embedder()
        if embedder is None:
            unchecked.append(paraphrase.MISSING)
        else:
            found.append(paraphrase.paraphrases(data, evaluation_texts, embedder))
    lengths = cleanliness.lengths(data) | _tokens(data, tokenizer_json, unchecked)
    concerns = sorted((c for c in found if c), key=lambda c: (-c.score, c.name))
    return Inspection(
        path=str(data.path), rows=data.rows, files=tuple(data.files), columns=tuple(data.columns), roles=data.roles,
        splits=_splits(data), lengths=lengths, languages=spoken, shape=shape, concerns=tuple(concerns),
        samples=_samples(data), licence=_licence(data), unchecked=tuple(unchecked), uncompared=left,
        sampled=_sampled(data, shape, lengths, verified=verifier is not None, embedded=embedder is not None),
    )  # fmt: skip


def _sampled(
    data: Data, shape: AnswerShape, lengths: Mapping[str, Lengths], *, verified: bool, embedded: bool
) -> tuple[str, ...]:
    """Which checks saw some of the rows only: what a sample does not hold they cannot have seen."""
    most = {"languages": languages.SAMPLE_ABOVE}
    most |= {"lengths in tokens": TOKENIZED} if any(v.unit == "tokens" for v in lengths.values()) else {}
    most |= {"answers against the verifier": verifying.SAMPLE} if verified else {}
    most |= {"paraphrases": paraphrase.ROWS} if embedded else {}
    looked = {"form of the answers": shape.checked}
    looked |= {what: looked_at(data.rows, stride(data.rows, n)) for what, n in most.items()}
    return tuple(f"{what}: {n:,} of {data.rows:,} rows, evenly spread" for what, n in looked.items() if n < data.rows)


_CHECKS: tuple[Callable[[Data], Concern | None], ...] = (
    cleanliness.empty, duplicates.repeated, duplicates.conflicting, duplicates.near, turns.broken, cleanliness.mojibake,
    cleanliness.hidden, cleanliness.personal, cleanliness.length_outliers, shapes.prompt_patterns,
)  # fmt: skip


def flagged(data: Data) -> dict[str, set[int]]:
    """Row numbers by concern, after `inspect_data`."""
    found: dict[str, set[int]] = {}
    for concern, n in data.all("SELECT DISTINCT concern, n FROM flags"):
        found.setdefault(concern, set()).add(int(n))
    return found


def _broken_lines(data: Data) -> Concern | None:
    count = sum(f.broken_lines for f in data.files)
    if not count:
        return None
    examples = tuple(
        Example(file=Path(f.path).name, line=line, text="not a record") for f in data.files for line in f.broken_at
    )
    return build(
        "broken_lines", "{n} lines ({share}) are no record and were left out", count, data.rows + count, examples[:5]
    )


def _encoding(data: Data) -> Concern | None:
    bad = [f for f in data.files if any("UTF" in note or "NUL" in note for note in f.notes)]
    if not bad:
        return None
    text = f"{len(bad)} files are not clean UTF-8: {'; '.join(sorted({n for f in bad for n in f.notes}))}"
    return build("encoding", text, sum(f.rows for f in bad), data.rows * 4)


def _unknown(data: Data) -> Concern | None:
    lost = sum(f.rows for f in data.files if "no column recognised" in f.notes)
    return build("unknown_columns", f"{{n}} rows: {data.roles.reason}", lost, data.rows) if lost else None


def _mixed_types(data: Data) -> list[Concern | None]:
    """Columns in which JSON values change type (numbers among texts); the rarer types count."""
    used = {*data.roles.prompt, data.roles.answer, data.roles.messages, data.roles.chosen, data.roles.rejected}
    found: list[Concern | None] = []
    for column, types in data.mixed.items():
        if column in used:
            listed = ", ".join(f"{t.lower()} {c}" for t, c in sorted(types.items(), key=lambda x: -x[1]))
            found.append(
                build(
                    "mixed_types",
                    f"column '{column}' mixes types: {listed}",
                    sum(types.values()) - max(types.values()),
                    sum(types.values()),
                )
            )
    return found


def _splits(data: Data) -> dict[str, int]:
    return {
        k: int(v)
        for k, v in data.all("SELECT coalesce(split, 'all'), count(*) FROM rows GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10")
    }


def _samples(data: Data) -> tuple[SampleRow, ...]:
    rows = data.all("SELECT n, prompt, answer FROM rows ORDER BY hash(n), n LIMIT ?", [SAMPLES])
    found: list[SampleRow] = []
    for n, prompt, answer in sorted(rows):
        file, line = data.place(n)
        found.append(SampleRow(file=file, line=line, prompt=clip(prompt or ""), answer=clip(answer or "")))
    return tuple(found)


def _licence(data: Data) -> str | None:
    """The values of a licence column, the most frequent first, else what the folder's README or LICENSE says."""
    column = data.all("SELECT licence FROM rows WHERE trim(licence) <> '' GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT ?", [LICENCES + 1])  # fmt: skip
    if column:
        named = ", ".join(clip(str(value), 60) for (value,) in column[:LICENCES])
        return f"{named}, others" if len(column) > LICENCES else named
    return stated_in(data.path if data.path.is_dir() else data.path.parent) or None


def _tokens(data: Data, tokenizer_json: Path | str | None, unchecked: list[str]) -> dict[str, Lengths]:
    """Lengths in tokens of the base model, on evenly spread rows."""
    if tokenizer_json is None:
        unchecked.append("lengths in tokens: no tokenizer was given")
        return {}
    from tokenizers import Tokenizer

    if not Path(tokenizer_json).is_file():
        raise ToolError("There is no tokenizer.json", where=str(tokenizer_json), next="Give the base model's own file.")
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    step = stride(data.rows, TOKENIZED)
    found: dict[str, Lengths] = {}
    for part in ("prompt", "answer"):
        texts = [
            t for (t,) in data.all(f"SELECT {part} FROM rows WHERE n % {step} = 0 AND {part} IS NOT NULL ORDER BY n")
        ]
        sizes = sorted(len(e.ids) for e in tokenizer.encode_batch(texts, add_special_tokens=False))
        if sizes:
            found[f"{part}_tokens"] = Lengths(
                unit="tokens", checked=len(sizes), min=sizes[0], p50=sizes[len(sizes) // 2],
                p95=sizes[int(0.95 * (len(sizes) - 1))],
                max=sizes[-1], mean=round(sum(sizes) / len(sizes), 1),
            )  # fmt: skip
    return found
