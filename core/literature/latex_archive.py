"""The TeX of a paper out of what arXiv's e-print address sends: a gzipped tar, one gzipped file, or a PDF (then there is none).

Nothing is written to the disk, links are not followed, and sizes are bounded before anything is unpacked.
"""

from __future__ import annotations

import gzip
import io
import posixpath
import re
import tarfile
import zlib

from core.literature.errors import PaperMissing, SourceBroken

LARGEST = 5_000_000
"""Bytes of TeX that are unpacked at most; a paper has some 0.1-2 MB."""
MOST_INPUTS = 200
_INPUT = re.compile(
    r"\\(?:input|include|subfile)\s*\{\s*([^{}\n]{1,200}?)\s*\}|\\input\s+([\w./-]{1,200})"
    r"|\\(?:sub)?(?:import|inputfrom|includefrom)\*?\s*\{([^{}\n]{0,200})\}\s*\{\s*([^{}\n]{1,200}?)\s*\}"
)
_COMMENT = re.compile(r"(?<!\\)(?:\\\\)*%.*")


def read_source(data: bytes, url: str) -> str:
    """The main file with its inputs in place and comments gone. Raises PaperMissing for a paper without TeX."""
    if data.startswith(b"%PDF"):
        raise PaperMissing("the source is a PDF", where=url, next="Use another source.")
    files = _unpack(data, url)
    main = _main(files)
    if main is None:
        raise PaperMissing("no TeX file with a document", where=url, next="Use another source.")
    return _flat(files, main, [0, 0])


def _unpack(data: bytes, url: str) -> dict[str, str]:
    try:
        plain = _inflated(data, url) if data.startswith(b"\x1f\x8b") else data
        try:
            return _members(tarfile.open(fileobj=io.BytesIO(plain)))
        except tarfile.ReadError:
            return {"main.tex": _text(plain)}
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:  # ValueError: a header's odd numbers
        raise SourceBroken(f"the source archive is broken: {error}", where=url, next="Use another source.") from error


def _inflated(data: bytes, url: str) -> bytes:
    """At most `LARGEST` bytes more than figures need: a bomb is refused, not unpacked."""
    limit = 20 * LARGEST
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
        plain = packed.read(limit + 1)
    if len(plain) > limit:
        raise SourceBroken(f"the source unpacks to over {limit:,} bytes", where=url, next="Use another source.")
    return plain


def _members(archive: tarfile.TarFile) -> dict[str, str]:
    files: dict[str, str] = {}
    size = 0
    for member in archive:
        if not member.isfile() or not member.name.lower().endswith((".tex", ".ltx", ".latex")):
            continue
        size += member.size
        content = archive.extractfile(member)
        if size > LARGEST or content is None:
            break
        files[posixpath.normpath(member.name)] = _text(content.read())
    return files


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # older papers; every byte is a character there


def _main(files: dict[str, str]) -> str | None:
    """The file with the document: the one that declares a class, the largest of several with its inputs."""
    bare = {name: _COMMENT.sub("", text) for name, text in files.items()}
    whole = [n for n, t in bare.items() if r"\begin{document}" in t and re.search(r"\\document(class|style)", t)]
    candidates = whole or [n for n, t in bare.items() if r"\begin{document}" in t]
    return max(candidates, key=lambda n: len(_flat(files, n, [0, 0])), default=None)


def _flat(files: dict[str, str], name: str, used: list[int], above: frozenset[str] = frozenset()) -> str:
    """The file with its inputs in place, at most `MOST_INPUTS` in all (one large file input over and over would fill the
    memory: hence `LARGEST` too), and never a file within itself. `used`: inputs and characters so far."""

    def include(match: re.Match[str]) -> str:
        wanted = match.group(1) or match.group(2) or posixpath.join(match.group(3).strip(), match.group(4))
        beside = posixpath.join(posixpath.dirname(name), wanted)  # as the import package reads it
        paths = [posixpath.normpath(one) for one in (wanted, f"{wanted}.tex", beside, f"{beside}.tex")]
        found = next((n for n in paths if n in files), None)
        used[0] += 1
        if found is None or found in above or found == name or used[0] > MOST_INPUTS or used[1] > LARGEST:
            return ""
        return _flat(files, found, used, above | {name})

    used[1] += len(files[name])
    return _INPUT.sub(include, _COMMENT.sub("", files[name]))
