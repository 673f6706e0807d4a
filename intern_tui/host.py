"""`python -P -m intern_tui.host <run folder>`: the detached host process of one run."""

from __future__ import annotations

import signal
import sys
import traceback
from pathlib import Path


def main(argv: list[str]) -> int:
    """Run the host. Its output goes to host.log in the run's folder; errors end there in one line a person can act on."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # losing the terminal is no reason to stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from core.errors import InternError
    from core.host import host
    from store.errors import StoreError

    try:
        return host(Path(argv[0]))
    except (InternError, StoreError) as error:
        print(error, flush=True)
        return getattr(error, "exit_code", 3)
    except Exception:  # noqa: BLE001 - the last line of defence: a bug must leave its trace in host.log, not vanish
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
