"""`veloz-chaos`, also as `python -m veloz_chaos`."""

from __future__ import annotations

import sys


def main() -> None:
    """The guardian is started within every run: it gets by without the command line's machinery."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["_guardian"] and len(arguments) == 2:
        from veloz_chaos.cli._guardian import guard

        sys.exit(guard(arguments[1]))
    from veloz_chaos.cli.app import start

    sys.exit(start(arguments))


if __name__ == "__main__":
    main()
