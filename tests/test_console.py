"""What every command does alike: output streams, errors, interruption."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from iicnet_cli import __version__
from iicnet_cli.errors import ExitCode
from tests.helpers import Run, done


def test_version_is_shown(run: Run) -> None:
    assert __version__ in done(run("--version")).stdout


def test_talk_goes_to_stderr_and_quiet_says_nothing(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    result = run("embed", *photos[:2], "-o", tmp_path / "out.png", "-q")
    assert (result.exit_code, result.output) == (0, "")
    result = run("restore", tmp_path / "out.png", "-q")
    assert (result.exit_code, result.output) == (0, "")
    result = run("info", tmp_path / "out.png")
    assert "stego-2" in result.stdout
    assert result.stderr == ""


def test_debug_shows_the_traceback(run: Run, photos: list[Path], tmp_path: Path) -> None:
    arguments = ("embed", photos[0], "missing.png", "-o", tmp_path / "x.png")
    assert "Traceback" not in run(*arguments).output
    environment = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "iicnet_cli", *map(str, arguments), "--debug"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert "Traceback" in done.stderr
    assert done.returncode != 0


def test_ctrl_c_is_one_line_and_130(
    run: Run, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from iicnet_cli.inference.runner import Runner

    def interrupted(self: Runner, *_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "embed", interrupted)
    result = run("embed", *photos[:2], "-o", tmp_path / "out.png")
    assert result.exit_code == ExitCode.INTERRUPTED
    assert result.stderr.strip() == "iicnet: interrupted"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos"]
