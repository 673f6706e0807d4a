"""Removing runs, and what a finished run leaves that no event speaks of."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from core.errors import Refused
from core.home import living_host, runs_dir
from core.session import open_source
from core.state import STATE_VERSION
from store.blobs import BlobStore, blobs_named
from store.event import Event

_REMOVED = ".removed-"
"""A run is renamed to this before its files go, so that one removed by half is no run."""
_PATH_IN_RUN = re.compile(rb"jobs/[^\"\\]+")


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """Something that no event needs."""

    run: str
    kind: str
    """blob, checkpoint, snapshot or removed run."""
    path: str
    bytes: int


def remove_run(folder: Path) -> int:
    """Delete a run for good. Returns the bytes that are free again. Raises Refused while its host or a job of it lives."""
    _refuse_if_alive(folder)
    size = _size(folder)
    doomed = folder.with_name(_REMOVED + folder.name)
    try:
        folder.rename(doomed)
        shutil.rmtree(doomed)
    except OSError as error:
        raise Refused(f"The run cannot be removed: {error.strerror or error}", where=str(folder)) from error
    return size


def _refuse_if_alive(folder: Path) -> None:
    host = living_host(folder)
    if host is not None:
        raise Refused(
            f"Run {folder.name} is running (host {host.pid})",
            where=str(folder),
            next=f"Stop it first: intern stop {folder.name}",
        )
    from core.compute.local import LocalCompute

    compute = LocalCompute(folder / "jobs")
    for job in sorted(path.name for path in (folder / "jobs").glob("*") if path.is_dir()):
        if compute.inspect(job).state in ("queued", "running"):
            raise Refused(
                f"{job} of run {folder.name} is still running though its host is gone",
                where=str(folder),
                next=f"Take the run up and stop it: intern resume {folder.name}, then intern stop {folder.name}",
            )


def leftovers(folder: Path) -> list[Leftover]:
    """What of a run no event needs. Nothing, while a host lives: it may be about to name it."""
    if living_host(folder) is not None:
        return []
    blobs, paths = _named(folder)
    found = [*_blobs(folder, blobs), *_checkpoints(folder, paths), *_snapshots(folder)]
    return [Leftover(run=folder.name, kind=kind, path=str(path), bytes=_size(path)) for kind, path in found]


def removed_by_half() -> list[Leftover]:
    """Runs whose removal was cut short."""
    found = sorted(runs_dir().glob(f"{_REMOVED}*"))
    return [Leftover(run=p.name.removeprefix(_REMOVED), kind="removed run", path=str(p), bytes=_size(p)) for p in found]


def discard(leftover: Leftover) -> None:
    """Delete it."""
    path = Path(leftover.path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _named(folder: Path) -> tuple[set[str], list[str]]:
    """Blobs and paths (as they stand below the run's folder) that events name. Raises what a damaged log raises."""
    blobs: set[str] = set()
    paths: set[str] = set()
    source = open_source(folder)
    try:
        for event in source.events():
            blobs.update(blobs_named(event))
            paths.update(_paths(event))
    finally:
        source.close()
    return blobs, sorted(paths)


def _paths(event: Event) -> list[str]:
    # Relative: the run may have been moved since, and events name the place where it was.
    return [match.decode(errors="replace") for match in _PATH_IN_RUN.findall(event.payload)]


def _blobs(folder: Path, named: set[str]) -> Iterator[tuple[str, Path]]:
    store = BlobStore(folder)
    for digest in store:
        if digest not in named:
            yield "blob", store.path(digest)
    for path in store.root.glob("*/.new-*"):
        yield "blob", path


def _checkpoints(folder: Path, named: list[str]) -> Iterator[tuple[str, Path]]:
    """Checkpoints of trainers, and whole models of jobs, that no event names, nor anything inside them."""
    for path in sorted([*folder.glob("jobs/*/checkpoints/checkpoint-*"), *folder.glob("jobs/*/model")]):
        inside = path.relative_to(folder).as_posix()
        if not any(name == inside or name.startswith(inside + "/") for name in named):
            yield "checkpoint", path


def _snapshots(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted((folder / "snapshots").glob("*")):
        if path.name != f"state.v{STATE_VERSION}":
            yield "snapshot", path


def _size(path: Path) -> int:
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum(os.lstat(os.path.join(root, name)).st_size for root, _, names in os.walk(path) for name in names)
