"""Where passwords come from: never from the command line, which other users can see."""

from __future__ import annotations

import os
import sys
from getpass import getpass

from iicnet_cli.errors import UsageError

PASSWORD_VARIABLE = "IICNET_PASSWORD"
"""Name of the environment variable that may hold the password."""


def read_password(wanted: bool, *, twice: bool = False) -> str | None:
    """The password from the environment, else from the terminal, else the first line of stdin.

    Args:
        wanted: whether ``--password`` was given.
        twice: ask again at the terminal, to catch a slip.

    Raises:
        UsageError: it is empty, or the two differ.
    """
    if not wanted:
        return None
    password = os.environ.get(PASSWORD_VARIABLE)
    if password is None and sys.stdin.isatty():
        password = getpass("password: ")
        if twice and getpass("again: ") != password:
            raise UsageError("the two passwords differ")
    elif password is None:
        password = sys.stdin.buffer.readline().decode("utf-8", "replace").rstrip("\r\n")
    if not password:
        raise UsageError(
            "the password is empty", hint=f"set {PASSWORD_VARIABLE}, or type it when asked"
        )
    return password
