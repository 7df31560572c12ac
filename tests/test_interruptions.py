"""Commands that are killed, compete or run out of space: their outputs are whole or absent."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from iicnet_cli.container.embedding_file import EmbeddingFile
from tests.helpers import Run, done, frames_of, write_clip
from tests.samples import moving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="kills processes as Linux and macOS do"),
]

COMMAND = [sys.executable, "-m", "iicnet_cli"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with clip.mkv and its embedding clip.png; temporary files go into scratch/."""
    write_clip(tmp_path / "clip.mkv", moving(12, 48, 64))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.chdir(tmp_path)
    subprocess.run([*COMMAND, "embed", "clip.mkv", "-o", "clip.png", "-q"], check=True)
    return tmp_path


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"clip.mkv", "clip.png", "scratch"}


def is_trial_of_python(path: Path) -> bool:
    """Whether a file is the one by which Python finds out where temporary files can be written."""
    return len(path.name) == 8 and path.read_bytes() in (b"", b"blat")


@pytest.mark.parametrize(
    ("command", "output", "times"),
    [
        (["embed", "clip.mkv", "-o", "out.png"], "out.png", 50),
        (["embed", "clip.mkv", "-o", "out.png", "--for", "file"], "out.png", 10),
        (["restore", "clip.png", "-o", "out.mkv"], "out.mkv", 50),
        (["restore", "clip.png", "-o", "out"], "out", 10),
    ],
    ids=["embed", "embed for file", "restore", "restore frames"],
)
def test_a_killed_command_leaves_a_whole_output_or_none(
    place: Path, command: list[str], output: str, times: int
) -> None:
    began = time.monotonic()
    subprocess.run([*COMMAND, *command, "-q"], check=True)
    # Of the last command that was not killed: machines become faster and slower.
    seconds = time.monotonic() - began
    wanted = frames_of(place / output) if output != "out.png" else None
    generator, killed = random.Random(0), 0
    target = place / output
    for _ in range(times):
        shutil.rmtree(target, ignore_errors=True)
        target.unlink(missing_ok=True)
        began = time.monotonic()
        process = subprocess.Popen([*COMMAND, *command, "-q"])
        try:
            assert process.wait(generator.uniform(0.1, 1.1) * seconds) == 0
            seconds = time.monotonic() - began
        except subprocess.TimeoutExpired:
            process.kill()
            killed += process.wait() == -signal.SIGKILL
        if not target.exists():
            continue
        if wanted is None:
            with EmbeddingFile(target) as reader:
                assert reader.verify()
        else:
            assert (frames_of(target) == wanted).all()
    assert killed > times / 2
    subprocess.run([*COMMAND, *command, "-q", "-y"], check=True)
    scratch = place / "scratch"
    assert files_in(place) == {output}
    assert [path for path in scratch.iterdir() if not is_trial_of_python(path)] == []


@pytest.mark.parametrize("output", ["out.mkv", "out"])
def test_of_two_commands_at_once_the_second_is_told_that_its_output_exists(
    place: Path, output: str
) -> None:
    command = [*COMMAND, "restore", "clip.png", "-o", output]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    refused = next(t for t, process in zip(told, both, strict=True) if process.returncode)
    assert "exists already" in refused or "is not empty" in refused
    assert len(frames_of(place / output)) == 12
    assert files_in(place) == {output}


_IN_A_SMALL_FILE_SYSTEM = 'mount -t tmpfs -o size=16k none "$0" && "$@"; status=$?; ls -A "$0" >&2'


@pytest.mark.skipif(shutil.which("unshare") is None, reason="mounts a small file system")
@pytest.mark.parametrize(
    "command",
    [
        ["embed", "clip.mkv", "-o", "full/out.png"],
        ["restore", "clip.png", "-o", "full/out.mkv"],
        ["restore", "clip.png", "-o", "full/out.gif"],
        ["restore", "clip.png", "-o", "full/frames"],
    ],
    ids=["PNG", "FFV1", "GIF", "frames"],
)
def test_a_full_disk_is_told_with_the_name_of_the_output(place: Path, command: list[str]) -> None:
    (place / "full").mkdir()
    isolated = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*isolated, "mount -t tmpfs none full"], check=False).returncode:
        pytest.skip("may not mount file systems here")
    script = f"{_IN_A_SMALL_FILE_SYSTEM}; exit $status"
    ended = subprocess.run(
        [*isolated, script, "full", *COMMAND, *command, "-q"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"iicnet: {command[-1]}")
    assert "No space left" in ended.stderr and len(ended.stderr.splitlines()) == 1


def test_a_damaged_late_frame_leaves_nothing_behind(run: Run, place: Path) -> None:
    data = bytearray((place / "clip.png").read_bytes())
    at = data.rindex(b"fdAT")
    data[at + 40 : at + 60] = bytes(20)
    (place / "damaged.png").write_bytes(data)
    for output in ("out.mkv", "out"):
        assert run("restore", "damaged.png", "-o", output).exit_code == 3
    assert files_in(place) == {"damaged.png"}
    done(run("restore", "clip.png", "-o", "out"))
