"""The submission of a benchmark: `final_model/`, whole at every instant, of the given base's lineage, without links."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from core.descent import objections
from core.errors import JobError, NotFound
from core.evaluation.models import check_model
from core.final_model import SKIPPED
from core.hub.cache import hub_cache
from core.hub.transfer import or_without_xet
from core.training.promote import recover_swap, swap_directory, tree_digest

_UNWANTED = (*SKIPPED, "checkpoint-*", "*.bin.index.json.lock", ".cache", ".git", ".gitattributes", "original")
_LINEAGE = (
    "architectures", "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
    "intermediate_size",
)  # fmt: skip
"""What training does not change: another value means another model."""


class Submission:
    """A target folder and the base its content has to come from."""

    def __init__(self, target: Path, base: Path) -> None:
        self.target, self.base = target, base

    def offer(self, source: Path, digest: str = "") -> None:
        """Copy `source` (links followed, so that real files result), check it, put it at the target in one step.

        `digest`: what `source` held when it was measured. Raises JobError for a model that is not whole, not that one, or not
        of the base's lineage; the target then stays as it was.
        """
        recover_swap(self.target)
        fresh = self.target.with_name(f".{self.target.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(source, fresh, symlinks=False, ignore=shutil.ignore_patterns(*_UNWANTED))
        _complete(fresh, self.base)
        other = foreign(fresh, self.base)
        if other:
            raise JobError(
                f"not a descendant of the base: {', '.join(other)} differ", where=str(source), next="Train the base."
            )
        # A folder that is exchanged during a copy leaves a mixture of two models, whose files have the sizes of either.
        if not _same_sizes(source, fresh) or (digest and tree_digest(source) != digest):
            raise JobError("the model changed while it was copied", where=str(source), next="Copy it again.")
        check_model(str(fresh))
        against = objections(fresh, self.base)
        if against:
            raise JobError(
                f"not a descendant of the base: {against[0]}", where=str(source),
                next="Train the base, and merge adapters into it.",
            )  # fmt: skip
        links = [p.name for p in fresh.rglob("*") if p.is_symlink()]
        if links:
            raise JobError(f"links in the model: {links[:3]}", where=str(fresh), next="Copy what they point to.")
        swap_directory(fresh, self.target)


def foreign(model: Path, base: Path) -> list[str]:
    """The fields of config.json that show another model than the base; a padded vocabulary may only grow."""
    ours, theirs = _config(model), _config(base)
    differs = [name for name in _LINEAGE if ours.get(name) != theirs.get(name)]
    mine, given = ours.get("vocab_size"), theirs.get("vocab_size")
    if "vocab_size" in differs and isinstance(mine, int) and isinstance(given, int) and 0 <= mine - given <= 256:
        differs.remove("vocab_size")
    return differs


def _complete(folder: Path, base: Path) -> None:
    """Tokenizer, preprocessor and generation config of the base where the model came without."""
    for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "vocab.json",
                 "merges.txt", "preprocessor_config.json", "processor_config.json", "generation_config.json",
                 "chat_template.jinja"):  # fmt: skip
        if (base / name).is_file() and not (folder / name).exists():
            shutil.copyfile(base / name, folder / name)


def _config(folder: Path) -> dict[str, object]:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise JobError(
            f"no readable config.json: {error}", where=str(folder), next="Export the model again."
        ) from error
    return config.get("text_config", config) | {"architectures": config.get("architectures")}


def _same_sizes(source: Path, copy: Path) -> bool:
    """The copy's weights have the sizes of the source's."""
    for file in copy.glob("*.safetensors"):
        origin = source / file.name
        if not origin.is_file() or origin.stat().st_size != file.stat().st_size:
            return False
    return True


def base_folder(model: str) -> Path:
    """The local folder of the base: a path, the Hub's cache, or a download."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder.resolve()
    from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    ignored = ["*.bin", "*.pth", "*.gguf", "original/*"]
    try:
        return Path(str(snapshot_download(model, ignore_patterns=ignored, local_files_only=True)))
    except (LocalEntryNotFoundError, OSError, ValueError):
        pass
    try:
        return Path(str(or_without_xet(lambda: snapshot_download(model, ignore_patterns=ignored))))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise NotFound(
            f"the base model cannot be had: {error}", where=model,
            next=f"Put it into the Hub's cache ({hub_cache()}), or name a folder",
        ) from error  # fmt: skip
