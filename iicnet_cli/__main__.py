"""``python -m iicnet_cli``, and the console script ``iicnet``.

Loading this module loads next to nothing and answers Ctrl-C at once, before the rest has loaded.
"""

from __future__ import annotations

# signal itself loads enum, which takes longer than all of the rest here.
import _signal  # type: ignore[import-not-found]
import os

_INTERRUPTED = 130
"""The exit status of a program that Ctrl-C has ended."""


def leave_at_once(*_: object) -> None:
    """Answer Ctrl-C where there is nothing to clean up.

    Before a command starts and after it has ended, ``KeyboardInterrupt`` would be raised in the
    middle of an import or of Python's own end, and be printed with its traceback.
    """
    os.write(2, b"iicnet: interrupted\n")
    os._exit(_INTERRUPTED)


def main() -> None:
    """Entry point of the console script."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # not ignored, as by nohup
        _signal.signal(_signal.SIGINT, leave_at_once)
    from iicnet_cli.cli import main as run

    run()


if __name__ == "__main__":
    main()
