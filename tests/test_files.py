"""Output files that appear complete or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from iicnet_cli.errors import MediaError, OutputExistsError
from iicnet_cli.media import files
from iicnet_cli.media.files import (
    check_folder_target,
    check_target,
    filling_folder,
    named_after,
    names_folder,
    replacing,
)


def test_targets_are_refused_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "old.txt").touch()
    with pytest.raises(OutputExistsError) as caught:
        check_target(tmp_path / "old.txt", overwrite=False)
    assert caught.value.hint == "add -y to overwrite"
    check_target(tmp_path / "old.txt", overwrite=True)
    check_target(tmp_path / "new.txt", overwrite=False)
    with pytest.raises(MediaError, match="is a folder"):
        check_target(tmp_path, overwrite=True)
    with pytest.raises(MediaError, match="its folder does not exist"):
        check_target(tmp_path / "no" / "new.txt", overwrite=False)


def test_a_file_is_replaced_only_on_success(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), replacing(target, overwrite=True) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    with replacing(target, overwrite=True) as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".txt")
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_what_the_system_refuses_is_a_media_error(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with pytest.raises(MediaError, match=r"a\.txt: cannot be written \(No space left"):
        with replacing(target):
            raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="has no such files")
def test_what_is_no_regular_file_is_refused_before_the_work(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for target in (Path("/dev/null"), tmp_path / "pipe"):
        with pytest.raises(MediaError, match="is no regular file"):
            check_target(target, overwrite=True)
    with pytest.raises(MediaError, match="is a link to nothing"):
        check_target(tmp_path / "link", overwrite=True)
    with pytest.raises(MediaError, match="is a link to nothing"):
        check_folder_target(tmp_path / "link" / "photos")
    with pytest.raises(MediaError, match="is not a folder"):
        check_folder_target(tmp_path / "pipe" / "photos")


@pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="nothing is read-only for root")
def test_what_is_read_only_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "old.png").touch(mode=0o400)
    with pytest.raises(MediaError, match="is read-only"):
        check_target(tmp_path / "old.png", overwrite=True)
    tmp_path.chmod(0o500)
    with pytest.raises(MediaError, match="its folder is read-only"):
        check_target(tmp_path / "new.png", overwrite=True)
    with pytest.raises(MediaError, match="its folder is read-only"):
        check_folder_target(tmp_path / "photos")
    tmp_path.chmod(0o700)


def test_names_that_are_too_long_are_refused_with_a_hint(tmp_path: Path) -> None:
    for check in (lambda target: check_target(target, overwrite=True), check_folder_target):
        with pytest.raises(MediaError, match="longer than 255 bytes") as caught:
            check(tmp_path / ("ä" * 126 + ".png"))
        assert "-o" in caught.value.hint


def test_default_names_are_cut_to_what_systems_take(tmp_path: Path) -> None:
    assert named_after(tmp_path / "a.png", "-restored") == tmp_path / "a-restored"
    assert named_after(Path(), "-restored") == Path("-restored")  # of an empty argument
    long = named_after(tmp_path / ("ä" * 125 + ".png"), "-restored.mkv")
    assert long.name.startswith("ä" * 110) and long.name.endswith("ä-restored.mkv")
    check_target(long.with_suffix(".webm"), overwrite=False)


def test_a_link_keeps_leading_to_the_file_that_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file.png").write_text("old")
    (tmp_path / "link.png").symlink_to(tmp_path / "file.png")
    with replacing(tmp_path / "link.png", overwrite=True) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "file.png").read_text() == "new"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", True),
        ("10.30-restored", True),
        ("photos.v2", True),
        ("a.png", False),
        ("a.ORA", False),
    ],
)
def test_a_name_without_a_suffix_is_a_folder(tmp_path: Path, name: str, expected: bool) -> None:
    assert names_folder(tmp_path / name) is expected
    (tmp_path / name).mkdir()
    assert names_folder(tmp_path / name)


def test_a_new_folder_appears_when_it_is_full(tmp_path: Path) -> None:
    target = tmp_path / "above" / "photos"
    with pytest.raises(KeyError), filling_folder(target) as folder:
        (folder / "0.png").touch()
        raise KeyError
    assert list(target.parent.iterdir()) == []
    with filling_folder(target) as folder:
        (folder / "0.png").touch()
        assert not target.exists()
    with pytest.raises(KeyError), filling_folder(target) as folder:
        (folder / "1.png").touch()
        raise KeyError
    with filling_folder(target) as folder:
        (folder / "1.png").touch()
        assert len(list(target.glob("*.png"))) == 1
    assert sorted(path.name for path in target.iterdir()) == ["0.png", "1.png"]
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_of_two_writers_the_second_is_told_that_the_file_exists(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:  # as FAT

        def refuse(source: Path, target: Path) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "a.txt"
    with pytest.raises(OutputExistsError), replacing(target) as second:
        second.write_text("second")
        with replacing(target) as first:
            first.write_text("first")
    assert target.read_text() == "first"
    assert list(tmp_path.iterdir()) == [target]
    with replacing(target, overwrite=True) as third:
        third.write_text("third")
    assert target.read_text() == "third"


@pytest.mark.parametrize("exists", [False, True])
def test_of_two_writers_the_second_is_told_that_the_folder_exists(
    tmp_path: Path, exists: bool
) -> None:
    target = tmp_path / "photos"
    if exists:
        target.mkdir()
    with pytest.raises(OutputExistsError, match=r"1\.png: exists already"):
        with filling_folder(target) as second:
            for name in ("0.png", "1.png"):
                (second / name).write_text("second")
            with filling_folder(target) as first:
                (first / "1.png").write_text("first")
    assert [path.name for path in target.iterdir()] == ["1.png"]
    assert (target / "1.png").read_text() == "first"
    with filling_folder(target, overwrite=True) as third:
        (third / "1.png").write_text("third")
    assert (target / "1.png").read_text() == "third"


def test_errors_name_the_target_and_not_the_temporary_path(tmp_path: Path) -> None:
    for context in (replacing, filling_folder):
        target = tmp_path / "out"
        with pytest.raises(MediaError) as caught, context(target) as temporary:
            raise MediaError(f"{temporary}: cannot be written (No space left on device)")
        assert str(caught.value) == f"{target}: cannot be written (No space left on device)"


def test_no_file_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "photos"
    (target / "b.png").mkdir(parents=True)
    with (
        pytest.raises(MediaError, match=r"b\.png: is a folder"),
        filling_folder(target, overwrite=True) as folder,
    ):
        (folder / "a.png").touch()
        (folder / "b.png").touch()
    assert [path.name for path in target.iterdir()] == ["b.png"]


_DIE_AT_STEP = """
import os, sys
from pathlib import Path
from iicnet_cli.media.files import filling_folder

target, step = Path(sys.argv[1]), int(sys.argv[2])
steps = ("os.link", "os.rename", "os.remove", "os.rmdir", "ctypes.dlsym", "os.chmod")
with filling_folder(target, overwrite=True, only_frames=True) as folder:
    for i in range(3):
        (folder / f"{i:05}.png").write_text("new")
    done = 0
    def die(event, arguments):
        global done
        done += event in steps
        if event in steps and done > step:
            os._exit(9)
    sys.addaudithook(die)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="exchanges folders as Linux does")
def test_frames_of_a_folder_are_all_old_or_all_new_whenever_it_is_killed(tmp_path: Path) -> None:
    old = {f"{i:05}.png": "old" for i in range(5)}
    new = {f"{i:05}.png": "new" for i in range(3)}
    seen = []
    for step in range(100):
        target = tmp_path / str(step) / "frames"
        target.mkdir(parents=True)
        for name, text in (old | {"notes.txt": "mine"}).items():
            (target / name).write_text(text)
        command = [sys.executable, "-c", _DIE_AT_STEP, str(target), str(step)]
        ended = subprocess.run(command, check=False)
        found = {path.name: path.read_text() for path in target.iterdir()}
        assert found.pop("notes.txt") == "mine"
        assert found in (old, new)
        seen.append(found == new)
        if ended.returncode == 0:
            break
    assert (seen[0], seen[-1]) == (False, True)
    assert [path.name for path in target.parent.iterdir()] == ["frames"]


@pytest.mark.parametrize("obstacle", ["folder", "no exchange", "read-only parent"])
def test_a_folder_that_cannot_be_exchanged_is_filled_in_place(
    tmp_path: Path, obstacle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "frames"
    target.mkdir()
    for name in ("00000.png", "00007.png", "notes.txt"):
        (target / name).write_text("old")
    kept = {"notes.txt"}
    if obstacle == "folder":
        (target / "other").mkdir()
        kept.add("other")
    elif obstacle == "no exchange":
        monkeypatch.setattr(files, "exchange", lambda *_: False)
    else:
        monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)
    with filling_folder(target, overwrite=True, only_frames=True) as folder:
        (folder / "00000.png").write_text("new")
    assert {path.name for path in target.iterdir()} == {"00000.png", *kept}
    assert (target / "00000.png").read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]
