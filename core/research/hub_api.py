"""The Hub's own description of its API: which calls answer a question, and what each takes.

The description is OpenAPI and large; only the calls that fit are told, without the schemas of their answers.
"""

from __future__ import annotations

import msgspec

from core.errors import ToolError
from core.hub.hosts import endpoint
from core.literature.errors import PaperMissing, SourceBroken
from core.literature.rank import Index, words
from core.literature.web import Web
from core.research.reach import check_address

DESCRIPTION = "/.well-known/openapi.json"
METHODS = ("get", "post", "put", "patch", "delete")


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the API."""

    method: str
    path: str
    about: str
    parameters: tuple[str, ...]
    """`name (where it goes, type)`, with a `*` where the call needs it."""
    body: tuple[str, ...] = ()
    """Fields of the JSON body, marked likewise."""
    score: float = 0.0


class _Schema(msgspec.Struct):
    type: object = ""
    properties: dict[str, object] = {}
    required: list[str] = []


class _Parameter(msgspec.Struct):
    name: str = ""
    where: str = msgspec.field(name="in", default="")
    required: bool = False
    schema: _Schema = msgspec.field(default_factory=_Schema)


class _Content(msgspec.Struct):
    schema: _Schema = msgspec.field(default_factory=_Schema)


class _Body(msgspec.Struct):
    content: dict[str, _Content] = {}


class _Operation(msgspec.Struct):
    summary: str = ""
    description: str = ""
    tags: list[str] = []
    parameters: list[_Parameter] = []
    requestBody: _Body = msgspec.field(default_factory=_Body)


class _Described(msgspec.Struct):
    paths: dict[str, dict[str, msgspec.Raw]]


def search_api(web: Web, query: str, limit: int = 8) -> list[Call]:
    """Calls whose path, summary or parameters fit, best first. Raises ToolError, LiteratureError."""
    address = f"{endpoint()}{DESCRIPTION}"
    try:
        reply = web.get(address, check=check_address)
        described = msgspec.json.decode(reply.body, type=_Described)
        calls = [
            _call(method, path, msgspec.json.decode(raw, type=_Operation))
            for path, operations in described.paths.items()
            for method, raw in operations.items()
            if method in METHODS
        ]
    except PaperMissing as error:
        raise ToolError("This Hub does not describe its API", where=address, next="search_docs in the library hub") from error  # fmt: skip
    except msgspec.MsgspecError as error:
        raise SourceBroken(f"not an OpenAPI description: {error}", where=address, next="Try again later.") from error
    texts = [words(f"{c.about} {c.about} {c.path.replace('/', ' ')} {' '.join(c.parameters)}") for c in calls]
    ranked = sorted(zip(Index(texts).scores(query), calls, strict=True), key=lambda pair: (-pair[0], pair[1].path))
    return [msgspec.structs.replace(c, score=round(s, 3)) for s, c in ranked[:limit] if s > 0]


def _call(method: str, path: str, told: _Operation) -> Call:
    about = " ".join(f"{told.summary}. {told.description}. {' '.join(told.tags)}".split()).strip(". ")
    body = told.requestBody.content.get("application/json", _Content()).schema
    return Call(
        method=method.upper(), path=path, about=about[:400],
        parameters=tuple(f"{p.name}{'*' * p.required} ({p.where}, {p.schema.type or 'any'})" for p in told.parameters),
        body=tuple(f"{name}{'*' * (name in body.required)}" for name in body.properties),
    )  # fmt: skip
