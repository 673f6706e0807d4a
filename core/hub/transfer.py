"""Transfers with the Hub's client where Xet, its storage protocol for large files, does not get through: once more without.

huggingface_hub takes Xet whenever hf_xet is installed and has no way back by itself. Against a server that knows no Xet, or
a network that lets the Hub through and not its storage servers, hf_xet tries for minutes and gives up: a ConnectionError of
an upload, a bare RuntimeError of a download (huggingface_hub 2.4.0; 170 s where the server answers 404). Plain Git LFS and HTTP go through the Hub's own address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def or_without_xet(transfer: Callable[[], T]) -> T:
    """What `transfer` returns; where its Xet fails, it is carried out again without Xet, as are all later ones of this process.

    Raises what `transfer` raises: the Hub's refusals at once, a connection's failure after the second try.
    """
    from huggingface_hub import constants

    try:
        return transfer()
    except (
        ConnectionError,
        RuntimeError,
    ):  # hf_xet's, of uploads and downloads; where the Hub itself does not answer the client raises its own kind
        if constants.HF_HUB_DISABLE_XET:
            raise
    constants.HF_HUB_DISABLE_XET = True  # read at every transfer
    return transfer()
