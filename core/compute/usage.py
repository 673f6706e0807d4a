"""What a job used and cost: GPU-hours by what it was given, dollars by the price it was launched at."""

from __future__ import annotations

from pathlib import Path

import msgspec

from core.compute.protocol import Quote


def dollars(usd: float) -> str:
    """`$1.20`; of less than a cent two digits that say something (`$0.0032`): small is not nothing."""
    return f"${usd:.2f}" if usd >= 0.01 or usd <= 0 else f"${float(f'{usd:.2g}'):.6f}".rstrip("0")


def in_words(gpus: int, seconds: float, usd: float) -> str:
    """`0.42 GPU-hours, $1.20`; empty where a job held no GPU and cost nothing."""
    used = [f"{gpu_hours(gpus, seconds):.2f} GPU-hours"] if gpus else []
    return ", ".join([*used, *([dollars(usd)] if usd else [])])


def gpu_hours(gpus: int, seconds: float) -> float:
    """GPUs held x hours held, used or not: that is what is paid for."""
    return gpus * seconds / 3600


def charge(folder: Path, seconds: float) -> tuple[float, str]:
    """Dollars a job cost and the reckoning in words; (0, "") where it ran for nothing. Reads quote.json of its folder.

    A job whose seconds are not known is charged up to its time-out: never less than what may have been owed.
    """
    try:
        quote = msgspec.json.decode((folder / "quote.json").read_bytes(), type=Quote)
    except FileNotFoundError:
        return 0.0, ""
    billed = min(seconds, quote.timeout_s * quote.attempts) if seconds else quote.timeout_s * quote.attempts
    usd = quote.usd_per_hour * billed / 3600
    return usd, f"{quote.flavor}, {billed / 60:.1f} min at {dollars(quote.usd_per_hour)}/h"
