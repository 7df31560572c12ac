"""Temporary files and folders, and what is left of them when a process is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from iicnet_cli.media.temporary import (
    remove_abandoned,
    remove_leftovers,
    scratch_folder,
    temporary_name,
)

_KILLED = """
import os, signal, sys
from pathlib import Path
from iicnet_cli.media.files import filling_folder, replacing
from iicnet_cli.media.temporary import scratch_folder

folder = Path(sys.argv[1])
with replacing(folder / "a.png") as file, filling_folder(folder / "photos") as photos:
    with scratch_folder() as scratch:
        for path in (file, photos / "0.png", scratch / "x"):
            path.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
def test_the_next_run_removes_what_a_killed_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(variable, str(tmp_path))
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False)
    assert killed.returncode < 0 and len(list(tmp_path.iterdir())) == 3
    (tmp_path / "iicnet-notes.txt").touch()
    living = temporary_name(tmp_path / "b.png")
    living.touch()
    remove_abandoned.cache_clear()
    remove_abandoned(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([living, tmp_path / "iicnet-notes.txt"])


def test_what_other_machines_are_writing_stays(tmp_path: Path) -> None:
    theirs = tmp_path / ".a-iicnet-00000000-00000000-99999999-01234567.png"
    theirs.touch()
    remove_abandoned.cache_clear()
    remove_abandoned(tmp_path)
    assert theirs.exists()


def test_temporary_names_differ_and_are_not_too_long(tmp_path: Path) -> None:
    target = tmp_path / f"{'ä' * 120}.png"
    first, second = temporary_name(target), temporary_name(target)
    assert first != second
    assert first.name.startswith(".ä") and first.suffix == ".png"
    first.touch()
    assert len(temporary_name(tmp_path / f"a.{'x' * 250}").name) < 100


def test_leftovers_of_one_target_are_removed(tmp_path: Path) -> None:
    first, second = tmp_path / f"{'x' * 50}1.png", tmp_path / f"{'x' * 50}2.png"
    kept = [first, temporary_name(second), tmp_path / ".x.png"]
    folder = temporary_name(first)
    for path in (*kept, temporary_name(first)):
        path.touch()
    folder.mkdir()
    (folder / "0.png").touch()
    remove_leftovers(first)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_a_scratch_folder_is_removed_in_the_end() -> None:
    with scratch_folder() as folder:
        (folder / "x").touch()
    assert not folder.exists()
