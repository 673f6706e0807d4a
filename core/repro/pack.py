"""Write the pack: base, data, evaluation, program, pins, and a plan whose paths point into the folder itself.

Everything that fits is copied, so that the pack works on a machine that never saw the run; what is larger than `LARGEST`
stands in the plan by name and digest. Paths in the plan begin with `@pack/` (what was given) or `@work/` (what the rerun
makes).
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from pathlib import Path
from typing import Any, cast

import msgspec

from core.errors import NotFound, Refused
from core.evaluation.guard import Guard
from core.evaluation.sampler import SampleSpec
from core.repro.lineage import Lineage, Promoted, Trained
from core.repro.pins import pins, requirements
from core.repro.readme import readme
from core.tasks import load_task
from core.training.promote import tree_digest

LARGEST = 256 << 20
"""Bytes of a model or data folder that is copied into the pack."""
PROGRAM = Path(__file__).resolve().parents[2]
_PACKAGES = ("core", "store", "intern_tui")
_UNSET = {"trackio_project": None, "trackio_dir": None, "resume_from": None, "time_limit_s": None}
"""Fields of a training that bind it to the old run. Instead of a time limit the rerun counts train steps."""


def write_pack(folder: Path, line: Lineage, out: Path) -> Path:
    """The pack of the run in `folder` at `out`, whole or not at all. Raises Refused where something is in the way."""
    if out.exists():
        raise Refused(f"{out} exists", where=str(out), next="Name another place with --out")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _Packer(folder, line, partial).write()
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


class _Packer:
    """Copies what a path names, once, and tells where it lies in the pack."""

    def __init__(self, folder: Path, line: Lineage, out: Path) -> None:
        self.folder, self.line, self.out = folder, line, out
        self.task = load_task(line.created.task_path or line.created.task)
        self.notes: list[str] = []
        self._placed: dict[str, str] = {}

    def write(self) -> None:
        self._task()
        steps = [self._trained(s) if isinstance(s, Trained) else self._promoted(s) for s in self.line.steps]
        created, heldout = self.line.created, self.line.heldout
        pinned = pins(created.versions)
        plan = {
            "run": created.run,
            "goal": created.goal,
            "python": platform.python_version(),
            "base": {"name": created.model, "at": self.place(created.model), "digest": _digest(created.model)},
            "steps": steps,
            "task": self._mapped(msgspec.to_builtins(msgspec.structs.replace(self.task, data_files=()))),
            "heldout": None if heldout is None else msgspec.to_builtins(heldout),
            "split": "heldout" if self.task.has_dev_split else None,
            "pins": pinned,
            "notes": self.notes,
        }
        _write_json(self.out / "plan.json", plan)
        (self.out / "requirements.txt").write_text(requirements(pinned))
        shutil.copyfile(Path(__file__).with_name("rerun.py"), self.out / "rerun.py")
        if (self.folder / "report.md").is_file():
            shutil.copyfile(self.folder / "report.md", self.out / "report.md")
        self._program()
        (self.out / "README.md").write_text(readme(self.line, self.notes))
        listed = {p.relative_to(self.out).as_posix(): _sha256(p) for p in sorted(self.out.rglob("*")) if p.is_file()}
        _write_json(self.out / "files.json", listed)

    def place(self, path: str) -> str:
        """Where `path` lies in the pack. What a rerun makes is not copied; what is too large keeps its name."""
        root = self.line.root
        if path == f"{root}/final_model" or path.startswith(f"{root}/final_model/"):
            return "@work" + path.removeprefix(root)
        if path.startswith(f"{root}/jobs/") and any(path.split("/jobs/")[1].startswith(f"{j}/") for j in self._jobs()):
            return "@work" + path.removeprefix(root)
        if path in self._placed:
            return self._placed[path]
        actual = Path(str(self.folder) + path.removeprefix(root) if path.startswith(f"{root}/") else path)
        name = "base" if path == self.line.created.model else self._name(actual)
        self._placed[path] = self._copy(actual, name) if actual.exists() else path
        return self._placed[path]

    def _jobs(self) -> list[str]:
        return [s.job for s in self.line.steps if isinstance(s, Trained)]

    def _name(self, path: Path) -> str:
        """`data/<name>` for prepared data, `task/...` for a guarded file, else `files/<n>-<name>`."""
        if path.parent == self.folder / "data":
            return f"data/{path.name}"
        inside = path.relative_to(self.task.path) if path.is_relative_to(self.task.path) else None
        if inside is not None and (self.out / "task" / inside).exists():
            return f"task/{inside}"
        return f"files/{len(self._placed)}-{path.name}"

    def _copy(self, path: Path, name: str) -> str:
        target = self.out / name
        if target.exists():
            return f"@pack/{name}"
        size = sum(p.stat().st_size for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file())
        if size > LARGEST:
            self.notes.append(f"{path} ({size / 2**30:.1f} GiB) is not in the pack; it must be there for a rerun")
            return str(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            shutil.copyfile(path, target)
        else:
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
        return f"@pack/{name}"

    def _mapped(self, value: Any) -> Any:
        """`value` with every absolute path in it replaced; `file.py:function` keeps its function."""
        if isinstance(value, dict):
            return {k: self._mapped(v) for k, v in cast(dict[str, Any], value).items()}
        if isinstance(value, list | tuple):
            return [self._mapped(v) for v in cast(list[Any], value)]
        if not isinstance(value, str) or not value.startswith("/") or "\n" in value or len(value) > 1000:
            return value
        path, colon, function = value.rpartition(".py:")
        if colon and Path(f"{path}.py").is_file():
            return f"{self.place(f'{path}.py')}:{function}"
        return self.place(value)

    def _task(self) -> None:
        """The evaluation as it was when the run began."""
        kept = self.folder / "guard" / "files"
        if not kept.is_dir():
            raise NotFound("the run kept no copy of its evaluation", where=str(kept), next="Was it ever started?")
        shutil.copytree(kept, self.out / "task")
        guard = msgspec.json.decode((self.folder / "guard" / "guard.json").read_bytes(), type=Guard)
        toml = Path(guard.folder) / "task.toml"
        if toml.is_file():
            shutil.copyfile(toml, self.out / "task" / "task.toml")
        self._placed[self.task.path] = "@pack/task"

    def _trained(self, step: Trained) -> dict[str, Any]:
        path = self.folder / "jobs" / step.job / "spec.json"
        if not path.is_file():
            raise NotFound(f"the specification of {step.job} is gone", where=str(path), next="It cannot be repeated")
        spec: dict[str, Any] = msgspec.json.decode(path.read_bytes())
        planned = spec.get("max_steps")
        spec |= _UNSET
        if step.steps is not None and planned and step.steps < planned:
            spec["stop_after"] = step.steps
            self.notes.append(f"{step.job} was ended by its time limit after {step.steps} of {planned} train steps")
        return {"do": "train", "job": step.job, "title": step.title, "event": step.seq, "spec": self._mapped(spec)}

    def _promoted(self, step: Promoted) -> dict[str, Any]:
        job, _, variant = step.evaluation.partition("/")
        folder = self.folder / "jobs" / job
        try:
            asked = msgspec.json.decode((folder / "spec.json").read_bytes(), type=SampleSpec)
            answered: dict[str, Any] = msgspec.json.decode((folder / "out" / "result.json").read_bytes())
        except OSError as error:
            raise NotFound(f"the record of {step.evaluation} is gone", where=str(folder), next="Its decoding is unknown") from error  # fmt: skip
        way = next((v for v in asked.variants if v.name == variant), None)
        found: list[list[int]] = [v["stop_ids"] for v in answered.get("variants", []) if v["name"] == variant]
        stops = found[0] if found else list[int]()
        decoding, prompting = (way.decoding, way.prompting) if way else (asked.decoding, asked.prompting)
        source = step.source
        if source == "base":
            start = self.place(self.line.created.model)
        elif source in self._jobs():
            start = f"@work/jobs/{source}/model"
        else:
            start = self._mapped(source)
            if not start.startswith("@work/"):
                self.notes.append(f"{source} came from no recorded training: the rerun starts from a copy of it")
        return {
            "do": "promote", "source": start, "event": step.seq, "decoding": msgspec.to_builtins(decoding),
            "stop_ids": stops, "prompting": self._mapped(msgspec.to_builtins(prompting)), "score": step.score,
            "evaluation": step.evaluation, "digest": step.digest,
        }  # fmt: skip

    def _program(self) -> None:
        """The program itself, without the shipped tasks' models and data."""
        skipped = shutil.ignore_patterns("__pycache__", "base", "evaluation_data", "data.jsonl", "*.safetensors")
        for name in _PACKAGES:
            shutil.copytree(PROGRAM / name, self.out / "code" / name, ignore=skipped)
        shutil.rmtree(self.out / "code" / "core" / "pocket", ignore_errors=True)
        shutil.copytree(
            PROGRAM / "core" / "pocket", self.out / "code" / "core" / "pocket",
            ignore=lambda folder, names: [n for n in names if not n.endswith(".py") or Path(folder).name != "pocket"],
        )  # fmt: skip


def _digest(model: str) -> str:
    """Of a local model's folder; empty for a Hub id."""
    return tree_digest(model) if Path(model).is_dir() else ""


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")
