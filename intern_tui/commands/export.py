"""`intern export R --to parquet|sts|cast|html|report|repro|otel`: a run as files for elsewhere, or as traces for a collector."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from core.errors import Refused, UsageError
from core.home import find_run


def export(a: argparse.Namespace) -> int:
    """Write the export and print the path of every file made."""
    folder = find_run(a.run)
    if a.to == "parquet":
        from intern_tui.commands.read import export as parquet

        return parquet(a)
    if a.send:
        return _send(a, folder)
    out = Path(a.out or folder.name + SUFFIX[a.to]).absolute()
    if out.is_dir() and a.to != "repro":
        raise UsageError(f"--out names a folder: {out}", next=f"Name a file, such as {folder.name}{SUFFIX[a.to]}")
    try:
        print(WRITERS[a.to](folder, out))
    except OSError as error:
        raise Refused(
            f"The export cannot be written: {error.strerror or error}",
            where=str(out),
            next="Name another place with --out",
        ) from error
    return 0


def _cast(folder: Path, out: Path) -> Path:
    from intern_tui.export.cast import write_cast

    return write_cast(folder, out)


def _page(folder: Path, out: Path) -> Path:
    from core.session import open_source
    from intern_tui.export.page import write_page

    source = open_source(folder)
    try:
        return write_page(source, out)
    finally:
        source.close()


def _report(folder: Path, out: Path) -> Path:
    from core.report import render_report
    from core.session import state_at

    out.write_text(render_report(state_at(folder)), encoding="utf-8")
    return out


def _otel(folder: Path, out: Path) -> Path:
    from core.session import open_source
    from core.tracing.otlp import captures_content, write
    from core.tracing.spans import spans

    source = open_source(folder)
    try:
        return write(folder.name, spans(source.events(), captures_content(os.environ)), out, os.environ)
    finally:
        source.close()


def _send(a: argparse.Namespace, folder: Path) -> int:
    """Only when asked in so many words: a collector's address in the environment alone sends nothing."""
    if a.to != "otel" or a.out:
        raise UsageError(
            "--send belongs to --to otel and takes no --out", next=f"intern export {a.run} --to otel --send"
        )
    from core.session import open_source
    from core.tracing.otlp import captures_content, send
    from core.tracing.spans import spans

    source = open_source(folder)
    try:
        found = spans(source.events(), captures_content(os.environ))
    finally:
        source.close()
    address, taken = send(folder.name, found, os.environ)
    print(f"{taken} of {len(found)} spans taken by {address}")
    return 0 if taken == len(found) else 1


def _repro(folder: Path, out: Path) -> Path:
    from core.errors import NotFound
    from core.repro.lineage import lineage
    from core.repro.pack import write_pack
    from core.session import open_source

    source = open_source(folder)
    try:
        line = lineage(source.events(1))
    finally:
        source.close()
    if line is None:
        raise NotFound(
            "The run promoted no model: there is nothing to make again",
            where=str(folder),
            next="intern report says how far it came",
        )
    return write_pack(folder, line, out)


def _trace(folder: Path, out: Path) -> Path:
    from core.session import open_source
    from core.trace import write_trace
    from store.blobs import BlobStore

    source = open_source(folder)
    try:
        return write_trace(source.events(1), out, BlobStore(folder))
    finally:
        source.close()


SUFFIX = {
    "cast": ".cast",
    "html": ".html",
    "report": ".md",
    "repro": "-repro",
    "sts": ".sts.jsonl",
    "otel": ".otlp.jsonl",
}
WRITERS = {"cast": _cast, "html": _page, "report": _report, "repro": _repro, "sts": _trace, "otel": _otel}
