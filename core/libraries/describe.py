"""Signature, fields and docstring of one public object, printed as JSON: `python -P -m core.libraries.describe NAME`.

Runs in a process of its own (see `lookup`): importing the libraries takes seconds and half a gigabyte.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import sys
from difflib import get_close_matches
from typing import Any, cast

DOC_LIMIT = 12_000


def resolve(name: str) -> Any:
    """The object behind a dotted name: the longest importable module, then attributes. Raises LookupError with what is near."""
    parts = name.split(".")
    found: Any = importlib.import_module(parts[0])
    for at, part in enumerate(parts[1:], start=1):
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = importlib.import_module(".".join(parts[: at + 1]))
            except ImportError as error:
                near = get_close_matches(part, dir(found), n=5, cutoff=0.5)
                raise LookupError(
                    f"{'.'.join(parts[:at])} has no {part!r}; near: {', '.join(near) or 'nothing'}"
                ) from error
    return found


def describe(name: str) -> dict[str, Any]:
    """Kind, signature, fields with defaults, members, docstring and file of the object; of a field of a dataclass its type,
    default and help."""
    if (field := _field_named(name)) is not None:
        return field
    found = resolve(name)
    told: dict[str, Any] = {"name": name, "kind": _kind(found), "doc": (inspect.getdoc(found) or "")[:DOC_LIMIT]}
    try:
        told["signature"] = str(inspect.signature(found))
    except (TypeError, ValueError):
        told["signature"] = ""
    if dataclasses.is_dataclass(found):
        told["fields"] = [_field(field) for field in dataclasses.fields(found)]
    if inspect.isclass(found) or inspect.ismodule(found):
        told["members"] = [m for m in (getattr(found, "__all__", None) or dir(found)) if not m.startswith("_")][:300]
    root = sys.modules[name.split(".")[0]]
    told["version"] = getattr(root, "__version__", "")
    try:
        told["file"] = inspect.getsourcefile(cast(Any, found)) or ""
    except TypeError:
        told["file"] = ""
    return told


def _field_named(name: str) -> dict[str, Any] | None:
    """A dataclass's field: as an attribute it would be its default, of which a docstring tells nothing."""
    owner, _, last = name.rpartition(".")
    if "." not in owner:
        return None
    try:
        found = resolve(owner)
    except (ImportError, LookupError):
        return None
    if not (inspect.isclass(found) and dataclasses.is_dataclass(found)):
        return None
    field = next((one for one in dataclasses.fields(found) if one.name == last), None)
    if field is None:
        return None
    told = _field(field, 4_000)
    version = getattr(sys.modules[name.split(".")[0]], "__version__", "")
    return {
        "name": name, "kind": f"field of {owner}", "type": told["type"], "default": told["default"], "doc": told["help"],
        "version": version,
    }  # fmt: skip


def _kind(found: Any) -> str:
    if inspect.ismodule(found):
        return "module"
    return "class" if inspect.isclass(found) else "function" if callable(found) else type(found).__name__


def _field(field: dataclasses.Field[Any], help_limit: int = 400) -> dict[str, str]:
    default = field.default
    if default is dataclasses.MISSING:
        default = "required" if field.default_factory is dataclasses.MISSING else "made by a factory"
    kind = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
    return {
        "name": field.name,
        "type": kind,
        "default": repr(default)[:120],
        "help": str(field.metadata.get("help", ""))[:help_limit],
    }


if __name__ == "__main__":
    try:
        print(json.dumps(describe(sys.argv[1])))
    except (ImportError, LookupError) as problem:
        print(json.dumps({"error": str(problem)}))
