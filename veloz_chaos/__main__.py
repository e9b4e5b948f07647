"""`veloz-chaos`, also as `python -m veloz_chaos`."""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import FrameType


def main() -> None:
    """The guardian is started within every run: it gets by without the command line's machinery.

    A run's own start is time that an incident pays for: hardly a collection while everything is imported, no search
    for plug-ins of pydantic.
    """
    gc.set_threshold(20_000, 20, 20)
    _open_what_is_closed()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    arguments = sys.argv[1:]
    if arguments[:1] == ["_guardian"] and len(arguments) == 2:
        from veloz_chaos.cli._guardian import guard

        sys.exit(guard(arguments[1]))
    if arguments == ["_workload"]:
        from veloz_chaos.cli._workload import place

        os._exit(place())
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)
    from veloz_chaos.cli.app import start

    code = start(arguments)
    sys.stdout.flush()
    os._exit(code)  # everything is closed and flushed: taking the interpreter apart is no use to anybody


def _open_what_is_closed() -> None:
    """Whoever started us may have closed a standard stream. Nothing of ours may get its number: children get theirs by
    number, and the guardian would be without the lock that it inherits."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # the lowest number that is free is this one's
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def _end_at_once(number: int, _: FrameType | None) -> None:  # noqa: ARG001
    """Ctrl-C while all is being imported, where an exception may be lost or told as a traceback: nothing is begun yet.
    A command that has been found hears of it as KeyboardInterrupt."""
    os.write(2, b"interrupted\n")
    os._exit(5)


if __name__ == "__main__":
    main()
