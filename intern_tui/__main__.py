"""`python -m intern_tui` is `intern`."""

import sys

from intern_tui.cli import main

if __name__ == "__main__":
    sys.exit(main())
