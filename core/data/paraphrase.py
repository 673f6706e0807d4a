"""Rows that say what an evaluation sample says in other words: a suspicion, by vectors of texts, where a model for them is here.

The model is a static one (a vector for each token, a text is their mean): no torch, some 30 MB, 20,000 rows in seconds. It
is the folder or Hub id in INTERN_EMBEDDER, else one of `KNOWN` that lies in the Hub's cache; nothing is fetched. A suspicion is
shown and refuses nothing: another question about the same thing looks alike. Two signs tell most of those apart: a
paraphrase keeps the numbers, and it resembles one sample far more than any other.

How much more is far is told by the data: how alike texts are depends on the model and on what they are about. Each cosine is
taken in standard deviations of those between the sample and all the texts here. By how much the most alike sample then
stands out from the next is, for texts that paraphrase none, about exponential (so is the space between the largest of many
draws: Rényi 1953), so that what one row in ten passes tells what hardly a row passes by chance.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.data.files import Data, stride
from core.data.flags import conclude, flag_rows
from core.data.schema import Concern
from core.errors import ToolError
from core.training.trust import local_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

KNOWN = (
    "minishlab/potion-base-32M", "minishlab/potion-base-8M", "minishlab/potion-retrieval-32M",
    "minishlab/potion-multilingual-128M", "sentence-transformers/static-similarity-mrl-multilingual-v1",
    "sentence-transformers/static-retrieval-mrl-en-v1",
)  # fmt: skip
NAME = "paraphrases"
BY_CHANCE = 1 / 200
"""Share of the rows that paraphrase no sample and are suspected all the same, numbers left aside."""
TAIL = 1 / 10
"""Share of the rows, those that stand out most, from where on the tail is reckoned: some data are of two kinds."""
FEWEST_TEXTS = 20
"""Texts, rows and samples, from which on what is usual can be told."""
ROWS, SAMPLES = 20_000, 5_000
"""Rows and samples compared at most, evenly spread."""
FEWEST_WORDS = 5
LONGEST = 2_000
"""Characters of a text that are read."""
_AT_ONCE = 512
_NEXT = 6
"""Samples looked at to find the next one that is another."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_TYPES = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}


class Embedder:
    """Vectors of texts from a token table. Raises ToolError for a folder that holds none."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        tokenizer = next(iter(sorted(folder.rglob("tokenizer.json"))), None)
        weights = next(iter(sorted(folder.rglob("*.safetensors"))), None)
        if tokenizer is None or weights is None:
            raise ToolError("This is no static embedding model: it needs tokenizer.json and one .safetensors", where=str(folder), next=_HOW)  # fmt: skip
        self._tokenizer: Any = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        tensors = _read(weights)
        tables = [t for t in tensors.values() if t.ndim == 2]
        if len(tables) != 1:
            raise ToolError(f"A static embedding model has one table, this has {len(tables)}", where=str(weights), next=_HOW)  # fmt: skip
        self._table = tables[0]
        self._rows = tensors.get("mapping")  # of a vocabulary whose tokens share rows
        self._weights = tensors.get("weights")

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """One row of length 1 a text; zeros where it has no known token."""
        import numpy as np

        encoded = self._tokenizer.encode_batch([t[:LONGEST] for t in texts], add_special_tokens=False)
        found = np.zeros((len(texts), self._table.shape[1]), np.float32)
        for at, one in enumerate(encoded):
            if one.ids:
                ids = np.asarray(one.ids)
                rows = self._table[self._rows[ids] if self._rows is not None else ids].astype(np.float32)
                found[at] = (rows * self._weights[ids, None] if self._weights is not None else rows).mean(axis=0)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return np.divide(found, lengths, out=np.zeros_like(found), where=lengths > 0)


_HOW = "Set INTERN_EMBEDDER to the folder of one, or leave it out"
MISSING = (
    "paraphrases of evaluation samples: no embedding model is here (INTERN_EMBEDDER: a folder, or the Hub id of a static one in "
    "the cache; such as: hf download minishlab/potion-base-8M)"
)


def find_embedder() -> Embedder | None:
    """The model a person named, else a known one that is here. Raises ToolError where the named one is not."""
    named = os.environ.get("INTERN_EMBEDDER", "").strip()
    if named:
        folder = local_folder(named)
        if folder is None:
            raise ToolError("The embedding model of INTERN_EMBEDDER is not here", where=named, next=f"{_HOW}; hf download NAME fetches one")  # fmt: skip
        return Embedder(folder)
    here = next((folder for name in KNOWN if (folder := local_folder(name)) is not None), None)
    return Embedder(here) if here is not None else None


def paraphrases(data: Data, texts: Sequence[str], embedder: Embedder) -> Concern | None:
    """Rows that may be evaluation samples in other words, beyond those that contamination found. Their own text is shown, never
    the sample's."""
    samples = [t.strip() for t in dict.fromkeys(texts) if len(t.split()) >= FEWEST_WORDS]
    samples = samples[:: stride(len(samples), SAMPLES)]
    rows = _rows(data)
    if not samples or not rows:
        return None
    if len(rows) + len(samples) < FEWEST_TEXTS:
        return None
    found = _found(rows, samples, embedder)
    flag_rows(data, NAME, found)
    said = "{n} rows ({share}) may be evaluation samples in other words: look at them"
    return conclude(data, NAME, said, len(rows))


def _found(rows: Sequence[tuple[int, str]], samples: Sequence[str], embedder: Embedder) -> list[tuple[int, str]]:
    """(number, note) of the rows that stand out, and keep the numbers of the sample that they resemble."""
    import numpy as np

    vectors = embedder.vectors(samples)
    batches = (rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE))
    mine = np.concatenate([embedder.vectors([text for _, text in batch]) for batch in batches])
    among = vectors @ vectors.T
    sums, squares = among.sum(axis=0) - 1, (among**2).sum(axis=0) - 1  # without the sample itself
    for start in range(0, len(mine), _AT_ONCE):
        cosines = mine[start : start + _AT_ONCE] @ vectors.T
        sums, squares = sums + cosines.sum(axis=0), squares + (cosines**2).sum(axis=0)
    texts = len(rows) + len(samples) - 1
    usual = sums / texts
    deviation = np.sqrt(np.maximum(squares / texts - usual**2, 1e-6))
    told = [_standing_out((own @ vectors.T - usual) / deviation, samples) for own in mine]
    far = float(np.quantile([out for _, out in told], 1 - TAIL)) * math.log(BY_CHANCE) / math.log(TAIL)
    return [
        (n, f"resembles a sample, by {out:.1f} deviations more than the next (usual: under {far:.1f})")
        for (n, text), (best, out) in zip(rows, told, strict=True)
        if out > far and _same_numbers(text, samples[best])
    ]


def _rows(data: Data) -> list[tuple[int, str]]:
    """(number, prompt, or answer where there is none) of evenly spread rows in which no sample was found."""
    known = {
        int(n) for (n,) in data.all("SELECT DISTINCT n FROM flags WHERE concern IN ('contaminated', 'overlap_alert')")
    }
    query = f"""SELECT n, coalesce(nullif(trim(prompt), ''), answer) FROM rows
        WHERE n % {stride(data.rows, ROWS)} = 0 AND coalesce(nullif(trim(prompt), ''), answer) IS NOT NULL ORDER BY n"""
    return [(int(n), text) for n, text in data.all(query) if int(n) not in known and len(text.split()) >= FEWEST_WORDS]


def _standing_out(scores: Vectors, samples: Sequence[str]) -> tuple[int, float]:
    """The sample that a text resembles most, and by how much more than the next other one."""
    import numpy as np

    nearest = np.argpartition(-scores, min(_NEXT, len(scores)) - 1)[:_NEXT]
    best, *others = sorted((int(i) for i in nearest), key=lambda i: -scores[i])
    # The question alone and the question with its answer are one sample in two forms.
    other = next((i for i in others if samples[i] not in samples[best] and samples[best] not in samples[i]), None)
    return best, float(scores[best] - (scores[other] if other is not None else 0.0))


def _same_numbers(one: str, other: str) -> bool:
    """Whether the digits of one text are among those of the other: a paraphrase may spell a number out."""
    few, many = Counter(_NUMBER.findall(one[:LONGEST])), Counter(_NUMBER.findall(other[:LONGEST]))
    if few.total() > many.total():
        few, many = many, few
    return few <= many and bool(few) == bool(many)


def _read(path: Path) -> dict[str, Any]:
    """The tensors of a .safetensors file (github.com/huggingface/safetensors: length, JSON header, data)."""
    import numpy as np

    try:
        raw = path.read_bytes()
        size = int.from_bytes(raw[:8], "little")
        header: dict[str, Any] = json.loads(raw[8 : 8 + size])
        found: dict[str, Any] = {}
        for name, told in header.items():
            if name != "__metadata__":
                begin, end = told["data_offsets"]
                kind = np.dtype(_TYPES[told["dtype"]])
                values = np.frombuffer(raw[8 + size + begin : 8 + size + end], kind)
                found[name] = values.reshape(told["shape"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ToolError(f"The embedding model cannot be read: {error}", where=str(path), next=_HOW) from error
    return found
