"""Bringing a finished model to its place in one step: at every instant the target is the old folder or the new one.

A run may be killed at any moment and whatever then is `final_model` counts, so nothing is ever copied into it.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import sys
from pathlib import Path

from core.errors import InternError, NotFound

_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100


def swap_directory(new: str | Path, target: str | Path) -> bool:
    """Put the folder `new` at `target`; the old content is deleted afterwards. Both on one file system.

    Returns True if the exchange was atomic (Linux renameat2). The fall-back has an instant without a target, with the
    old folder beside it as `<target>.old`; `recover_swap` undoes a crash in that instant.
    """
    source, place = Path(new), Path(target)
    if not source.is_dir():
        raise NotFound("nothing to promote", where=str(source), next="Export the model first.")
    _sync(source)
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        os.rename(source, place)
        atomic = True
    elif _exchange(source, place):
        shutil.rmtree(source)
        atomic = True
    else:
        old = place.with_name(place.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        os.rename(place, old)
        os.rename(source, place)
        shutil.rmtree(old)
        atomic = False
    _sync_entry(place.parent)
    return atomic


def recover_swap(target: str | Path) -> bool:
    """After a crash: put `<target>.old` back if the target is missing. True if something was put back."""
    place = Path(target)
    old = place.with_name(place.name + ".old")
    if place.exists() or not old.is_dir():
        return False
    os.rename(old, place)
    return True


def tree_digest(path: str | Path) -> str:
    """SHA-256 over names and contents of all files below `path` (hex). A link is an error: it may point anywhere."""
    root = Path(path)
    if not root.is_dir():
        raise NotFound("no such folder", where=str(root), next="Check the path.")
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*")):
        name = file.relative_to(root).as_posix()
        if file.is_symlink():
            raise InternError(f"{name} is a link", where=str(root), next="Copy the file it points to.")
        if file.is_file():
            digest.update(f"{len(name.encode())}:{name}:{file.stat().st_size}:".encode())
            digest.update(_file_digest(file))
    return digest.hexdigest()


def _file_digest(file: Path) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


def _exchange(a: Path, b: Path) -> bool:
    """Exchange two paths atomically; False where the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    done = libc.renameat2(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE)
    if done == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(code, os.strerror(code), str(b))


def _sync(folder: Path) -> None:
    """The content must be on the disk before the name points to it."""
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    _sync_entry(folder)


def _sync_entry(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
