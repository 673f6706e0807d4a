"""What is to be improved: a task folder, read without running anything in it.

A folder needs only an `evaluate.py`. Everything else (task.toml, templates/, data/) is used if it is there. Shipped
tasks are called `pocket/<name>`, inspect-ai's `inspect/<name>`; any other name is a path, `.` included.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from core.errors import TaskInvalid
from core.evaluation.inspect_task import inspect_folder
from core.evaluation.models import ModelCard, check_model
from core.evaluation.published import Published, published
from core.evaluation.scale import Scale
from core.evaluation.verify import VerifierSpec

__all__ = ["DataFile", "ModelCard", "Task", "check_model", "list_tasks", "load_task"]

POCKET = Path(__file__).parent / "pocket"
DATA_FORMATS = ("jsonl", "json", "csv", "tsv", "parquet", "txt")
_SAMPLE_FORMATS = ("jsonl", "json", "csv", "tsv", "parquet")
_LARGEST_EVAL_FILE = 200 * 1024 * 1024
_FLAG = re.compile(r"[\"'](--[A-Za-z][\w-]*)[\"']")


class DataFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a task's data/, as found."""

    path: str
    format: str
    bytes: int
    note: str = ""
    """What is wrong with it, if anything; such a file is kept, because other parts of it may be good."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A task folder. Paths are absolute."""

    name: str
    path: str
    evaluate_path: str
    description: str = ""
    base_model: str | None = None
    """A folder or a Hub id; None if the task leaves it to the caller."""
    base_model_sha256: str | None = None
    metric: str | None = None
    """The key of the score in the evaluation's output; None: found by looking."""
    scale: Scale = ""
    """What evaluate.py gives, where the task says so: fraction (0 to 1) or percent (0 to 100)."""
    higher_is_better: bool = True
    hours: float | None = None
    verifier: VerifierSpec | None = None
    """How an answer is checked by a program; None if the task does not say (guess it from gold answers)."""
    max_new_tokens: int | None = None
    data_files: tuple[DataFile, ...] = ()
    templates: tuple[str, ...] = ()
    evaluate_flags: tuple[str, ...] = ()
    """Flags that evaluate.py accepts, `--` included."""
    evaluate_held: bool = False
    """evaluate.py runs in the sandbox, without network (core/evaluation/holding.py)."""
    evaluate_gpus: int = 1
    """GPUs that evaluate.py is shown, of those of this machine."""
    evaluate_env: tuple[str, ...] = ()
    """Secrets of the environment that evaluate.py needs, by name."""
    has_dev_split: bool = False
    dev_file: str | None = None
    """Development samples (prompt, answer) that may be read and chosen on, but not trained on."""
    eval_text_files: tuple[str, ...] = ()
    """Files that hold evaluation samples. Only the contamination check may read them."""
    sample: tuple[str, str] | None = None
    """What a (prompt, answer) looks like."""
    published: Published | None = None
    """The task's own quote of what the official instruct model scores; see `published_for`."""

    def published_for(self, model: str) -> Published | None:
        """What the official instruct model of a base scores here, as published; None where nobody has said."""
        return self.published or published(model, self.name)


class _Toml(msgspec.Struct, frozen=True, kw_only=True):
    """task.toml; unknown keys are allowed."""

    name: str | None = None
    description: str = ""
    base_model: str | None = None
    base_model_sha256: str | None = None
    metric: str | None = None
    scale: Scale = ""
    higher_is_better: bool = True
    hours: float | None = None
    max_new_tokens: int | None = None
    evaluate_flags: tuple[str, ...] | None = None
    evaluate_held: bool = False
    evaluate_gpus: Annotated[int, msgspec.Meta(ge=1)] = 1
    evaluate_env: tuple[str, ...] = ()
    has_dev_split: bool | None = None
    dev_file: str | None = None
    eval_files: tuple[str, ...] | None = None
    verifier: VerifierSpec | None = None
    sample: dict[str, str] | None = None
    published: Published | None = None


def list_tasks() -> list[Task]:
    """The shipped tasks, by name."""
    return [load_task(f"pocket/{name}") for name in _pocket_names()]


def load_task(name_or_path: str | Path) -> Task:
    """The task of a name (`pocket/addition`) or a folder. Raises TaskInvalid, with what to do next."""
    folder = _locate(str(name_or_path))
    evaluate = folder / "evaluate.py"
    if not evaluate.is_file():
        raise TaskInvalid(
            "the task folder has no evaluate.py",
            where=str(folder),
            next="Add one that takes --model-path, --limit and --json-output-file, or name another folder.",
        )
    toml = _read_toml(folder / "task.toml")
    flags = toml.evaluate_flags if toml.evaluate_flags is not None else _flags(folder)
    dev_file = _inside(folder, toml.dev_file, "dev_file")
    return Task(
        name=toml.name or folder.name,
        path=str(folder),
        evaluate_path=str(evaluate),
        description=toml.description,
        base_model=_base_model(folder, toml.base_model),
        base_model_sha256=toml.base_model_sha256 or None,
        metric=toml.metric,
        scale=toml.scale,
        higher_is_better=toml.higher_is_better,
        hours=toml.hours,
        verifier=toml.verifier,
        max_new_tokens=toml.max_new_tokens,
        data_files=tuple(_data_file(p) for p in _files(folder / "data", DATA_FORMATS)),
        templates=tuple(str(p) for p in _files(folder / "templates", ("jinja", "jinja2", "j2"))),
        evaluate_flags=tuple(flags),
        evaluate_held=toml.evaluate_held,
        evaluate_gpus=toml.evaluate_gpus,
        evaluate_env=toml.evaluate_env,
        has_dev_split=toml.has_dev_split if toml.has_dev_split is not None else _splits(evaluate, flags),
        dev_file=dev_file,
        eval_text_files=_eval_files(folder, toml.eval_files),
        sample=_sample(toml.sample),
        published=toml.published,
    )


def _locate(name: str) -> Path:
    """The folder of a name. A shipped task wins over a folder `pocket/` of the same name in the current one."""
    head, _, rest = name.partition("/")
    if head == "pocket" and rest in _pocket_names():
        return POCKET / rest
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if head == "inspect" and rest:
        return inspect_folder(rest)
    if head == "pocket" or (not rest and not folder.exists()):
        known = [f"pocket/{n}" for n in _pocket_names()]
        near = difflib.get_close_matches(rest or name, _pocket_names(), 1, 0.5)
        hint = f"Did you mean pocket/{near[0]}? " if near else ""
        raise TaskInvalid(
            f"there is no task {name!r}",
            where=str(folder.absolute()),
            next=f"{hint}Shipped tasks: {', '.join(known)}; or give a folder with an evaluate.py.",
        )
    what = "is a file, not a task folder" if folder.is_file() else "does not exist"
    raise TaskInvalid(
        f"the task folder {what}", where=str(folder.absolute()), next="Give the folder that holds evaluate.py."
    )


def _pocket_names() -> list[str]:
    return sorted(p.parent.name for p in POCKET.glob("*/evaluate.py"))


def _read_toml(path: Path) -> _Toml:
    if not path.is_file():
        return _Toml()
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Toml)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TaskInvalid(f"task.toml cannot be read: {error}", where=str(path), next="Correct that line.") from error
    except msgspec.ValidationError as error:
        raise TaskInvalid(
            f"task.toml has a value of the wrong kind: {error}", where=str(path), next="Correct that key."
        ) from error


def _flags(folder: Path) -> tuple[str, ...]:
    """Flags that stand as strings in evaluate.py or in evaluation_code/."""
    sources = [folder / "evaluate.py", *sorted((folder / "evaluation_code").rglob("*.py"))]
    text = "\n".join(p.read_text(encoding="utf-8", errors="replace") for p in sources)
    return tuple(sorted(set(_FLAG.findall(text))))


def _splits(evaluate: Path, flags: Iterable[str]) -> bool:
    text = evaluate.read_text(encoding="utf-8", errors="replace")
    return "--split" in flags and re.search(r"[\"']dev[\"']", text) is not None


def _base_model(folder: Path, given: str | None) -> str | None:
    """A folder inside the task wins over a Hub id of the same form; a folder that is missing stays as written."""
    if given is None:
        return str(folder / "base") if (folder / "base" / "config.json").is_file() else None
    inside = folder / Path(given).expanduser()
    return str(inside.resolve()) if inside.is_dir() else given


def _inside(folder: Path, given: str | None, key: str) -> str | None:
    if given is None:
        return None
    path = folder / given
    if not path.is_file():
        raise TaskInvalid(
            f"task.toml says {key} = {given!r}, which is not there",
            where=str(path),
            next=f"Put the file there or take {key} out of task.toml.",
        )
    return str(path)


def _sample(given: Mapping[str, str] | None) -> tuple[str, str] | None:
    return (given["prompt"], given["answer"]) if given and {"prompt", "answer"} <= given.keys() else None


def _files(folder: Path, formats: Iterable[str]) -> list[Path]:
    endings = tuple(f".{f}" for f in formats)
    return sorted(
        p for p in folder.rglob("*") if p.is_file() and p.name.endswith(endings) and not p.name.startswith(".")
    )


def _eval_files(folder: Path, named: Iterable[str] | None) -> tuple[str, ...]:
    """Sample files outside data/, templates/, model folders and hidden ones; or those that task.toml names."""
    if named is not None:
        return tuple(path for n in named if (path := _inside(folder, n, "eval_files")))
    skipped = {folder / "data", folder / "templates", folder / "final_model"}
    skipped |= {p.parent for p in folder.glob("*/config.json")}
    found = [p for p in folder.iterdir() if p.is_file()]
    for sub in folder.iterdir():
        if sub.is_dir() and sub not in skipped and not sub.name.startswith((".", "__")):
            found += [p for p in sub.rglob("*") if p.is_file()]
    return tuple(
        str(p)
        for p in sorted(found)
        if p.suffix[1:] in _SAMPLE_FORMATS and not p.name.startswith(".") and 0 < p.stat().st_size <= _LARGEST_EVAL_FILE
    )


def _data_file(path: Path) -> DataFile:
    size, kind = path.stat().st_size, path.suffix[1:]
    return DataFile(path=str(path), format=kind, bytes=size, note=_look(path, kind) if size else "the file is empty")


def _look(path: Path, kind: str) -> str:
    """What is wrong with a file's beginning (1 MB), "" if nothing is."""
    with path.open("rb") as file:
        head = file.read(1 << 20)
    if kind == "parquet":
        return "" if head[:4] == b"PAR1" else "not a parquet file (its first bytes say so)"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return f"not UTF-8 at byte {error.start}"
    if kind == "jsonl":
        return _look_at_lines(head.splitlines() if len(head) < 1 << 20 else head.splitlines()[:-1])
    if kind == "json" and len(head) < 1 << 20:
        return _json_note(head)
    return ""


def _look_at_lines(lines: list[bytes]) -> str:
    filled = [(n, line) for n, line in enumerate(lines, start=1) if line.strip()]
    bad = [n for n, line in filled if _json_note(line)]
    if not bad:
        return ""
    if len(bad) == len(filled):
        return "no line is JSON"
    return f"{len(bad)} of {len(filled)} lines looked at are not JSON, the first is line {bad[0]}"


def _json_note(text: bytes) -> str:
    try:
        msgspec.json.decode(text, type=Any)
    except msgspec.DecodeError as error:
        return f"not JSON: {error}"
    return ""
