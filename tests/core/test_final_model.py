"""What is said of a final_model before it counts as one that can be handed in."""

from __future__ import annotations

import shutil
from pathlib import Path

from core.evaluation.prompting import Decoding, Prompting
from core.final_model import looked_at, promote_folder

POCKET = Path(__file__).parents[2] / "core" / "pocket" / "addition"
CHAT = Prompting(template_path=str(POCKET / "templates" / "pocket.jinja"))


def test_a_promoted_model_has_the_evaluations_template_a_stop_token_and_no_links(tmp_path: Path) -> None:
    final = tmp_path / "final_model"
    promote_folder(str(POCKET / "base"), final, Decoding(max_new_tokens=8), [4], CHAT)
    assert looked_at(final, CHAT, []) == (
        True,
        [
            "loaded and evaluated by evaluate.py in a fresh process",
            "real files, full weights",
            "its chat template is pocket.jinja of the evaluation, byte for byte",
            "answers stop at token 4",
            "the evaluation's packages are as they were at the start",
        ],
    )


def test_another_template_and_links_are_no_submission(tmp_path: Path) -> None:
    final = tmp_path / "final_model"
    shutil.copytree(POCKET / "base", final)
    (final / "chat_template.jinja").write_text("{{ messages }}")
    ok, seen = looked_at(final, CHAT, ["vllm"])
    assert not ok
    assert "its chat template is not pocket.jinja of the evaluation, byte for byte" in seen
    assert "measured with packages that changed since the start: vllm" in seen
    shutil.copy(CHAT.template_path or "", final / "chat_template.jinja")
    assert looked_at(final, CHAT, [])[0]
    (final / "tokenizer.json").unlink()
    (final / "tokenizer.json").symlink_to(POCKET / "base" / "tokenizer.json")
    assert not looked_at(final, CHAT, [])[0]
