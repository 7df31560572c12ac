"""Messages of Python and of other packages that are for programmers."""

from __future__ import annotations

import logging
import sys
import warnings


def silence_libraries() -> None:
    """Keep warnings, logs and unraisable errors off stderr; for programs, not for the library.

    What matters to users becomes an error or a note of ours. Python's option ``-W`` and
    ``PYTHONWARNINGS`` still show warnings.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    # A log without a handler of its own goes to stderr.
    logging.getLogger().addHandler(logging.NullHandler())
    sys.unraisablehook = lambda _: None
