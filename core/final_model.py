"""`final_model/`: from the first evaluation on always a valid model, replaced only as a whole.

A model is copied into a folder beside it (real files, no links), given the decoding it was evaluated with, checked, and
then exchanged for the old one in one step.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from core.errors import JobError
from core.evaluation.models import check_model
from core.evaluation.prompting import Decoding, Prompting
from core.training.promote import recover_swap, swap_directory, tree_digest
from core.training.trust import Risk, unapproved

SKIPPED = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "trainer_state.json")
"""What a checkpoint holds besides the model."""


def promote_folder(
    source: str, target: Path, decoding: Decoding, stop_ids: list[int], prompting: Prompting,
    trusted: tuple[Risk, ...] | None = None,
) -> str:  # fmt: skip
    """Copy `source` to `target` atomically and return the new folder's digest. Raises JobError for a model that is not whole,
    and for one with code or pickles of its own beyond `trusted` (None: not looked at)."""
    recover_swap(target)
    folder = Path(source)
    if not folder.is_dir():
        raise JobError(
            "A model on the Hub cannot be promoted before it was trained or fetched",
            where=source,
            next="Train from it first",
        )
    fresh = target.with_name(target.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(folder, fresh, symlinks=False, ignore=shutil.ignore_patterns(*SKIPPED, "checkpoint-*"))
    _write_generation_config(fresh, decoding, stop_ids)
    if prompting.format == "chat" and prompting.template_path:
        shutil.copyfile(prompting.template_path, fresh / "chat_template.jinja")
    if trusted is not None and (
        what := unapproved(fresh, trusted)
    ):  # the copy: the source may change after a look at it
        shutil.rmtree(fresh)
        raise JobError(f"not promoted: {what}", where=source, next="Train and save it without code of its own")
    check_model(str(fresh))
    digest = tree_digest(fresh)
    swap_directory(fresh, target)
    return digest


def looked_at(final: Path, prompting: Prompting, changed_packages: list[str]) -> tuple[bool, list[str]]:
    """(whether it can be handed in, what was seen) of a `final_model` that the evaluation has loaded and measured.

    `changed_packages`: of those that the evaluation imports, what is not as it was at the start: the model is judged with the
    starting ones.
    """
    seen = ["loaded and evaluated by evaluate.py in a fresh process"]
    problems = list(check_model(final).problems)
    links = [p.name for p in final.rglob("*") if p.is_symlink()]
    seen.append(f"links: {', '.join(links[:3])}" if links else "real files, full weights")
    same = True
    if prompting.format == "chat" and prompting.template_path:
        ours = final / "chat_template.jinja"
        same = ours.is_file() and ours.read_bytes() == Path(prompting.template_path).read_bytes()
        name = Path(prompting.template_path).name
        seen.append(f"its chat template is {'' if same else 'not '}{name} of the evaluation, byte for byte")
    stops = _generation_config(final).get("eos_token_id")
    seen.append("no stop token in generation_config.json" if stops is None else f"answers stop at token {stops}")
    seen.append(
        f"measured with packages that changed since the start: {', '.join(changed_packages)}"
        if changed_packages
        else "the evaluation's packages are as they were at the start"
    )
    return not links and same, seen + problems


def _generation_config(folder: Path) -> dict[str, Any]:
    path = folder / "generation_config.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _write_generation_config(folder: Path, decoding: Decoding, stop_ids: list[int]) -> None:
    """Greedy is said twice: vLLM reads only `temperature`, transformers only `do_sample`."""
    path = folder / "generation_config.json"
    values = _generation_config(folder)
    greedy = decoding.temperature == 0
    values |= {"do_sample": not greedy, "temperature": float(decoding.temperature)}
    if greedy:
        for name in ("top_p", "top_k", "min_p", "typical_p"):
            values.pop(name, None)
    if stop_ids:
        values["eos_token_id"] = stop_ids if len(stop_ids) > 1 else stop_ids[0]
        values.setdefault("pad_token_id", stop_ids[0])
    path.write_text(json.dumps(values, indent=2) + "\n")
