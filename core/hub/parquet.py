"""Many rows of a Hub data set: from the Parquet files that the Hub makes of every data set, not page by page.

The viewer gives 100 rows a request; a hundred thousand rows would be a thousand requests. The files are fetched by
huggingface_hub (resumed where a download broke off, kept in its cache), and DuckDB takes rows evenly out of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlencode, urlsplit

import duckdb
import msgspec

from core.data.staging import name, quote
from core.hub.hosts import endpoint, viewer
from core.hub.transfer import or_without_xet
from core.literature.errors import LiteratureError

REVISION = "refs/convert/parquet"
MOST_BYTES = 4_000_000_000
"""Of Parquet files for one data set; where they are larger, evenly spread ones of them are taken."""


class ParquetFile(msgspec.Struct):
    """One file of a split, as the viewer lists it."""

    config: str
    split: str
    url: str
    size: int

    @property
    def path(self) -> str:
        """In the repository, at `REVISION`."""
        return unquote(urlsplit(self.url).path.partition("/resolve/")[2].partition("/")[2])


class Listing(msgspec.Struct):
    parquet_files: list[ParquetFile]
    partial: bool = False
    """They hold the head of the data set only."""


class Taken(msgspec.Struct, frozen=True):
    """Rows written to a file."""

    rows: int
    whole: bool
    """Every row of the split."""
    without: tuple[str, ...] = ()
    """Columns of bytes (pictures, sound), which JSON cannot hold."""


def listing_address(dataset: str, config: str) -> str:
    return f"{viewer()}/parquet?{urlencode({'dataset': dataset, 'config': config})}"


def files_of(listing: Listing, config: str, split: str, share: float) -> list[ParquetFile]:
    """Evenly spread files of a split that hold `share` of its rows, as far as `MOST_BYTES` allows."""
    files = [f for f in listing.parquet_files if (f.config, f.split) == (config, split)]
    size = sum(f.size for f in files)
    share = min(share, MOST_BYTES / size) if size else share
    count = min(len(files), max(1, math.ceil(share * len(files)))) if files else 0
    return [files[i * len(files) // count] for i in range(count)]


def download(dataset: str, files: Sequence[ParquetFile]) -> list[Path]:
    """The files in the Hub's cache. Raises LiteratureError where one cannot be had."""
    from huggingface_hub import hf_hub_download  # pyright: ignore[reportUnknownVariableType]
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return [
            Path(
                or_without_xet(
                    lambda path=f.path: hf_hub_download(
                        dataset, path, repo_type="dataset", revision=REVISION, endpoint=endpoint()
                    )
                )
            )
            for f in files
        ]
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise LiteratureError(
            f"the Parquet files cannot be fetched: {error}", where=dataset, next="Try again later, or fewer rows."
        ) from error


def take(files: Sequence[Path], target: Path, rows: int, *, all_of_them: bool) -> Taken:
    """Write `rows` evenly spread rows of the files as JSON lines. `all_of_them`: the files are the whole split."""
    listed = "[" + ", ".join(quote(str(f)) for f in files) + "]"
    source = f"read_parquet({listed}, union_by_name=true)"
    with duckdb.connect() as connection:
        columns = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
        kept = [str(column) for column, kind, *_ in columns if "BLOB" not in str(kind)]
        total = int(connection.execute(f"SELECT count(*) FROM {source}").fetchall()[0][0])
        wanted = min(rows, total) if kept else 0
        if wanted:
            names = ", ".join(map(name, kept))
            # Row n is taken where n * wanted / total passes a whole number: exactly `wanted` rows, none of them twice.
            connection.execute(
                f"""COPY (SELECT {names} FROM (SELECT *, row_number() OVER () AS "place of row" FROM {source})
                WHERE "place of row" * {wanted} // {total} > ("place of row" - 1) * {wanted} // {total})
                TO {quote(str(target))} (FORMAT json)"""
            )
    gone = tuple(str(column) for column, *_ in columns if column not in kept)
    return Taken(wanted, all_of_them and wanted == total, gone)
