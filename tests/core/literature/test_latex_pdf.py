"""Full text from LaTeX and PDF over a loopback arXiv, after the better sources failed; hostile archives are refused."""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile

import pytest

from core.literature import latex_archive
from core.literature.errors import LiteratureError, SourceBroken
from core.literature.extract import extract, placed
from core.literature.latex_sections import parse_latex, parse_source
from core.literature.library import Literature
from core.literature.pdf_sections import parse_pdf
from tests.core.literature.conftest import Services
from tests.servers.loopback import Fault

FILLER = "The aviary was kept warm and quiet throughout. " * 60
MAIN = r"""\documentclass{article} % \begin{document} of a comment
\title{Teaching \emph{Parrots} to Count}
\begin{document}\maketitle
\begin{abstract} We teach parrots. \end{abstract}
\section{Introduction} Parrots count badly: 50\% of them. \input{method}
\appendix\section{Details} One perch. """
METHOD = r"""
\section{Method}\subsection[Short]{Setup} We train a 1.5B model with GRPO. GRPO uses AdamW with a learning rate of
$3\times10^{-6}$ and a batch size of 256.

A KL coefficient of 0.005 is used.
\begin{table}[t]\caption{Accuracy on \textbf{eggs}.}\begin{tabular}{l|cc}\toprule Model & Eggs & \multicolumn{1}{c}{Seeds} \\
\midrule Base parrot & 12.5 & 3.1 \\ \textbf{Ours} & \textbf{61.7} & 19.4 \\ \bottomrule\end{tabular}\end{table}
"""


def archive(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(f"{name}.tex")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def pdf(pages: list[list[str]]) -> bytes:
    """A plain PDF, one text line an item."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]  # fmt: skip
    for i, lines in enumerate(pages):
        text = "BT /F1 10 Tf 12 TL 50 750 Td " + " ".join(f"({line}) '" for line in lines) + " ET"
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents {5 + 2 * i} 0 R /Resources << /Font << /F1 3 0 R >> >> >>")  # fmt: skip
        objects.append(f"<< /Length {len(text)} >>\nstream\n{text}\nendstream")
    out, at = b"%PDF-1.4\n", list[int]()
    for number, one in enumerate(objects, start=1):
        at.append(len(out))
        out += f"{number} 0 obj\n{one}\nendobj\n".encode()
    table = "".join(f"{a:010d} 00000 n \n" for a in at)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return out + end.encode()


PAGES = [["1 Introduction", "Parrots count badly.", "2 Method", "2.1 Setup", "We use a learning rate of 3e-6 here."], ["3 Results", *[FILLER[:70]] * 40]]  # fmt: skip


def test_latex_is_used_where_no_page_has_the_text_and_every_value_stands_where_it_is_said(
    library: Literature, services: Services
) -> None:
    services.html.break_next(Fault(status=200, body=archive(main=MAIN + FILLER, method=METHOD)), 1, "/e-print/")
    services.html.break_next(Fault(status=404), 1, "/html/")
    text = library.read("3101.00003")
    assert text.source == "latex"
    assert [n.partition(":")[0] for n in text.notes] == ["hub", "arxiv-html", "ar5iv"]
    assert text.title == "Teaching Parrots to Count"
    assert [s.number for s in text.sections if s.number] == ["1", "2", "2.1", "A"]
    values, places = placed(extract(text), text)
    assert values["lr"] == pytest.approx(3e-6)
    assert places["lr"] == "Section 2.1 (Setup), paragraph 1"
    assert values["model_size"] == 1.5e9
    assert (values["baseline"], values["result"]) == (
        {"row": "Base parrot", "column": "Eggs", "value": 12.5},
        {"row": "Ours", "column": "Eggs", "value": 61.7},
    )
    assert places["result"].startswith("Table 1, row 'Ours', column 'Eggs'")
    assert values.keys() == places.keys()


def test_the_pdf_comes_after_latex_and_says_its_pages(library: Literature, services: Services) -> None:
    services.html.break_next(Fault(status=200, body=b"%PDF-1.4 no tex here"), 1, "/e-print/")
    services.html.break_next(Fault(status=200, body=pdf(PAGES), content_type="application/pdf"), 1, "/pdf/")
    text = library.read("3101.00003")
    assert text.source == "pdf"
    assert [s.label for s in text.sections] == ["Section 1 (Introduction, page 1)", "Section 2 (Method, page 1)", "Section 2.1 (Setup, page 1)", "Section 3 (Results, page 2)"]  # fmt: skip
    assert extract(text).findings[0].place == "Section 2.1 (Setup, page 1), paragraph 1"


@pytest.mark.parametrize(
    "data",
    [b"", b"\x1f\x8bnot gzip", archive(main="no document"), b"%PDF-1.4"],
    ids=["empty", "broken", "no document", "a pdf"],
)
def test_archives_that_are_no_source_are_refused(data: bytes) -> None:
    with pytest.raises(LiteratureError):
        parse_source(data, "u")


def test_an_archive_that_unpacks_to_far_more_than_a_paper_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latex_archive, "LARGEST", 100_000)
    with pytest.raises(SourceBroken, match="unpacks to over"):
        parse_source(gzip.compress(b"\0" * 3_000_000), "u")


def test_a_file_that_includes_itself_and_braces_without_end_do_no_harm() -> None:
    source = archive(main=r"\documentclass{a}\begin{document}" + FILLER + r"\input{main}\end{document}")
    assert parse_source(source, "u")[1]
    for hostile in ("{" * 5000, r"\begin{table}" * 3000, r"\section{" * 300):
        with contextlib.suppress(LiteratureError):
            parse_latex(r"\begin{document}" + hostile, "u")


def test_a_pdf_cut_or_scrambled_is_refused_not_fatal() -> None:
    whole = pdf(PAGES)
    for cut in range(0, len(whole), len(whole) // 12):
        with contextlib.suppress(SourceBroken):
            parse_pdf(whole[:cut], "u")
