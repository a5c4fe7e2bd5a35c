"""The command: ``python -m ddref``, or ``ddref`` where the package is installed."""

import sys


def main() -> int:
    """Run the command; returns the exit code."""
    try:
        from .command import main as run

        return run()
    except KeyboardInterrupt:  # before the command has begun
        print("ddref: interrupted; nothing was written", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
