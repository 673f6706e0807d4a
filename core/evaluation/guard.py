"""Keeps a task's evaluation as it was: a score counts only if the thing that measured it did not change.

`record` copies evaluate.py, the templates and all evaluation code and samples into the run's folder; `check` compares
and `restore` puts the copy back. Editing an evaluation is the one way to raise every score at once, so a change is an
error that names the file, whoever made it: a training script, a model's code, or the evaluation itself.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec

from core.errors import EvaluationAltered
from core.evaluation import packages
from core.tasks import Task
from store.sealer import digest_file

_GUARDED_FOLDERS = ("templates", "evaluation_code", "evaluation_data")
_IGNORED = ("__pycache__", ".pytest_cache")


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """The recorded state of one task's evaluation."""

    folder: str
    """The task folder."""
    store: str
    """Where the copies lie, in the same relative places."""
    digests: dict[str, str]
    """{path relative to the task folder: SHA-256}."""
    packages: dict[str, str] = {}
    """Installed packages that the evaluation imports; see `packages`."""

    @property
    def digest(self) -> str:
        """One SHA-256 of all files and their names."""
        text = "".join(f"{name}\0{self.digests[name]}\n" for name in sorted(self.digests))
        return hashlib.sha256(text.encode()).hexdigest()


def record(task: Task, store: str | Path) -> Guard:
    """Copies the evaluation to `store`; an existing record there is read instead, so the first one stays the truth."""
    folder, store = Path(task.path), Path(store).absolute()
    index = store / "guard.json"
    if index.is_file():
        return msgspec.json.decode(index.read_bytes(), type=Guard)
    digests: dict[str, str] = {}
    for path in guarded_files(folder, (*task.eval_text_files, *([task.dev_file] if task.dev_file else []))):
        name = path.relative_to(folder).as_posix()
        copy = store / "files" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
        digests[name] = digest_file(copy)
    guard = Guard(folder=str(folder), store=str(store), digests=digests, packages=packages.states(folder))
    index.write_bytes(msgspec.json.encode(guard))
    return guard


def changed(guard: Guard) -> list[str]:
    """`changed x`, `removed y`, `added z`: what differs from the record now."""
    folder = Path(guard.folder)
    found: list[str] = []
    for name, digest in sorted(guard.digests.items()):
        path = folder / name
        if not path.is_file():
            found.append(f"removed {name}")
        elif digest_file(path) != digest:
            found.append(f"changed {name}")
    now = {p.relative_to(folder).as_posix() for p in guarded_files(folder, ())}
    # A new file of an imported name beside evaluate.py would take the module's place; other new Python files there are
    # somebody's work (a training script) and no harm.
    imported = packages.imported(folder)
    added = [name for name in sorted(now - guard.digests.keys()) if "/" in name or name[:-3] in imported]
    return found + [f"added {name}" for name in added]


def changed_packages(guard: Guard) -> list[str]:
    """Packages that the evaluation imports and that are not as they were when the guard was made."""
    now = packages.states(Path(guard.folder)) if guard.packages else {}
    return [name for name, digest in guard.packages.items() if now.get(name) != digest]


def restore(guard: Guard) -> None:
    """Puts every recorded file back; files that were added are moved into the store, not deleted."""
    folder, store = Path(guard.folder), Path(guard.store)
    for change in changed(guard):
        verb, _, name = change.partition(" ")
        if verb == "added":
            aside = store / "added" / name
            aside.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(folder / name, aside)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            _copy_over(store / "files" / name, folder / name)


def check(guard: Guard, when: str) -> None:
    """Restores and raises EvaluationAltered if anything differs; `when` completes `... was changed`."""
    found = changed(guard)
    if not found:
        return
    where = str(Path(guard.folder) / found[0].split(" ", 1)[1])
    try:
        restore(guard)
        after = "The recorded copy was put back"
    except OSError as error:
        after = f"Putting the recorded copy back failed ({error})"
    raise EvaluationAltered(
        f"the evaluation was altered {when}: {', '.join(found[:5])}",
        where=where,
        next=f"{after}; scores measured in between do not count. Find what wrote to the task folder.",
    )


def guarded_files(folder: Path, extra: Iterable[str]) -> list[Path]:
    """evaluate.py, other Python files beside it, the evaluation's folders, and `extra` files inside the folder."""
    found = set(folder.glob("*.py"))
    for name in _GUARDED_FOLDERS:
        found |= set((folder / name).rglob("*"))
    found |= {Path(p) for p in extra if Path(p).is_relative_to(folder)}
    return sorted(p for p in found if p.is_file() and not any(part in _IGNORED for part in p.parts))


def _copy_over(copy: Path, target: Path) -> None:
    """A link is replaced, not followed: restoring must not write into a file elsewhere."""
    if target.is_symlink():
        target.unlink()
    shutil.copy2(copy, target)
