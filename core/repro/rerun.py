"""Make the final model again and measure it: `python rerun.py [--work FOLDER] [--base FOLDER] [--check]`, from inside a pack.

Goes on where it stopped: a training whose model is there is not made again. Ends with 0 where the score agrees with the
recorded one, 1 where it differs by more than noise, 3 where a file or the base is missing or changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACK = Path(__file__).resolve().parent
if (PACK / "code").is_dir():
    sys.path.insert(0, str(PACK / "code"))


def main(arguments: list[str] | None = None) -> int:
    """Check, train, promote, measure, compare."""
    parser = argparse.ArgumentParser(description="Make the run's final model again and measure it.")
    parser.add_argument("--work", default="rerun", help="folder for what is made (default: rerun)")
    parser.add_argument(
        "--base", default="", help="where the base model lies on this machine, if it is not in the pack"
    )
    parser.add_argument("--check", action="store_true", help="only compare digests and versions")
    a = parser.parse_args(arguments)
    plan: dict[str, Any] = json.loads((PACK / "plan.json").read_text())
    wrong = changed_files()
    for line in [*wrong, *other_versions(plan), *(f"note: {note}" for note in plan["notes"])]:
        print(line)
    if wrong:
        print("The pack is not what it was; unpack it again")
        return 3
    if a.check:
        print("Every file is as it was packed")
        return 0
    work = Path(a.work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    plan = with_base(plan, base_folder(plan["base"], a.base))
    digest = ""
    for step in plan["steps"]:
        if step["do"] == "train":
            train(step, work)
        else:
            digest = promote(step, work)
    return compare(plan, work, digest)


def changed_files() -> list[str]:
    """What is missing or differs from files.json."""
    wrong: list[str] = []
    for name, digest in json.loads((PACK / "files.json").read_text()).items():
        path = PACK / name
        if not path.is_file():
            wrong.append(f"missing: {name}")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            wrong.append(f"changed: {name}")
    return wrong


def other_versions(plan: dict[str, Any]) -> list[str]:
    """Packages that are here in another version than the pins; a difference is said, not refused."""
    said: list[str] = []
    if platform.python_version() != plan["python"]:
        said.append(f"note: Python is {platform.python_version()}, the run was packed with {plan['python']}")
    for name, version in plan["pins"].items():
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if here.split("+")[0] != version.split("+")[0]:
            said.append(f"note: {name} is {here}, the run had {version}")
    return said


def folder_digest(folder: Path) -> str:
    """SHA-256 over names and contents of the files below a folder; links (as in the Hub's cache) count as what they name."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as content:
            total.update(
                f"{path.relative_to(folder).as_posix()}:{hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode()
            )
    return total.hexdigest()


def base_folder(base: dict[str, str], given: str) -> str:
    """Where the base lies: in the pack, where `--base` says, where it lay in the run, or fetched from the Hub at its revision."""
    if base["at"] != "@base":
        return base["at"]
    name, revision = base["name"], base["revision"]
    folder = Path(given or name).expanduser()
    if folder.is_dir():
        if base["digest"] and folder_digest(folder) != base["digest"]:
            print(f"note: the files of the base in {folder} are not those of the run")
        return str(folder.resolve())
    if given or Path(name).is_absolute():
        print(f"The base {folder} is not here: name its folder with --base FOLDER")
        sys.exit(3)
    from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]

    print(f"base {name}{f' at {revision}' if revision else ''} ...", flush=True)
    try:
        return str(
            snapshot_download(
                name, revision=revision or None, ignore_patterns=["*.bin", "*.pth", "*.gguf", "original/*"]
            )
        )
    except Exception as error:  # noqa: BLE001 - whatever the Hub's client raises: no base, and what to do
        print(
            f"The base {name} cannot be fetched ({type(error).__name__}: {error}): name its folder with --base FOLDER"
        )
        sys.exit(3)


def with_base(value: Any, folder: str) -> Any:
    """`value` with `@base` replaced."""
    if isinstance(value, dict):
        return {k: with_base(v, folder) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [with_base(v, folder) for v in value]  # pyright: ignore[reportUnknownVariableType]
    return folder if value == "@base" else value


def at(value: Any, work: Path) -> Any:
    """`value` with `@pack/` and `@work/` made absolute."""
    if isinstance(value, dict):
        return {k: at(v, work) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [at(v, work) for v in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, str) and (value in ("@pack", "@work") or value.startswith(("@pack/", "@work/"))):
        return str(PACK if value.startswith("@pack") else work) + value[5:]
    return value


def train(step: dict[str, Any], work: Path) -> None:
    """One training, in a process of its own as in the run. Ends the program where it fails."""
    folder = work / "jobs" / step["job"]
    if (folder / "model").is_dir() and _finished(folder):
        print(f"{step['job']}: its model is there")
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, source in step.get("given", {}).items():
        shutil.copytree(at(source, work), folder / name)
    spec = at(step["spec"], work)
    (folder / "spec.json").write_text(json.dumps(spec, indent=1))
    print(f"{step['job']}: {step['title']} ...", flush=True)
    threads = str(spec.get("threads") or os.cpu_count() or 1)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
    env = {**os.environ, **dict.fromkeys(names, threads), "OMP_WAIT_POLICY": "PASSIVE"}
    env.pop("PYTHONPATH", None)
    job = _job_script()
    with (folder / "log.txt").open("w") as log:
        ended = subprocess.run(
            [sys.executable, "-P", str(job), str(folder / "spec.json")], stdout=log, stderr=log, env=env, check=False
        )
    if ended.returncode:
        print((folder / "log.txt").read_text()[-2000:])
        sys.exit(f"{step['job']} failed with {ended.returncode}; its log: {folder / 'log.txt'}")


def _job_script() -> Path:
    packed = PACK / "code" / "intern_tui" / "job.py"
    return packed if packed.is_file() else PACK.parents[1] / "intern_tui" / "job.py"


def _finished(folder: Path) -> bool:
    lines = (folder / "metrics.jsonl").read_text().splitlines() if (folder / "metrics.jsonl").is_file() else []
    return any(json.loads(line).get("kind") == "result" for line in lines[-3:])


def promote(step: dict[str, Any], work: Path) -> str:
    """The same model with the decoding it was measured with; returns the folder's digest."""
    import msgspec

    from core.evaluation.prompting import Decoding, Prompting
    from core.final_model import promote_folder

    decoding = msgspec.convert(step["decoding"], Decoding)
    prompting = msgspec.convert(at(step["prompting"], work), Prompting)
    digest = promote_folder(at(step["source"], work), work / "final_model", decoding, step["stop_ids"], prompting)
    same = "the same to the byte" if digest == step["digest"] else "not the same bytes as in the run"
    print(f"final_model from {step['source']}: {same}")
    return digest


def compare(plan: dict[str, Any], work: Path, digest: str) -> int:
    """Measure the final model on the recorded split and say whether the score agrees."""
    import msgspec

    from core.evaluation.benchmark import Request, run_benchmark
    from core.evaluation.stats import unpaired_difference
    from core.tasks import Task

    recorded = plan["heldout"]
    task = msgspec.convert(at(plan["task"], work), Task)
    limit = recorded["samples"] if recorded else -1
    request = Request(
        model_path=str(work / "final_model"), output_folder=str(work / "evaluation"), limit=limit, split=plan["split"],
        timeout_s=24 * 3600.0, scale=recorded.get("scale", "") if recorded else "",
    )  # fmt: skip
    made = run_benchmark(task, request)
    result: dict[str, Any] = {"score": made.score, "samples": made.n, "metric": made.metric, "digest": digest}
    code = 0
    if recorded:
        found = unpaired_difference(recorded["score"], recorded["samples"], made.score, made.n or recorded["samples"])
        low, high = found.interval
        code = 0 if low <= 0 <= high else 1
        result |= {"recorded": recorded["score"], "delta": found.delta, "interval": [low, high], "reproduced": not code}
        verdict = "within noise" if not code else "MORE than noise"
        print(
            f"score {100 * made.score:.1f} %, recorded {100 * recorded['score']:.1f} %; difference "
            f"{100 * found.delta:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]: {verdict}"
        )
    else:
        print(f"score {100 * made.score:.1f} % (none was recorded)")
    (work / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
