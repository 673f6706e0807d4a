"""`--task inspect/NAME`: an inspect-ai task as a task folder with an evaluate.py like any other.

NAME is a file with its function (`inspect/path/to/file.py@function`; the function may be left out where there is one),
or a task that an installed package registers (`inspect/inspect_evals/gsm8k`). Reading it runs nothing of it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import sys
from pathlib import Path

import msgspec

from core import install
from core.errors import TaskInvalid
from core.home import home
from core.python_source import parse

RUN = Path(__file__).with_name("inspect_run.py")


def inspect_folder(name: str) -> Path:
    """The task folder of an inspect-ai task, made if it is not there. The same task gives the same folder.

    Raises TaskInvalid where inspect-ai is missing or the name is none.
    """
    if importlib.util.find_spec("inspect_ai") is None:
        raise TaskInvalid(
            "inspect-ai is not installed", where=sys.prefix, next=f"Install it: {install.command('eval')}"
        )
    asked = _asked(name)
    body = msgspec.json.encode(asked, order="sorted")
    code = RUN.read_bytes()
    slug = re.sub(
        r"[^A-Za-z0-9]+",
        "-",
        Path(name.partition("@")[0]).stem + "-" + asked["task"].rpartition("@")[2].rpartition("/")[2],
    )
    folder = home() / "inspect" / f"{slug.strip('-')[:60]}-{hashlib.sha256(body + code).hexdigest()[:8]}"
    if not (folder / "evaluate.py").is_file():
        (folder / "evaluation_code").mkdir(parents=True, exist_ok=True)
        (folder / "evaluation_code" / "inspect.json").write_bytes(msgspec.json.format(body))
        title = msgspec.json.encode(f"inspect/{name}").decode()  # a JSON string is a TOML one
        (folder / "task.toml").write_text(
            f'name = {title}\nmetric = "accuracy"\nhas_dev_split = true\n', encoding="utf-8"
        )
        partial = folder / "evaluate.py.partial"
        partial.write_bytes(code)
        partial.replace(folder / "evaluate.py")
    return folder


def _asked(name: str) -> dict[str, str]:
    """What inspect.json says: the task, and its file's digest where it is a file."""
    path, _, function = name.partition("@")
    if not path.endswith(".py"):
        package, _, task = name.partition("/")
        if not task or not re.fullmatch(r"[\w.-]+(/[\w.-]+)+", name):
            raise TaskInvalid(
                f"{name!r} names no inspect-ai task", where="--task",
                next="Use inspect/FILE.py@FUNCTION, or inspect/PACKAGE/TASK of an installed package",
            )  # fmt: skip
        if importlib.util.find_spec(package) is None:
            raise TaskInvalid(
                f"the package {package!r} is not installed", where=sys.prefix, next=f"pip install {package}"
            )
        return {"task": name}
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        raise TaskInvalid("there is no such file", where=str(file), next="Name the file that holds the inspect-ai task")
    known = task_functions(file)
    chosen = function or (known[0] if len(known) == 1 else "")
    if chosen not in known:
        what = (
            f"has no inspect-ai task {chosen!r}"
            if chosen
            else "has several inspect-ai tasks"
            if known
            else "has no inspect-ai task"
        )
        hint = (
            f"Use inspect/{path}@{known[0]}; it has: {', '.join(known)}"
            if known
            else "A task is a function under @task"
        )
        raise TaskInvalid(f"the file {what}", where=str(file), next=hint)
    return {"task": f"{file}@{chosen}", "file": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


def task_functions(file: Path) -> list[str]:
    """Functions under `@task`, read without running the file. Raises TaskInvalid where it is no Python."""
    try:
        tree = parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise TaskInvalid(f"the file is no Python: {error}", where=str(file), next="Correct it") from error
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and any(_is_task(d) for d in node.decorator_list)
    ]


def _is_task(decorator: ast.expr) -> bool:
    inner = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (
        inner.id if isinstance(inner, ast.Name) else inner.attr if isinstance(inner, ast.Attribute) else ""
    ) == "task"
