"""One recorded log of every released version of the program: a real run on `pocket/addition`, its paths made neutral.

That of 0.1.0 was recorded a little before trainers rounded their clocks (epoch, step and data time, memory); the same
rounding was applied to it afterwards.


`record.py` makes the log of the present version; those of released versions are never made again.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

HERE = Path(__file__).parent


def versions() -> list[str]:
    """The released versions."""
    return sorted(path.name.removesuffix(".tar.xz") for path in HERE.glob("*.tar.xz"))


def unpacked(folder: Path, version: str = "") -> Path:
    """The run folder of a version (default: the latest), unpacked below `folder`."""
    version = version or versions()[-1]
    target = folder / f"golden-{version}"
    if not target.exists():
        with tarfile.open(HERE / f"{version}.tar.xz") as archive:
            archive.extractall(target, filter="data")
    return target
