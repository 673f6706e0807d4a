"""How a question becomes the text a model sees.

A model is judged through the evaluation's template, so training and sampling must use the same one, byte for byte.
`choose_format` finds out which from the tokenizer's files and the text of evaluate.py alone (no transformers);
`render` applies it with the tokenizer at hand.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

FAMILIES = ("qwen", "llama", "gemma", "smollm")
"""Searched in this order by PostTrainBench's evaluate.py in the model's path and architecture."""


class Prompting(msgspec.Struct, frozen=True, kw_only=True):
    """How prompts are written for one model and one evaluation."""

    format: Literal["chat", "text"] = "chat"
    template_path: str | None = None
    """A jinja file used instead of the tokenizer's own chat template."""
    system: str | None = None
    shots: tuple[tuple[str, str], ...] = ()
    """Worked examples (prompt, answer) put before the question."""
    reasons: tuple[str, ...] = ()
    """Why this format was chosen, for a person to check."""


class Decoding(msgspec.Struct, frozen=True, kw_only=True):
    """How answers are drawn."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    """0 is greedy."""
    shots: int = 0
    template: str | None = None


def render(tokenizer: Any, prompting: Prompting, prompt: str) -> str:
    """The full text before the answer, special tokens included: tokenize it with `add_special_tokens=False`.

    `tokenizer` is a transformers tokenizer; `prompt` the question as the data has it.
    """
    if prompting.format == "text":
        return _bos(tokenizer) + _plain(prompting, prompt)
    return _chat(tokenizer, messages(prompting, prompt), _template(prompting))


def messages(prompting: Prompting, prompt: str, answer: str | None = None) -> list[dict[str, str]]:
    """The conversation for a chat template: system, worked examples, the question and, for training, its answer."""
    turns: list[dict[str, str]] = []
    if prompting.system:
        turns.append({"role": "system", "content": prompting.system})
    for question, reply in (*prompting.shots, (prompt, answer)):
        turns.append({"role": "user", "content": question})
        if reply is not None:
            turns.append({"role": "assistant", "content": reply})
    return turns


def read_tokenizer_config(model_path: str | Path) -> dict[str, Any]:
    """tokenizer_config.json with `chat_template` filled in from chat_template.jinja, where newer versions keep it.

    An absent or broken file gives an empty mapping: `core.tasks.check_model` is what complains about it.
    """
    folder = Path(model_path)
    config: dict[str, Any] = {}
    with contextlib.suppress(OSError, msgspec.DecodeError):
        config = msgspec.json.decode((folder / "tokenizer_config.json").read_bytes(), type=dict[str, Any])
    template = folder / "chat_template.jinja"
    if template.is_file():
        config["chat_template"] = template.read_text(encoding="utf-8", errors="replace")
    return config


def choose_format(
    tokenizer_config: Mapping[str, Any],
    templates: Sequence[str | Path],
    evaluate_source: str,
    model_name: str = "",
) -> Prompting:
    """The format the evaluation most likely uses, with the reasons.

    `templates`: the task's jinja files; `evaluate_source`: the text of evaluate.py ("" if unknown); `model_name`: the
    model's path and architecture, by which some evaluations pick among several templates.
    """
    own = bool(tokenizer_config.get("chat_template"))
    reasons = ["the tokenizer has a chat template" if own else "the tokenizer has no chat template"]
    files = [str(t) for t in templates]
    if files and _reads_templates(evaluate_source):
        reasons.append("evaluate.py reads templates/")
        chosen = _pick(files, model_name, str(tokenizer_config.get("tokenizer_class", "")))
        if chosen:
            reasons.append(f"{Path(chosen).name} fits the model best")
            return Prompting(format="chat", template_path=chosen, reasons=tuple(reasons))
        reasons.append("no file in templates/ names the model's family")
    if own and _speaks_chat(evaluate_source):
        return Prompting(format="chat", reasons=(*reasons, "evaluate.py speaks of chat messages"))
    if own and not evaluate_source:
        return Prompting(format="chat", reasons=(*reasons, "the text of evaluate.py is unknown"))
    if own and not _generates_itself(evaluate_source):
        return Prompting(format="chat", reasons=(*reasons, "evaluate.py leaves the prompt to a library"))
    reasons.append("evaluate.py shows no sign of chat messages" if own else "so the prompt is given as it is")
    return Prompting(format="text", reasons=tuple(reasons))


def _speaks_chat(source: str) -> bool:
    return (
        re.search(r"apply_chat_template|chat[._]completions|chat_template|\.chat\(|[\"']role[\"']", source) is not None
    )


def _reads_templates(source: str) -> bool:
    return re.search(r"templates[-_]dir|chat[-_]template|templates/", source) is not None


def _generates_itself(source: str) -> bool:
    return re.search(r"\.generate\(", source) is not None


def _pick(files: Sequence[str], model_name: str, tokenizer_class: str) -> str | None:
    """The only template, or the one of the first family named in the model's path, architecture or tokenizer."""
    if len(files) == 1:
        return files[0]
    haystack = f"{model_name} {tokenizer_class}".lower()
    for family in FAMILIES:
        if family in haystack:
            return next((f for f in files if family in Path(f).stem.lower()), None)
    return None


def _template(prompting: Prompting) -> str | None:
    if prompting.template_path is None:
        return None
    return Path(prompting.template_path).read_text(encoding="utf-8")


def _chat(tokenizer: Any, turns: list[dict[str, str]], template: str | None) -> str:
    from jinja2.exceptions import TemplateError

    options = {"tokenize": False, "add_generation_prompt": True}
    if template is not None:
        options["chat_template"] = template  # type: ignore[assignment]
    try:
        return tokenizer.apply_chat_template(turns, **options)
    except TemplateError:
        if turns[0]["role"] != "system":
            raise
        # Some templates (Gemma's) know no system role: say it at the head of the first question instead.
        first = {"role": "user", "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
        return tokenizer.apply_chat_template([first, *turns[2:]], **options)


def _plain(prompting: Prompting, prompt: str) -> str:
    """Zero-shot: the prompt as it is. With examples: blocks of question, newline, answer, between blank lines."""
    head = f"{prompting.system}\n\n" if prompting.system else ""
    if not prompting.shots:
        return head + prompt
    return head + "".join(f"{q}\n{a}\n\n" for q, a in prompting.shots) + f"{prompt}\n"


def _bos(tokenizer: Any) -> str:
    """The start token as text, if this tokenizer puts one before plain text."""
    ids = tokenizer("").input_ids  # any text would do, but a small vocabulary may lack its letters
    starts = tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
    return tokenizer.bos_token if starts else ""
