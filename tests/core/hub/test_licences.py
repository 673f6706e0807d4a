"""What a licence asks, where it is stated, and what follows for a model made from several: never more than is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.hub.licences import follows, is_open, stated_by_hub, stated_in, terms, warning


@pytest.mark.parametrize(
    ("licence", "asked"),
    [
        ("apache-2.0", ("open",)),
        ("MIT", ("open",)),
        ("cc-by-4.0", ("open",)),
        ("bsd-3-clause", ("open",)),
        ("cdla-permissive-2.0", ("open",)),
        ("cc-by-sa-3.0", ("share-alike",)),
        ("gpl-3.0", ("share-alike",)),
        ("cc-by-nc-4.0", ("non-commercial",)),
        ("cc-by-nc-sa-4.0", ("share-alike", "non-commercial")),
        ("cc-by-nc-nd-4.0", ("non-commercial", "no-derivatives")),
        ("CC BY-NC 4.0", ("non-commercial",)),
        ("llama3.2", ("own terms",)),
        ("gemma", ("own terms",)),
        ("other (qwen-research)", ("own terms",)),
        ("other", ("own terms",)),
        ("openrail", ("own terms",)),
        ("mit-no-attribution-but-not-really", ("own terms",)),
        ("", ("unknown",)),
        ("unknown", ("unknown",)),
        ("mit, cc-by-nc-4.0", ("non-commercial",)),
        ("mit, apache-2.0", ("open",)),
        ("mit, ", ("unknown",)),
    ],
)
def test_what_a_licence_asks(licence: str, asked: tuple[str, ...]) -> None:
    assert terms(licence) == asked
    assert is_open(licence) == (not warning(licence))


def test_a_licence_that_is_not_recognised_is_never_open() -> None:
    for name in ("apache-2.0-with-a-clause", "not mit", "cc-by-4.0-custom", "free for all", "x" * 200):
        assert not is_open(name), name


def test_the_hub_states_it_in_tags_and_names_own_terms_in_the_card() -> None:
    assert stated_by_hub(["task:x", "license:mit"]) == "mit"
    assert stated_by_hub(["license:mit", "license:cc-by-nc-4.0"]) == "mit, cc-by-nc-4.0"
    assert stated_by_hub(["license:other"], {"license_name": "tulu-terms"}) == "other (tulu-terms)"
    assert stated_by_hub(["license:other"], {"license_name": ["odd"]}).startswith("other")
    assert stated_by_hub(["region:us"]) == ""


@pytest.mark.parametrize(
    ("readme", "found"),
    [
        ("---\nlicense: apache-2.0\n---\n# A", "apache-2.0"),
        ("---\ntags:\n- x\nlicense: 'cc-by-4.0'  # so it is\n---\n", "cc-by-4.0"),
        ("---\nlicense:\n- mit\n- cc-by-nc-4.0\nlanguage:\n- en\n---\n", "mit, cc-by-nc-4.0"),
        ("---\nlicense: [mit, apache-2.0]\n---\n", "mit, apache-2.0"),
        ("---\nlicense: other\nlicense_name: llama3\n---\n", "other (llama3)"),
        ("---\r\nlicense: mit\r\n---\r\n", "mit"),
        ("---\nlicense:\nlanguage: en\n---\n", ""),
        ("# no front matter\nlicense: mit\n", ""),
        ("", ""),
    ],
)
def test_front_matter_of_a_readme(tmp_path: Path, readme: str, found: str) -> None:
    (tmp_path / "README.md").write_bytes(readme.encode())
    assert stated_in(tmp_path) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "                                 Apache License\n                           Version 2.0, January 2004\n",
            "apache-2.0",
        ),
        ("MIT License\n\nCopyright (c) 2031 A\n", "mit"),
        ("GNU GENERAL PUBLIC LICENSE\nVersion 3\n", "gpl"),
        ("Attribution-NonCommercial 4.0 International\n", "Attribution-NonCommercial 4.0 International"),
        ("LLAMA 3 COMMUNITY LICENSE AGREEMENT\n", "LLAMA 3 COMMUNITY LICENSE AGREEMENT"),
        ("\x1b]0;x\x07Evil\n", "]0;xEvil"),
    ],
)
def test_a_licence_file(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "LICENSE.txt").write_text(text)
    assert stated_in(tmp_path) == found
    assert not is_open(found) or found in ("apache-2.0", "mit")


def test_nothing_is_stated_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "LICENSES").mkdir()
    assert stated_in(tmp_path) == ""
    assert stated_in(tmp_path / "nowhere") == ""


def test_what_follows_for_a_model() -> None:
    assert follows("apache-2.0", ["mit", "cc-by-4.0"]) == "apache-2.0"
    assert follows("llama3.2", []) == "llama3.2"
    assert follows("cc-by-nc-4.0", ["mit"]) == "cc-by-nc-4.0"
    for base, data in (
        ("", ["mit"]),
        ("other", []),
        ("other (x)", []),
        ("cc-by-nd-4.0", []),
        ("mit, gpl-3.0", []),
        ("apache-2.0", ["mit", ""]),
        ("apache-2.0", ["cc-by-nc-4.0"]),
        ("apache-2.0", ["cc-by-sa-4.0"]),
        ("LLAMA 3 COMMUNITY LICENSE AGREEMENT", []),
    ):
        assert follows(base, data) == "", (base, data)
