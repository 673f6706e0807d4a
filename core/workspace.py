"""The workspace of a run by content: a snapshot is a manifest of digests, its files are blobs beside the log.

A file is read only when its size or time changed since the last look, so a step that touched nothing costs one walk over
the folder. Fork and undo bring a snapshot back. What is larger than `LARGEST` is named and not kept: models and data have
their own places in the run's folder.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

import msgspec

from store.blobs import BlobStore

LARGEST = 20 << 20
"""Bytes of one file that are kept at most."""

MOST_FILES = 5_000

SKIPPED = frozenset({"__pycache__", ".git", ".venv", "node_modules", ".ipynb_checkpoints"})

Manifest = dict[str, tuple[str, int]]
"""Path inside the workspace: (digest, permission bits)."""


class Snapshot(NamedTuple):
    digest: str
    manifest: Manifest
    changed: int
    """Files added, changed or removed since the snapshot before."""
    size: int
    skipped: list[str]


class Workspace:
    """Takes and restores snapshots of one folder. Not for two threads at once."""

    def __init__(self, root: Path, blobs: BlobStore, last: str = "") -> None:
        self.root = root
        self.blobs = blobs
        self.last = last
        """Digest of the last snapshot."""
        self._manifest: Manifest = self._load(last) if last and last in blobs else {}
        self._seen: dict[str, tuple[int, int, str]] = {}
        """Path: (size, mtime in ns, digest) when last read."""

    def save(self) -> Snapshot | None:
        """A snapshot, or None where nothing changed since the last one."""
        manifest: Manifest = {}
        size, skipped = 0, list[str]()
        seen: dict[str, tuple[int, int, str]] = {}
        for path, found in sorted(self._walk()):
            if found.st_size > LARGEST or len(manifest) >= MOST_FILES:
                skipped.append(path)
                continue
            known = self._seen.get(path)
            if known is not None and known[:2] == (found.st_size, found.st_mtime_ns):
                digest = known[2]
            else:
                try:
                    digest = self.blobs.put((self.root / path).read_bytes())
                except OSError:
                    continue  # gone since the walk
            seen[path] = (found.st_size, found.st_mtime_ns, digest)
            manifest[path] = (digest, stat.S_IMODE(found.st_mode))
            size += found.st_size
        self._seen = seen
        if manifest == self._manifest and (self.last or not manifest):
            return None
        changed = sum(manifest.get(p) != self._manifest.get(p) for p in manifest.keys() | self._manifest.keys())
        digest = self.blobs.put(msgspec.json.encode(manifest, order="sorted"))
        self._manifest, self.last = manifest, digest
        return Snapshot(digest, manifest, changed, size, skipped[:50])

    def restore(self, digest: str) -> int:
        """Make the folder what it was; returns how many files were written or removed. Skipped files stay."""
        wanted = self._load(digest) if digest else {}
        now = {path for path, found in self._walk() if found.st_size <= LARGEST}
        touched = 0
        for path in now - wanted.keys():
            (self.root / path).unlink(missing_ok=True)
            touched += 1
        for path, (content, mode) in wanted.items():
            target = self.root / path
            data = self.blobs.get(content)
            if path in now and target.read_bytes() == data:
                continue
            self._make_way(path)
            partial = target.with_name(f".{target.name}.restoring")
            partial.unlink(missing_ok=True)
            with partial.open("xb") as file:  # never through a link of that name
                file.write(data)
            partial.chmod(mode)
            partial.replace(target)
            touched += 1
        self._manifest, self.last, self._seen = wanted, digest, {}
        return touched

    def _make_way(self, path: str) -> None:
        """Folders above a file that is written again, and nothing else in its place. What stood there since may be a link to
        anywhere: it is taken away, never followed. Raises OSError where a folder that is in the way is not empty."""
        folder = self.root
        for part in Path(path).parts[:-1]:
            folder /= part
            if folder.is_symlink() or folder.is_file():
                folder.unlink()
            folder.mkdir(exist_ok=True)
        target = self.root / path
        if target.is_dir() and not target.is_symlink():
            for inside, _, _ in os.walk(target, topdown=False):
                os.rmdir(inside)

    def _load(self, digest: str) -> Manifest:
        return msgspec.json.decode(self.blobs.get(digest), type=Manifest)

    def _walk(self) -> list[tuple[str, os.stat_result]]:
        """Regular files below the root, by path; links are not followed and not kept."""
        found: list[tuple[str, os.stat_result]] = []
        stack = [(str(self.root), "")]
        while stack:
            folder, inside = stack.pop()
            try:
                entries = list(os.scandir(folder))
            except OSError:
                continue
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name not in SKIPPED:
                            stack.append((entry.path, f"{inside}{entry.name}/"))
                    elif entry.is_file(follow_symlinks=False):
                        found.append((inside + entry.name, entry.stat(follow_symlinks=False)))
                except OSError:
                    continue
        return found
