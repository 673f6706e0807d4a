"""A script that the brain wrote, run as a job: for a method that the recipes do not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.agent.desk import Desk
from core.compute.held import Wish
from core.errors import ToolError
from core.literature.library import asked_offline
from core.tools.toolbox import flag, mapping, number, text, tool

NETWORK_TIERS = ("network", "spend", "publish")


@tool(
    {
        "file": text("Python file in the workspace"),
        "title": text("A few words that say what this job is"),
        "model": text("Start from: base, final, a job's id, or a path", optional=True),
        "data": text("Name of prepared data", optional=True),
        "settings": mapping("What the script finds under `settings` in its spec"),
        "seconds": number("Time limit", optional=True),
        "network": flag(
            "true: it needs the network; false: none at all. Left out: the Hub and the package index, where the sandbox can "
            "limit it to them. Never in the smoke test"
        ),
        "experiment": text("Id of the experiment it belongs to", optional=True),
    },
    effect="keyed",
    tier="workspace",
    waits=True,
    runs=("file",),
)
def run_script(
    desk: Desk,
    file: str,
    title: str,
    model: str | None = None,
    data: str | None = None,
    settings: dict[str, Any] | None = None,
    seconds: float | None = None,
    network: bool | None = None,
    experiment: str | None = None,
) -> object:
    """Launch a script of the workspace as a job and return its id. It gets the path of its spec.json as its only argument,
    streams with core.training.stream.Stream(spec's folder); a trainer of transformers or TRL does so by
    callbacks=[core.training.callback.InternCallback(stream)], which also checkpoints and stops when asked. It saves below that
    folder, and names its model in a result line. It is held: its own folder is all it can write, its inputs, the workspace and
    the model cache all it can read, the Hub and the package index all it can reach (by HTTPS_PROXY, which is set; the log
    names a host that was refused). Before it is started it is tried for 20 seconds without a network (INTERN_SMOKE_TEST=1:
    download nothing then). Rows in the workspace that hold samples of the evaluation refuse it."""
    if network and desk.settings.autonomy not in NETWORK_TIERS:
        raise ToolError(
            f"This run may not use the network (autonomy {desk.settings.autonomy})", next="Leave `network` out"
        )
    wish = _wish(desk, network)
    known = desk.launched()
    if known:
        return {"job": known}
    code = _code(desk, file)
    limit = min(seconds or desk.clock.work_left_s, desk.clock.work_left_s)
    job = desk.new_job()
    folder = desk.folder / "jobs" / job
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "script.py").write_bytes(code)  # what ran stays with the job, whatever becomes of the workspace
    spec: dict[str, Any] = {
        "kind": "script", "script": str(folder / "script.py"), "settings": settings or {}, "time_limit_s": limit,
        "model": _model(desk, model) if model else None, "data": str(desk.data_path(data)) if data else None,
        "network": wish, "seed": desk.settings.seed, "trust": [],
    }  # fmt: skip
    config = {"file": file, "threads": desk.cores} | {k: v for k, v in (("model", model), ("data", data)) if v}
    desk.launch(
        kind="script", method="script", title=title, spec=spec, config=config,
        threads=desk.cores, experiment=experiment or "", time_limit_s=limit, job=job,
    )  # fmt: skip
    return {"job": job, "time_limit_s": limit, "network": wish}


def _wish(desk: Desk, network: bool | None) -> Wish:
    """What is asked of the sandbox (core/compute/held.py): by default the doors, where this run may reach out at all."""
    if network is None:
        return "limited" if desk.settings.autonomy in NETWORK_TIERS and not asked_offline() else "off"
    return "asked" if network else "off"


def _model(desk: Desk, name: str) -> str:
    """A model of this run, or a folder of its own. A job is shown what its spec names, so a brain may not name any folder
    of the machine here. Raises ToolError."""
    path = desk.model_path(name)
    if path == desk.settings.model or Path(path).resolve().is_relative_to(desk.folder.resolve()):
        return path
    raise ToolError(
        f"{name} is not a model of this run: a script gets no other folder", next="Start from base, final or a job's id"
    )


def _code(desk: Desk, file: str) -> bytes:
    workspace = (desk.folder / "workspace").resolve()
    path = (workspace / file).resolve()
    if not path.is_relative_to(workspace) or not path.is_file():
        raise ToolError(f"No file {file} in the workspace", where=str(workspace), next="Write it with write_file first")
    code = path.read_bytes()
    try:
        compile(code, file, "exec")
    except (SyntaxError, ValueError) as error:
        raise ToolError(f"{file} is no Python: {error}", where=str(Path(file)), next="Correct it") from error
    return code


TOOLS = [run_script]
