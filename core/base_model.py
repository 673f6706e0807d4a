"""Which model a task's text is about: the one base that may be trained, among data sets, siblings, files and examples.

Every mention is weighed by what its clause speaks of. A folder counts where a model is in it; a Hub id by its form; a name
without its owner only where neither is there, by the models of the local cache and the owners of known families.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from core.hub.cache import hub_cache

_ID = re.compile(r"(?<![\w./~-])([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?![\w/-])")
"""A Hub id, `owner/name`."""
_PATH = re.compile(r"(?<![\w.~:/-])((?:~|\.{1,2})?/[\w./+=@-]*[\w-]|[\w-][\w.+=@-]*(?:/[\w.+=@-]+)+)")
_QUOTED = re.compile(r"[`\"“]([^`\"“”\n]{1,300})[`\"”]|(?<!\w)'([^'\n]{1,300})'(?!\w)")
_NAME = re.compile(r"(?<![\w./-])([A-Za-z][\w.]*(?:-[\w.]+)+|[A-Za-z]+\d[\w.]*)(?![\w/-])")
"""A model's name without its owner: `Qwen3-1.7B-Base`, `gpt2`."""
_ABOUT_MODEL = re.compile(r"\b(train|base|model|llm|fine-?tun|improv|post-?train)", re.IGNORECASE)
_ABOUT_OTHER = re.compile(
    r"\b(dataset|data set|do not|don't|must not|may not|never|e\.g\.|for example|such as|instruct version)",
    re.IGNORECASE,
)
_DATA = re.compile(r"\b(data|datasets?|corpus|corpora|splits?|test set)\b", re.IGNORECASE)
_OWNERS = {
    "qwen": "Qwen", "smollm": "HuggingFaceTB", "gemma": "google", "llama": "meta-llama", "olmo": "allenai",
    "phi": "microsoft", "pythia": "EleutherAI", "mistral": "mistralai", "ministral": "mistralai",
}  # fmt: skip
"""Who publishes a family of base models, where a text gives the name alone."""
OURS = ("final_model", "templates", "evaluation_code")
"""Folders of a task that hold no base; `final_model` is what a run before this one left."""


def read_model(prompt: str, folder: Path) -> str | None:
    """The base model: the path or Hub id that the text is about; a path has to hold a config.json."""
    scores: dict[str, float] = {}
    for clause in clauses(prompt):
        weight = 1.0 + 2.0 * bool(_ABOUT_MODEL.search(clause)) - 2.5 * bool(_ABOUT_OTHER.search(clause))
        for found in _folders(clause, folder):
            scores[found] = scores.get(found, 0.0) + weight + 3.0
        for match in _ID.finditer(clause):
            name = match[1].rstrip(".")
            if (folder / name).exists() or (folder / name.split("/")[0]).exists() or _is_no_model(name):
                continue
            beside = clause[max(match.start() - 25, 0) : match.end() + 25]
            scores[name] = scores.get(name, 0.0) + weight - 2.5 * bool(_DATA.search(beside))
    best = max(scores, key=lambda name: scores[name], default=None)
    if best is not None and scores[best] > 0:
        return best
    bare = _bare(prompt)
    return bare or (best if len(scores) == 1 and "/" in prompt and not _only_data(prompt, best) else None)


def named_path(prompt: str) -> str:
    """A path that the text names as a model though none is there: for the message that says so."""
    for clause in clauses(prompt):
        if _ABOUT_MODEL.search(clause):
            for found in re.findall(r"(?<![\w.~-])(~?/[\w./+=@-]*[\w-])", clause):
                if not re.search(r"\.\w{1,5}$", found) and Path(found).name not in OURS:
                    return found
    return ""


def clauses(text: str) -> Iterator[str]:
    """Sentences and lines, without addresses."""
    plain = re.sub(r"https?://\S+", " ", text)
    kept = re.sub(r"\b(e\.g|i\.e|vs|etc)\. ", r"\1._", plain)
    for clause in re.split(r"\n|(?<=[.;!?])\s+", kept):
        if clause.strip():
            yield re.sub(r"\b(e\.g|i\.e|vs|etc)\._", r"\1. ", clause)


def _folders(clause: str, folder: Path) -> Iterator[str]:
    """Folders with a model in them that a clause names, absolute; any characters in a name that is quoted."""
    quoted = [a or b for a, b in _QUOTED.findall(clause)]
    named = [*_PATH.findall(clause), *quoted]
    seen: set[Path] = set()
    for name in named:
        try:
            path = folder / Path(name.strip()).expanduser()
            there = (path / "config.json").is_file()
        except (OSError, RuntimeError, ValueError):
            continue  # too long for a name, or the home of nobody
        real = path.resolve() if there else path
        if there and real not in seen and not any(real.is_relative_to(folder.resolve() / ours) for ours in OURS):
            seen.add(real)
            yield str(path)


def _is_no_model(name: str) -> bool:
    """`and/or`, `1/2`, `templates/x.jinja`, `evaluate.py`: what looks like an id and is none."""
    owner, model = name.split("/")
    file = re.search(r"\.(py|sh|json|jsonl|jinja|md|txt|csv|parquet|toml|yaml)$", model)
    return bool(file) or owner.isdigit() or (len(owner) + len(model) < 8 and not re.search(r"\d", model))


def _only_data(prompt: str, name: str | None) -> bool:
    """Every mention of a name stands beside words about data."""
    around = [prompt[max(m.start() - 25, 0) : m.end() + 25] for m in re.finditer(re.escape(name or ""), prompt)]
    return all(_DATA.search(text) for text in around)


def _bare(prompt: str) -> str | None:
    """A name without an owner that is in the local cache, or of a family whose owner is known."""
    cached = {p.name.split("--")[-1].lower(): p.name.split("--") for p in hub_cache().glob("models--*--*")}
    for clause in clauses(prompt):
        if not _ABOUT_MODEL.search(clause) or _ABOUT_OTHER.search(clause):
            continue
        for name in _NAME.findall(clause):
            known = cached.get(name.rstrip(".").lower())
            if known:
                return "/".join(known[1:])
            family = re.match(r"[A-Za-z]+", name)
            owner = _OWNERS.get(family[0].lower()) if family else None
            if owner and re.search(r"\d", name):
                return f"{owner}/{name.rstrip('.')}"
    return None
