"""The format is read from the tokenizer's files and evaluate.py; nothing heavy is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.evaluation.prompting import Prompting, choose_format, messages, read_tokenizer_config

CHAT = {"chat_template": "{{ messages }}"}
OWN = "prompt = tokenizer.apply_chat_template(chat); model.generate(prompt)"
PLAIN = "ids = tokenizer(question); model.generate(ids)"
READS = "parser.add_argument('--templates-dir')"


@pytest.mark.parametrize(
    ("config", "templates", "source", "name", "format", "template"),
    [
        (CHAT, [], OWN, "", "chat", None),
        ({}, [], OWN, "", "text", None),
        (CHAT, [], PLAIN, "", "text", None),
        (CHAT, [], "", "", "chat", None),
        (CHAT, [], "from evaluation_code import main; main()", "", "chat", None),
        (CHAT, ["t/only.jinja"], READS, "", "chat", "t/only.jinja"),
        (
            {},
            ["t/gemma3.jinja", "t/qwen3.jinja"],
            READS,
            "/models/Qwen3-1.7B Qwen3ForCausalLM",
            "chat",
            "t/qwen3.jinja",
        ),
        ({}, ["t/gemma3.jinja", "t/qwen3.jinja"], READS, "unknown", "text", None),
        (CHAT, ["t/only.jinja"], OWN.replace("chat_template", "chat"), "", "text", None),
        (CHAT, ["t/only.jinja"], "messages = [{'role': 'user'}]", "", "chat", None),
    ],
)
def test_format_and_template(
    config: dict[str, str], templates: list[str], source: str, name: str, format: str, template: str | None
) -> None:
    chosen = choose_format(config, templates, source, name)
    assert (chosen.format, chosen.template_path) == (format, template)
    assert chosen.reasons


def test_qwen_goes_before_llama_as_in_the_published_scripts() -> None:
    chosen = choose_format({}, ["t/llama.jinja", "t/qwen3.jinja"], READS, "/llama/qwen")
    assert chosen.template_path == "t/qwen3.jinja"


def test_the_template_may_lie_in_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "x"}))
    assert "chat_template" not in read_tokenizer_config(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("T")
    assert read_tokenizer_config(tmp_path) == {"eos_token": "x", "chat_template": "T"}
    (tmp_path / "tokenizer_config.json").write_text("{")
    assert read_tokenizer_config(tmp_path / "none") == {}
    assert read_tokenizer_config(tmp_path) == {"chat_template": "T"}


def test_examples_come_before_the_question_as_turns() -> None:
    turns = messages(Prompting(system="s", shots=(("q1", "a1"),)), "q", "a")
    assert [t["role"] for t in turns] == ["system", "user", "assistant", "user", "assistant"]
    assert messages(Prompting(), "q") == [{"role": "user", "content": "q"}]
