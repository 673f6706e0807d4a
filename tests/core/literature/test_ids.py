"""arXiv ids as people, pages and papers write them."""

from __future__ import annotations

import pytest

from core.literature.ids import find_arxiv_id, version_in


@pytest.mark.parametrize(
    "text",
    [
        "2402.03300", "2402.03300v3", "arXiv:2402.03300v3 [cs.CL]", "arxiv.2402.03300", "arxiv.org/abs/2402.03300",
        "https://arxiv.org/abs/2402.03300?context=cs", "https://arxiv.org/html/2402.03300v2#S3", "http://arxiv.org/pdf/2402.03300v1.pdf",
        "https://arxiv.org/abs/2402.03300/", "https://doi.org/10.48550/arXiv.2402.03300", "doi:10.48550/arXiv.2402.03300",
        "https://huggingface.co/papers/2402.03300", " https://ar5iv.labs.arxiv.org/html/2402.03300 ",
    ],
)  # fmt: skip
def test_every_form_of_an_id_is_known(text: str) -> None:
    assert find_arxiv_id(text) == "2402.03300"


@pytest.mark.parametrize(
    "text",
    ["hep-th/9901001", "hep-th/9901001v2", "https://arxiv.org/pdf/hep-th/9901001v1.pdf", "arXiv:hep-th/9901001 [hep-th]", "10.48550/arXiv.hep-th/9901001"],
)  # fmt: skip
def test_the_old_numbering_is_known(text: str) -> None:
    assert find_arxiv_id(text) == "hep-th/9901001"


def test_an_old_id_has_one_form_with_and_without_its_class() -> None:
    assert find_arxiv_id("math.GT/0309136v1") == find_arxiv_id("math/0309136") == "math/0309136"


@pytest.mark.parametrize(
    "text",
    ["", None, "see 2402.03300 for more", "10.1145/3292500", "2402.033001", "1.5", "https://example.org/abs/", "x" * 5000, "2402.03300 2402.03301"],
)  # fmt: skip
def test_what_is_no_id_is_none(text: str | None) -> None:
    assert find_arxiv_id(text) is None


@pytest.mark.parametrize(
    ("text", "version"),
    [("2402.03300v2", "v2"), ("https://arxiv.org/pdf/2402.03300v12.pdf", "v12"), ("hep-th/9901001v3", "v3"), ("2402.03300", ""), ("v2", "")],
)  # fmt: skip
def test_a_version_is_told_apart(text: str, version: str) -> None:
    assert version_in(text) == version
