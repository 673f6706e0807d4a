"""The file that makes a job one job: whole or not there, and of two who write it only one does."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from core.compute.spec import JobStatus
from core.errors import JobError


def write_once(path: Path, data: bytes) -> None:
    """Write a file that must not be there yet. Raises FileExistsError where it is; a reader never sees half of it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    partial.write_bytes(data)
    try:
        os.link(partial, path)
    finally:
        partial.unlink()


def same_effect(found: JobStatus | None, folder: Path, error: FileExistsError) -> JobStatus:
    """What another submitter of the same effect has just started; the folder of another effect is refused."""
    if found is not None:
        return found
    raise JobError("the folder belongs to another job", where=str(folder), next="Use a new folder.") from error
