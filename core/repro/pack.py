"""Write the pack: base, data, evaluation, program, pins, and a plan whose paths point into the folder itself.

Everything that fits is copied, so that the pack works on a machine that never saw the run; what is larger than `LARGEST`
stands in the plan by name and digest. Paths in the plan begin with `@pack/` (what was given) or `@work/` (what the rerun
makes).
"""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Any, cast

import msgspec

from core.errors import NotFound, Refused
from core.evaluation.guard import Guard
from core.evaluation.sampler import SampleSpec
from core.repro.lineage import Lineage, Promoted, Trained, job_in
from core.repro.pins import pins, requirements
from core.repro.readme import readme
from core.repro.rerun import folder_digest
from core.tasks import load_task
from core.training.trust import local_folder
from store.sealer import digest_file

LARGEST = 256 << 20
"""Bytes of a model or data folder that is copied into the pack."""
PROGRAM = Path(__file__).resolve().parents[2]
_PACKAGES = ("core", "store", "intern_tui")
_UNSET = {"trackio_project": None, "trackio_dir": None, "time_limit_s": None}
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
            "base": self._base(),
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
        listed = {
            p.relative_to(self.out).as_posix(): digest_file(p) for p in sorted(self.out.rglob("*")) if p.is_file()
        }
        _write_json(self.out / "files.json", listed)

    def _base(self) -> dict[str, str]:
        """How a rerun gets the base: from the pack, or by the name and the digest it has to have."""
        name = self.line.created.model
        here = local_folder(name)
        at = self.place(name)
        if here is None:
            self.notes.append(
                f"The base {name} was not on this machine when this was packed: its revision is not known"
            )
        elif at == "@base":
            self.notes.append(
                f"The base {name} is not in the pack; a rerun takes it from --base FOLDER, or from the Hub"
            )
        revision = here.name if here is not None and here.parent.name == "snapshots" else ""
        return {"name": name, "at": at, "revision": revision, "digest": folder_digest(here) if here is not None else ""}

    def place(self, path: str) -> str:
        """Where `path` lies in the pack. What a rerun makes is not copied; what is too large keeps its name."""
        root = self.line.root
        if path == self.line.created.model:
            if path not in self._placed:
                here = local_folder(path)
                copied = self._copy(here, "base") if here is not None else ""
                self._placed[path] = copied if copied.startswith("@pack/") else "@base"
            return self._placed[path]
        if path == f"{root}/final_model" or path.startswith(f"{root}/final_model/"):
            return "@work" + path.removeprefix(root)
        if path.startswith(f"{root}/jobs/") and any(path.split("/jobs/")[1].startswith(f"{j}/") for j in self._jobs()):
            return "@work" + path.removeprefix(root)
        if path in self._placed:
            return self._placed[path]
        actual = Path(str(self.folder) + path.removeprefix(root) if path.startswith(f"{root}/") else path)
        self._placed[path] = self._copy(actual, self._name(actual)) if actual.exists() else path
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
            if name == "base":
                return str(path)
            self.notes.append(f"{path} ({size / 2**30:.1f} GiB) is not in the pack; it must be there for a rerun")
            return str(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            shutil.copyfile(path, target)
        else:
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
        return f"@pack/{name}"

    def _mapped(self, value: Any) -> Any:
        """`value` with the base and every absolute path in it replaced; `file.py:function` keeps its function."""
        if isinstance(value, dict):
            return {k: self._mapped(v) for k, v in cast(dict[str, Any], value).items()}
        if isinstance(value, list | tuple):
            return [self._mapped(v) for v in cast(list[Any], value)]
        if isinstance(value, str) and value == self.line.created.model:
            return self.place(value)
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
        spec["resume_from"] = self._resumed(step, str(spec.get("resume_from") or ""))
        if step.steps is not None and planned and step.steps < planned:
            spec["stop_after"] = step.steps
            self.notes.append(f"{step.job} ended after {step.steps} of {planned} train steps, and so does its rerun")
        self._check_rows(step)
        made: dict[str, Any] = {
            "do": "train",
            "job": step.job,
            "title": step.title,
            "event": step.seq,
            "spec": self._mapped(spec),
        }
        return made | self._drawn(step)

    def _resumed(self, step: Trained, checkpoint: str) -> str | None:
        """The checkpoint of another job that this one went on from, copied; its own after a pause is not needed."""
        if not checkpoint or job_in(checkpoint, self.line.root) == step.job:
            return None
        path = Path(checkpoint.replace(self.line.root, str(self.folder), 1))
        self.notes.append(f"{step.job} went on from a checkpoint, which is not made again but copied")
        return self._copy(path, f"files/{step.job}-resumed-{path.name}") if path.is_dir() else checkpoint

    def _check_rows(self, step: Trained) -> None:
        """The name of prepared data can be given again: are these still the rows that were trained on?"""
        path = self.folder / "data" / step.data / "train.jsonl"
        if step.data_sha256 and path.is_file() and digest_file(path) != step.data_sha256:
            self.notes.append(
                f"`{step.data}` was prepared anew after {step.job} read it: the rows here are the later ones"
            )

    def _drawn(self, step: Trained) -> dict[str, Any]:
        """Answers that rejection sampling accepted before its share of the time was over: a rerun would draw more of them."""
        folder = self.folder / "jobs" / step.job / "accepted"
        rows = self.folder / "data" / step.data / "train.jsonl"
        if not (folder / "drawn.json").is_file() or not rows.is_file():
            return {}
        prompts = msgspec.json.decode((folder / "drawn.json").read_bytes())["prompts"]
        total = sum(1 for line in rows.read_bytes().splitlines() if line.strip())
        if prompts >= total:
            return {}
        self.notes.append(
            f"{step.job} sampled for {prompts} of {total} prompts before its time was over; the rerun takes those answers"
        )
        return {"given": {"accepted": self._copy(folder, f"files/{step.job}-accepted")}}

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
            start = self._mapped(self.line.models.get(source) or source)
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


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")
