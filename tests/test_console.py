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


def test_an_error_that_nobody_foresaw_is_one_line(
    run: Run, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from iicnet_cli.inference.runner import Runner

    def broken(self: Runner, *_: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(Runner, "embed", broken)
    result = run("embed", *photos[:2], "-o", tmp_path / "out.png")
    assert result.exit_code == ExitCode.FAILURE
    assert result.stderr.splitlines() == [
        "iicnet: unexpected error: ZeroDivisionError: division by zero (this is a fault of "
        "iicnet; --debug shows where it is)"
    ]
    result = run("embed", *photos[:2], "--task", "grayscale", "--out-dir", tmp_path / "out")
    lines = result.stderr.splitlines()
    assert result.exit_code == ExitCode.FAILURE
    assert [line.split(": ")[1] for line in lines[:2]] == [str(path) for path in photos[:2]]
    assert lines[2:] == ["iicnet: 2 of 2 failed"]


def test_warnings_and_logs_of_libraries_are_not_shown(tmp_path: Path) -> None:
    script = (
        "import logging, warnings\n"
        "from iicnet_cli.foreign_messages import silence_libraries\n"
        "silence_libraries()\n"
        "warnings.warn('EXIF'); logging.getLogger('PIL').error('odd')\n"
    )
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, capture_output=True, check=True).stderr == b""


_INTERRUPT_AT_IMPORT = """
import os, sys

class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), 2)

_, module, *sys.argv[1:] = sys.argv
sys.meta_path.insert(0, Interrupter())
from iicnet_cli.__main__ import main
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize(
    "module", ["enum", "typer", "iicnet_cli.cli.train", "iicnet_cli.api", "torch"]
)
def test_ctrl_c_while_loading_is_one_line_and_130(
    photos: list[Path], tmp_path: Path, module: str
) -> None:
    command = [sys.executable, "-c", _INTERRUPT_AT_IMPORT, module, "embed"]
    command += [str(path) for path in (*photos[:2], "-o", tmp_path / "out.png")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.stderr, ended.returncode) == ("iicnet: interrupted\n", ExitCode.INTERRUPTED)
    assert list(tmp_path.iterdir()) == [photos[0].parent]


_ENDING = """
import atexit, sys
class AtPythonsEnd:
    def __del__(self):
        print("taken apart", file=sys.stderr)
kept = AtPythonsEnd()
atexit.register(print, "left", *"x" * {size}, sep="", end="\\n")
sys.argv = ["iicnet", *{arguments!r}]
from iicnet_cli.__main__ import main
main()
"""


def ended(*arguments: str, shell: str = "", size: int = 1) -> subprocess.CompletedProcess[str]:
    """A command that has an exit handler, with redirections of the shell."""
    script = _ENDING.format(arguments=arguments, size=size)
    command = ["sh", "-c", f'exec "$0" -c "$1" {shell}', sys.executable, script]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_command_that_succeeds_ends_at_once_with_exit_handlers_and_all_of_its_output() -> None:
    done = ended("--version", size=100_000)
    assert done.stdout.splitlines() == [f"iicnet {__version__}", "left" + "x" * 100_000]
    assert (done.returncode, done.stderr) == (0, "")


def test_a_command_that_fails_ends_as_python_does() -> None:
    done = ended("info", "nothing.png")
    assert done.returncode == ExitCode.FAILURE
    assert "taken apart" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize("shell", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_failure(shell: str, photos: list[Path], tmp_path: Path) -> None:
    done = ended("--version", shell=shell)
    assert (done.returncode, done.stderr) == (0, "")
    output = tmp_path / "out.png"
    options = ("--task", "grayscale", "--effort", "0", "--no-verify", "-o", str(output))
    assert ended("embed", str(photos[0]), *options, shell=shell).returncode == 0
    assert output.exists()


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_a_picture_is_not_written_to_a_closed_stdout(photos: list[Path]) -> None:
    done = ended("embed", str(photos[0]), "--task", "grayscale", "-o", "-", shell=">&-")
    assert done.returncode == ExitCode.USAGE
    assert "standard output is closed" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_is_lost_is_a_failure() -> None:
    for arguments in (["models", "list"], ["--help"]):
        done = ended(*arguments, shell=">/dev/full")
        assert done.returncode == ExitCode.FAILURE
        assert "No space left" in done.stderr and "Traceback" not in done.stderr
