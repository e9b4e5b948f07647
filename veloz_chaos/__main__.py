"""`veloz-chaos`, also as `python -m veloz_chaos`."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """The guardian is started within every run: it gets by without the command line's machinery.

    A run's own start is time that an incident pays for: hardly a collection while everything is imported, no search
    for plug-ins of pydantic.
    """
    gc.set_threshold(20_000, 20, 20)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    arguments = sys.argv[1:]
    if arguments[:1] == ["_guardian"] and len(arguments) == 2:
        from veloz_chaos.cli._guardian import guard

        sys.exit(guard(arguments[1]))
    if arguments == ["_workload"]:
        from veloz_chaos.cli._workload import place

        os._exit(place())
    from veloz_chaos.cli.app import start

    code = start(arguments)
    sys.stdout.flush()
    os._exit(code)  # everything is closed and flushed: taking the interpreter apart is no use to anybody


if __name__ == "__main__":
    main()
