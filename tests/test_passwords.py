"""Where passwords come from."""

from __future__ import annotations

import io
import sys

import pytest

from iicnet_cli.cli.passwords import PASSWORD_VARIABLE, read_password
from iicnet_cli.errors import UsageError


class _Stdin(io.StringIO):
    """Standard input with a line on it."""

    def __init__(self, line: bytes, *, terminal: bool = False) -> None:
        super().__init__()
        self.buffer = io.BytesIO(line)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)


def test_none_is_read_unless_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    assert read_password(False) is None
    assert read_password(True) == "secret"


def test_first_line_of_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Stdin("grün 1\r\nmore".encode()))
    assert read_password(True, twice=True) == "grün 1"


def test_an_empty_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Stdin(b"\n"))
    with pytest.raises(UsageError, match="empty"):
        read_password(True)


def test_a_terminal_is_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["one", "one", "one", "two"])
    monkeypatch.setattr(sys, "stdin", _Stdin(b"", terminal=True))
    monkeypatch.setattr("iicnet_cli.cli.passwords.getpass", lambda prompt: next(answers))
    assert read_password(True, twice=True) == "one"
    with pytest.raises(UsageError, match="differ"):
        read_password(True, twice=True)
