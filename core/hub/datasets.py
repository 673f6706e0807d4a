"""Data sets on the Hub: search with reasons, and a sample of the rows of one.

Gated, missing and script-only data sets get a clear answer; nothing is put in their place, and no code from the Hub runs.
Texts are as their authors wrote them: the caller marks them untrusted.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlencode

import msgspec

from core.errors import ToolError
from core.hub import parquet
from core.hub.hosts import authorization, endpoint, viewer
from core.hub.licences import is_open, stated_by_hub, warning
from core.literature.errors import LiteratureError, PaperMissing, SourceBroken, SourceRefused
from core.literature.ids import arxiv_id
from core.literature.rank import Index, words
from core.literature.web import Web

T = TypeVar("T")
PAGE = 100
"""Rows the viewer gives at once."""
MANY = 1000
"""Rows above which the Parquet files of a data set are fetched rather than pages of the viewer."""
_HELD_BACK = re.compile(r"test|valid|dev|eval", re.IGNORECASE)
"""Names of splits that are kept from training."""
_DATA = (".parquet", ".jsonl", ".json", ".csv", ".tsv", ".arrow", ".txt", ".zip", ".gz", ".zst")


SIZES = (
    "n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B", "10B<n<100B",
    "100B<n<1T", "n>1T",
)  # fmt: skip
"""The Hub's size categories, in rows. It answers any other with an empty list."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a search is for. Empty fields do not filter."""

    query: str = ""
    task: str = ""
    """A task category of the Hub (`question-answering`, `text-generation`)."""
    tags: tuple[str, ...] = ()
    paper: str = ""
    """arXiv id: data sets whose card names it."""
    licence: str = ""
    size: str = ""
    """A size category of the Hub (`10K<n<100K`), one of SIZES."""
    downloads: int = 0
    """At least so many, of the last 30 days."""
    limit: int = 10


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One data set, and why it stands where it stands."""

    id: str
    downloads: int
    likes: int
    licence: str
    gated: bool
    score: float
    reasons: tuple[str, ...]
    description: str = ""


class _File(msgspec.Struct):
    rfilename: str


class _Item(msgspec.Struct):
    id: str
    downloads: int | None = 0
    likes: int | None = 0
    gated: bool | str | None = False
    disabled: bool | None = False
    tags: list[str] = []
    description: str | None = ""
    siblings: list[_File] | None = None


class _Info(msgspec.Struct):
    id: str
    gated: bool | str | None = False
    siblings: list[_File] = []
    tags: list[str] = []
    cardData: Any = None
    """The front matter of its README, whatever its author wrote there."""

    @property
    def licence(self) -> str:
        card: object = self.cardData
        return stated_by_hub(self.tags, cast("dict[str, object]", card) if isinstance(card, dict) else {})


class _Split(msgspec.Struct):
    config: str
    split: str


class _Splits(msgspec.Struct):
    splits: list[_Split]


class _Row(msgspec.Struct):
    row: dict[str, Any]
    truncated_cells: list[str] = []


class _Rows(msgspec.Struct):
    rows: list[_Row]
    num_rows_total: int = 0
    partial: bool = False
    """The viewer holds a part of the data set only."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Rows fetched into a file."""

    dataset: str
    config: str
    split: str
    path: str
    rows: int
    total: int
    complete: bool
    """Every row of the split; else evenly spread pages of it."""
    left_out: int = 0
    """Rows that the viewer gives with cells cut off: half a text is none to train on."""
    without: tuple[str, ...] = ()
    """Columns that were left out: bytes, such as pictures."""
    others: tuple[str, ...] = ()
    """What else there is, as config/split; the first twenty."""
    licence: str = ""
    """As its repository states it; empty: it states none."""


def search(web: Web, wanted: Wanted) -> list[Found]:
    """Data sets that fit, best first. Raises LiteratureError when the Hub cannot be asked, ToolError for a size that it does
    not know, UsageError for a paper that is no arXiv id: it would answer both with nothing, as if there were none."""
    if wanted.size and wanted.size not in SIZES:
        raise ToolError(f"{wanted.size[:40]!r} is no size category of the Hub", next=f"Known: {', '.join(SIZES)}")
    paper = arxiv_id(wanted.paper) if wanted.paper else ""
    filters = [*wanted.tags]
    for prefix, value in (("task_categories", wanted.task), ("arxiv", paper), ("license", wanted.licence), ("size_categories", wanted.size)):  # fmt: skip
        filters += [f"{prefix}:{value}"] if value else []
    limit = max(1, min(wanted.limit, 100))
    asked = [("full", "true"), ("sort", "downloads"), ("limit", str(max(30, 3 * limit)))]
    asked += [("search", wanted.query)] if wanted.query else []
    address = f"{endpoint()}/api/datasets?{urlencode([*asked, *(('filter', f) for f in filters)])}"
    items = [i for i in _get(web, address, list[_Item]) if not i.disabled and (i.downloads or 0) >= wanted.downloads]
    texts = Index([words(f"{i.id} {i.id} {i.description or ''} {' '.join(i.tags)}") for i in items]).scores(
        wanted.query
    )
    ranked = [_judge(item, text, wanted) for item, text in zip(items, texts, strict=True)]
    return sorted(ranked, key=lambda f: (-f.score, f.id))[:limit]


def _judge(item: _Item, text: float, wanted: Wanted) -> Found:
    licence, gated = stated_by_hub(item.tags), bool(item.gated)
    downloads, likes = item.downloads or 0, item.likes or 0
    reasons = [f"{downloads:,} downloads, {likes:,} likes"]
    score = text + math.log10(1 + downloads) + 0.5 * math.log10(1 + likes)
    if text:
        reasons.insert(0, f"matches the words ({text:.1f})")
    if wanted.paper:
        reasons.append(f"its card names arXiv {wanted.paper}")
    if is_open(licence):
        score += 1
        reasons.append(f"open licence {licence}")
    else:
        reasons.append(f"licence {licence or 'not stated'}: {warning(licence)}")
    if gated:
        score -= 2
        reasons.append("gated: its terms must be accepted first")
    if _only_script([f.rfilename for f in item.siblings or ()]):
        score -= 10  # below whatever can be had
        reasons.append("only a loading script: its rows cannot be fetched, no code from the Hub is run")
    return Found(
        id=item.id, downloads=downloads, likes=likes, licence=licence, gated=gated, score=round(score, 3),
        reasons=tuple(reasons), description=" ".join((item.description or "").split())[:300],
    )  # fmt: skip


def _usable(web: Web, dataset: str) -> _Info:
    """What the Hub tells of it. Raises ToolError for a data set that is missing, or only a loading script.

    Whether a gated one is open to this token is not known yet: the Hub tells everybody about it, and gives its rows to some.
    """
    if not all(
        part and part.replace("-", "").replace("_", "").replace(".", "").isalnum() for part in dataset.split("/")
    ):
        raise ToolError(f"{dataset[:80]!r} is no data set's name", next="Names look like owner/name")
    try:
        info = _get(web, f"{endpoint()}/api/datasets/{quote(dataset)}", _Info)
    except (PaperMissing, SourceRefused) as error:
        # who asks without a token is told 401 of what does not exist, too
        if isinstance(error, PaperMissing) or error.code == "RepoNotFound":
            raise ToolError(f"The Hub has no data set {dataset}, or it is private", where=error.where, next="Search again, or set HF_TOKEN if it is yours") from error  # fmt: skip
        raise _refused(dataset, error) from error
    names = [f.rfilename for f in info.siblings]
    if _only_script(names):
        raise ToolError(f"{dataset} is only a loading script; code from the Hub is not run", next="Look for a copy in Parquet and name it yourself; none is put in its place")  # fmt: skip
    return info


def _only_script(names: Sequence[str]) -> bool:
    return any(n.endswith(".py") for n in names) and not any(n.lower().endswith(_DATA) for n in names)


def model_licence(web: Web, model: str) -> str:
    """The licence a model's repository states; empty for none. Raises LiteratureError where the Hub cannot be asked."""
    return _get(web, f"{endpoint()}/api/models/{quote(model)}", _Info).licence


def _refused(dataset: str, error: LiteratureError, gated: bool | str | None = False) -> ToolError:
    """Why rows are not given. `gated`: as the Hub lists it; `manual` where its authors decide on each request."""
    closed = error.code in ("GatedRepo", "ExternalAuthenticatedError", "ExternalUnauthenticatedError")
    if not closed and not any(status in error.what for status in ("401", "403")):
        return ToolError(str(error))
    page = f"{endpoint()}/datasets/{dataset}"
    what = f"{dataset} is gated" if gated or error.code == "GatedRepo" else f"{dataset} is gated or private"
    if os.environ.get("HF_TOKEN"):
        grant = "ask its authors for access" if gated == "manual" else "accept its terms"
        return ToolError(
            f"{what}, and the account of HF_TOKEN has no access to it", where=error.where,
            next=f"A person can {grant} at {page} with that account (a fine-grained token also has to be allowed to read gated "
            "repositories), or choose another data set and say so; nothing is put in its place",
        )  # fmt: skip
    return ToolError(
        f"{what}, and no token is set", where=error.where,
        next=f"Accept its terms at {page} and set HF_TOKEN, or choose another data set and say so; nothing is put in its place",
    )  # fmt: skip


def fetch(web: Web, dataset: str, target: Path, *, split: str = "", config: str = "", rows: int = 1000) -> Sample:
    """Up to `rows` rows of one split as JSON lines, spread evenly over the split; appears whole or not at all. Few are read in
    pages; many are taken from the data set's Parquet files where the Hub has made such, else at most `MANY` from pages.

    Raises ToolError (see `_usable`; a gated one without access; a split that does not exist or has no rows, and a choice that is not ours, name
    those there are) and LiteratureError.
    """
    info = _usable(web, dataset)
    licence = info.licence
    try:
        listed = _get(web, f"{viewer()}/splits?{urlencode({'dataset': dataset})}", _Splits).splits
    except SourceRefused as error:
        raise _refused(dataset, error, info.gated) from error
    except PaperMissing as error:
        if error.code == "ExternalAuthenticatedError":  # the viewer's word for a token without access
            raise _refused(dataset, error, info.gated) from error
        raise ToolError(f"The Hub's viewer shows no rows of {dataset}: it holds none, or in a form the viewer does not read", where=error.where, next="Look at its page, or choose another; none is put in its place") from error  # fmt: skip
    chosen = _choose(dataset, listed, config, split)
    asked = {"dataset": dataset, "config": chosen.config, "split": chosen.split}
    first = _page(web, asked, 0, min(PAGE, rows))
    total = max(first.num_rows_total, len(first.rows))
    others = tuple(f"{s.config}/{s.split}" for s in listed if s != chosen)[:20]
    if min(rows, total) > MANY:
        many = _from_files(web, dataset, chosen, target, rows, total)
        if many is not None and many.rows:
            return Sample(
                dataset=dataset, config=chosen.config, split=chosen.split, path=str(target), rows=many.rows, total=total,
                complete=many.whole, licence=licence, without=many.without, others=others,
            )  # fmt: skip
        rows = MANY
    given = list(first.rows)
    for offset in _offsets(total, rows, len(given)):
        given += _page(web, asked, offset, min(PAGE, rows - len(given), total - offset)).rows
    taken = [r.row for r in given if not r.truncated_cells]
    if not taken:
        why = "every row has cells that the viewer cuts off" if given else "no rows"
        raise ToolError(f"{dataset} {chosen.config}/{chosen.split}: {why}", next=f"It also has: {', '.join(others) or 'nothing else'}")  # fmt: skip
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    partial.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in taken), encoding="utf-8")
    partial.replace(target)
    return Sample(
        dataset=dataset, config=chosen.config, split=chosen.split, path=str(target), rows=len(taken), total=total,
        complete=len(taken) >= total and not first.partial, licence=licence, left_out=len(given) - len(taken), others=others,
    )  # fmt: skip


def _from_files(web: Web, dataset: str, chosen: _Split, target: Path, rows: int, total: int) -> parquet.Taken | None:
    """Rows from the Parquet files; None where the Hub has none of this data set, or does not give them now."""
    try:
        listing = _get(web, parquet.listing_address(dataset, chosen.config), parquet.Listing)
        files = parquet.files_of(listing, chosen.config, chosen.split, rows / total)
        paths = parquet.download(dataset, files)
    except LiteratureError:
        return None
    if not paths:
        return None
    known = sum((f.config, f.split) == (chosen.config, chosen.split) for f in listing.parquet_files)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    made = parquet.take(paths, partial, rows, all_of_them=len(files) == known and not listing.partial)
    if made.rows:
        partial.replace(target)
    return made


def _choose(dataset: str, listed: Sequence[_Split], config: str, split: str) -> _Split:
    """The split asked for; `train` of the first configuration where none was. A test split is never taken unasked."""
    names = ", ".join(f"{s.config}/{s.split}" for s in listed[:20]) or "none"
    fitting = [s for s in listed if (not config or s.config == config) and (not split or s.split == split)]
    if not fitting:
        raise ToolError(f"{dataset} has no split {config or '*'}/{split or '*'}", next=f"It has: {names}")
    train = next((s for s in fitting if s.split == "train"), None)
    if train is not None or split or (len(fitting) == 1 and not _HELD_BACK.search(fitting[0].split)):
        return train or fitting[0]
    raise ToolError(f"{dataset} has no split called train", next=f"Say which to take. It has: {names}")


def _offsets(total: int, rows: int, have: int) -> Sequence[int]:
    """Where the pages after the first begin: back to back if everything is wanted, else evenly spread."""
    pages = math.ceil((min(rows, total) - have) / PAGE) if have else 0
    if pages <= 0:
        return []
    return [have + i * max(PAGE, (total - have) // pages) for i in range(pages)]


def _page(web: Web, asked: Mapping[str, str], offset: int, length: int) -> _Rows:
    return _get(web, f"{viewer()}/rows?{urlencode({**asked, 'offset': offset, 'length': length})}", _Rows)


def _get(web: Web, address: str, kind: type[T]) -> T:
    reply = web.get(address, headers=authorization(address))
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except msgspec.DecodeError as error:
        raise SourceBroken(f"not the Hub's format: {error}", where=reply.url, next="Try again later.") from error
