"""The command: ``python -m ddref``, or ``ddref`` where the package is installed."""

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main())
