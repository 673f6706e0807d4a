"""What in a model's folder would run as code when it is loaded, and which version of which repository it is.

Two things can: Python files that `trust_remote_code` imports (`auto_map` in a config), and pickled weights (.bin, .pt)
where there are no safetensors. Both need a person's yes, for one repository at one revision. Light: the host asks.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from core.errors import Refused
from core.hub.cache import hub_cache

Risk = Literal["remote_code", "pickle"]
CONFIGS = ("config.json", "tokenizer_config.json", "processor_config.json", "generation_config.json")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
NOT_WEIGHTS = ("training_args.bin", "optimizer.pt", "scheduler.pt", "scaler.pt", "tokenizer.bin")
SAYS: dict[Risk, str] = {
    "remote_code": "runs Python files that come with it (trust_remote_code)",
    "pickle": "has pickled weights (.bin, .pt), which can run code when they are loaded, and no safetensors",
}


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """A model as an approval names it."""

    repository: str
    revision: str
    """The Hub's commit, or a digest of a local folder's code and the sizes of its weights."""


def risks(folder: Path) -> tuple[Risk, ...]:
    """What loading this folder would run beyond transformers' own code."""
    found: list[Risk] = []
    if any("auto_map" in _read(folder / name) for name in CONFIGS):
        found.append("remote_code")
    pickles = [
        p
        for pattern in PICKLES
        for p in folder.glob(pattern)
        if p.name not in NOT_WEIGHTS and "rng_state" not in p.name
    ]
    if pickles and not any(folder.glob("*.safetensors")):
        found.append("pickle")
    return tuple(found)


def origin(folder: Path) -> Origin:
    """Repository and revision of a folder of the Hub's cache; path and digest of any other."""
    parts = folder.resolve().parts
    if len(parts) > 3 and parts[-2] == "snapshots" and parts[-3].startswith("models--"):
        return Origin(repository=parts[-3].removeprefix("models--").replace("--", "/"), revision=parts[-1])
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        if path.suffix in (".py", ".json"):
            digest.update(path.read_bytes())
        elif any(path.match(pattern) for pattern in PICKLES):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return Origin(repository=str(folder.resolve()), revision=digest.hexdigest()[:40])


def loading(folder: str | Path, trusted: tuple[Risk, ...] = ()) -> dict[str, Any]:
    """Arguments of from_pretrained that keep to what was approved. Raises Refused where the folder needs more."""
    folder = Path(folder)
    if missing := _missing(folder, trusted):
        said = origin(folder)
        raise Refused(
            f"{said.repository} at {said.revision[:12]} {' and '.join(SAYS[r] for r in missing)}",
            where=str(folder),
            next="Have a person approve it (intern approve R ID), or take a model with safetensors and no code of its own",
        )
    return {"trust_remote_code": True} if "remote_code" in trusted else {}


def _missing(folder: Path, trusted: tuple[Risk, ...]) -> list[Risk]:
    return [r for r in risks(folder) if r not in trusted]


def unapproved(model: str | Path, trusted: tuple[Risk, ...]) -> str:
    """What of a model (a path, or a Hub id in the cache) nobody said yes to, in words; empty where nothing is."""
    folder = local_folder(str(model))
    missing = _missing(folder, trusted) if folder is not None else []
    return f"{model} {' and '.join(SAYS[r] for r in missing)}" if missing else ""


def local_folder(model: str) -> Path | None:
    """The folder of a model that is here: a path, or the newest snapshot of a Hub id in the cache."""
    path = Path(model).expanduser()
    if path.is_dir():
        return path.resolve()
    repository = hub_cache() / f"models--{model.replace('/', '--')}"
    try:
        revision = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    found = repository / "snapshots" / revision
    return found if found.is_dir() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}
