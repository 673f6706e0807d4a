"""What a model folder holds, read from its small files and the weights' header: no torch, a few milliseconds.

A training that dies after two minutes because a tokenizer is missing has cost two minutes; this says so at once. It is
also the first check of a `final_model/`: real files, complete weights, a tokenizer.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, cast

import msgspec

from core.errors import NotFound
from core.evaluation.prompting import read_tokenizer_config

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")
_MAX_HEADER = 100_000_000
_BITS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """A model as far as its files tell."""

    path: str
    """Absolute folder, or the Hub id."""
    remote: bool
    """A Hub id of which nothing is known here."""
    params: int | None = None
    """Weights in the files; None for formats that do not say."""
    architecture: str = ""
    model_type: str = ""
    tokenizer: str = ""
    """Kind and size, e.g. `BPE, 320 tokens`."""
    has_chat_template: bool = False
    context_length: int | None = None
    dtype: str = ""
    eos_token: str | None = None
    samples_by_default: bool = False
    """generation_config.json asks for sampling: an evaluation that obeys it is not greedy."""
    problems: tuple[str, ...] = ()
    """What does not stop the model from loading, but can cost score."""


def check_model(path_or_id: str | Path, *, base: Path | None = None) -> ModelCard:
    """The card of a model folder or Hub id. `base`: where a relative path is looked for after the current folder.

    Raises NotFound for an unknown path, and for a folder without config, tokenizer or complete weights.
    """
    text = str(path_or_id)
    for folder in [Path(text).expanduser(), *([base / text] if base else [])]:
        if folder.is_dir():
            return _read(folder.resolve())
        if folder.is_file():
            raise NotFound("the model is a file, not a folder", where=str(folder), next="Give the folder it lies in.")
    if _HUB_ID.fullmatch(text) and not text.startswith((".", "~")):
        return ModelCard(path=text, remote=True)
    raise NotFound(
        f"no model at {text!r}",
        where=str(Path.cwd()),
        next="Give a folder with config.json, a tokenizer and weights, or a Hub id such as Qwen/Qwen3-1.7B-Base.",
    )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model; NotFound if one that the index names is missing."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return sorted(folder.glob("*.safetensors"))
    names = set(_json(index).get("weight_map", {}).values())
    missing = sorted(n for n in names if not (folder / n).is_file())
    if missing:
        raise NotFound(
            f"{len(missing)} of {len(names)} weight files are missing, the first is {missing[0]}",
            where=str(folder),
            next="Download or save the model again.",
        )
    return sorted(folder / n for n in names)


def read_header(path: Path) -> dict[str, tuple[str, list[int]]]:
    """{tensor: (dtype, shape)} of a safetensors file. NotFound if it is cut off or not one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(_MAX_HEADER, size - 8):
            raise _broken(path)
        try:
            header = msgspec.json.decode(file.read(length), type=dict[str, dict[str, Any]])
        except msgspec.DecodeError as error:
            raise _broken(path) from error
    tensors = {k: v for k, v in header.items() if k != "__metadata__"}
    end = max((int(v["data_offsets"][1]) for v in tensors.values()), default=0)
    if 8 + length + end != size:
        raise _broken(path)
    return {k: (str(v["dtype"]), list(v["shape"])) for k, v in tensors.items()}


def _read(folder: Path) -> ModelCard:
    config = _config(folder)
    tokenizer = _tokenizer(folder)
    params, dtype = _weights(folder)
    tokenizer_config = read_tokenizer_config(folder)
    generation = _json(folder / "generation_config.json")
    text_config = cast("dict[str, Any]", config.get("text_config") or {})
    context = config.get("max_position_embeddings") or text_config.get("max_position_embeddings")
    eos = cast("dict[str, str] | str | None", tokenizer_config.get("eos_token"))
    card = ModelCard(
        path=str(folder),
        remote=False,
        params=params,
        architecture=str((config.get("architectures") or [""])[0]),
        model_type=str(config.get("model_type", "")),
        tokenizer=tokenizer,
        has_chat_template=bool(tokenizer_config.get("chat_template")),
        context_length=int(context) if context else None,
        dtype=dtype or str(config.get("dtype") or config.get("torch_dtype") or ""),
        eos_token=eos.get("content") if isinstance(eos, dict) else eos,
        samples_by_default=bool(generation.get("do_sample")),
    )
    return msgspec.structs.replace(card, problems=_problems(folder, card, generation))


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if path.is_file() and not (folder / "adapter_config.json").is_file():
        config = _json(path)
        if config.get("model_type") or config.get("architectures"):
            return config
        raise NotFound(
            "config.json names neither a model type nor an architecture",
            where=str(path),
            next="Use a folder written by save_pretrained.",
        )
    if (folder / "adapter_config.json").is_file():
        raise NotFound(
            "this is an adapter, not a whole model",
            where=str(folder),
            next="Merge it into its base first (peft: merge_and_unload) and save the result.",
        )
    raise NotFound(
        "no config.json in the model folder", where=str(folder), next="Use a folder written by save_pretrained."
    )


def _tokenizer(folder: Path) -> str:
    present = [name for name in _TOKENIZERS if (folder / name).is_file()]
    if not present:
        raise NotFound(
            "no tokenizer in the model folder",
            where=str(folder),
            next="Copy tokenizer.json and tokenizer_config.json of its base model into it.",
        )
    if present[0] != "tokenizer.json":
        return present[0]
    inner = cast("dict[str, Any]", _json(folder / present[0]).get("model") or {})
    kind = str(inner.get("type") or "unknown kind")
    return f"{kind}, {len(inner.get('vocab') or ()):,} tokens"


def _weights(folder: Path) -> tuple[int | None, str]:
    """(number of weights, most frequent type)."""
    files = weight_files(folder)
    if not files:
        if any(folder.glob("pytorch_model*.bin")):
            return None, ""
        raise NotFound(
            "no weights in the model folder",
            where=str(folder),
            next="Save the model with safetensors (save_pretrained).",
        )
    params, types = 0, dict[str, int]()
    for file in files:
        for kind, shape in read_header(file).values():
            count = math.prod(shape)
            params += count
            types[kind] = types.get(kind, 0) + count
    main = max(types, key=lambda k: types[k]) if types else ""
    return params, _BITS.get(main, main.lower())


def _problems(folder: Path, card: ModelCard, generation: dict[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    if not generation:
        found.append("no generation_config.json: evaluations choose the decoding themselves")
    if not card.has_chat_template:
        found.append("the tokenizer has no chat template")
    if card.eos_token is None:
        found.append("the tokenizer names no eos token: answers may never end")
    if any(p.is_symlink() for p in folder.iterdir()):
        found.append("some files are links: copy the folder with their contents before handing it in")
    if card.params is None:
        found.append("the weights are not in safetensors, so their number is unknown")
    return tuple(found)


def _json(path: Path) -> dict[str, Any]:
    """An object from a file; {} if it is not there; NotFound if it is not JSON."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise NotFound(f"{path.name} is not a JSON object: {error}", where=str(path), next="Save it again.") from error


def _broken(path: Path) -> NotFound:
    return NotFound(
        "the weights are cut off or no safetensors file",
        where=str(path),
        next="Download or save the model again; a full disk or a killed download leaves such files.",
    )
