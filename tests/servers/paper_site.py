"""The HTML of papers as LaTeXML writes it: stands for arxiv.org/html and for ar5iv.

`kind="ar5iv"` sends papers it has not converted to the abstract page, as ar5iv does; arXiv answers 404.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from tests.servers.loopback import Answer, Loopback, Request
from tests.servers.papers import HOSTILE, PAPERS

_PAGE = Path(__file__).with_name("paper.html").read_text("utf-8")
HTML = _PAGE.replace("@HOSTILE@", escape(HOSTILE)).replace("@PADDING@", "The aviary was kept warm and quiet. " * 70)


class PaperSite(Loopback):
    """Serves `/html/<id>` for the ids in `converted`."""

    def __init__(self, kind: str = "arxiv", converted: tuple[str, ...] = ("3101.00001",)) -> None:
        super().__init__()
        self.kind = kind
        self.converted = converted

    def respond(self, request: Request) -> Answer:
        paper_id = request.path.removeprefix("/html/")
        if request.path.startswith("/html/") and paper_id in self.converted:
            return Answer(HTML.encode(), content_type="text/html; charset=utf-8")
        if request.path.startswith("/abs/") and request.path.removeprefix("/abs/") in PAPERS:
            return Answer(b"<html><h1>An abstract page</h1></html>", content_type="text/html")
        if self.kind == "ar5iv" and request.path.startswith("/html/"):
            return Answer(status=307, headers={"Location": f"/abs/{paper_id}"})
        return Answer(b"not found", 404, "text/plain")
