"""What travels to a rented machine and back: one archive each way, paths of this machine turned into paths of that one."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import msgspec

from core.compute.launcher import ROOT

STAYS = frozenset(
    {
        "launch.json",
        "submitted.json",
        "handle.json",
        "submit.lock",
        "control",
        "cancel",
        "quote.json",
        "mirror.lock",
        "over",
        "now",
    }
)
"""Files of the job's folder that are the host's own."""

STREAMED = ("log.txt", "metrics.jsonl")


def remote_root(tag: str) -> str:
    return f"/tmp/intern-{tag}"


def pack(folder: Path, tag: str, told: dict[str, Any], *, code: bool) -> bytes:
    """The archive for a job: its folder, every file or folder its spec.json names, our code where it runs that, `told`."""
    inputs: dict[str, str] = {}
    spec_path = folder / "spec.json"
    spec = msgspec.json.decode(spec_path.read_bytes()) if spec_path.exists() else None
    moved = _move(spec, str(folder), remote_root(tag), inputs)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        _add(tar, "told.json", msgspec.json.encode(told))
        for path in sorted(folder.iterdir()):
            if path.name not in STAYS and path.name != "spec.json":
                tar.add(path, f"job/{path.name}")
        if spec is not None:
            _add(tar, "job/spec.json", msgspec.json.encode(moved))
        for local, name in inputs.items():
            tar.add(Path(local).resolve(), name)
        if code:
            for package in ("core", "intern_tui", "store"):
                tar.add(ROOT / package, f"code/{package}", filter=_code_only)
    return buffer.getvalue()


def unpack(data: bytes, folder: Path, root: str) -> None:
    """What came back into the job's folder; streamed files only grow by what is missing; exit.json last."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        members = [m for m in tar.getmembers() if m.name not in (*STREAMED, "exit.json")]
        tar.extractall(folder, members=members, filter="data")
        for name in STREAMED:
            file = tar.extractfile(name) if name in tar.getnames() else None
            if file is not None:
                complete(folder / name, file.read().replace(f"{root}/job".encode(), str(folder).encode()))
        end = tar.extractfile("exit.json")
        assert end is not None
        partial = folder / "exit.json.partial"
        partial.write_bytes(end.read())
        partial.rename(folder / "exit.json")


def complete(path: Path, whole: bytes) -> None:
    """Append the lines of `whole` that are not here yet. Both are the same stream: one is the beginning of the other."""
    have = path.read_bytes().count(b"\n") if path.exists() else 0
    missing = whole.splitlines(keepends=True)[have:]
    with path.open("ab") as file:
        file.writelines(missing)


def _move(value: Any, folder: str, root: str, inputs: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {k: _move(v, folder, root, inputs) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list):
        return [_move(v, folder, root, inputs) for v in value]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(value, str) or not value.startswith("/"):
        return value
    if value == folder or value.startswith(folder + "/"):
        return f"{root}/job{value[len(folder) :]}"
    if not Path(value).exists():
        return value
    name = inputs.setdefault(value, f"inputs/{len(inputs)}/{Path(value).name}")
    return f"{root}/{name}"


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _code_only(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name or "/pocket/" in member.name else member
