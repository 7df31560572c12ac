"""Output files that appear complete or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iicnet_cli.errors import MediaError, OutputExistsError
from iicnet_cli.media.files import (
    check_target,
    filling_folder,
    names_folder,
    remove_leftovers,
    replacing,
    temporary_name,
)
from iicnet_cli.media.stills import write_still
from tests.media_samples import noise


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


def test_a_device_is_written_to_not_replaced() -> None:
    if os.name == "posix":
        write_still(Path("/dev/null"), noise(5, 7), format="png", overwrite=True)
        assert not Path("/dev/null").is_file()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a", True), ("10.30-restored", True), ("a.suffix", True), ("a.png", False), ("a.7z", False)],
)
def test_a_name_without_a_suffix_is_a_folder(tmp_path: Path, name: str, expected: bool) -> None:
    assert names_folder(tmp_path / name) is expected
    (tmp_path / name).mkdir()
    assert names_folder(tmp_path / name)


def test_temporary_names_differ_and_are_not_too_long(tmp_path: Path) -> None:
    target = tmp_path / f"{'x' * 240}.png"
    first, second = temporary_name(target), temporary_name(target)
    assert first != second
    assert first.name.startswith(".x") and first.suffix == ".png" and len(first.name) < 60


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


def test_a_new_folder_appears_when_it_is_full(tmp_path: Path) -> None:
    target = tmp_path / "above" / "photos"
    with pytest.raises(KeyError), filling_folder(target) as folder:
        (folder / "0.png").touch()
        raise KeyError
    assert list(target.parent.iterdir()) == []
    with filling_folder(target) as folder:
        (folder / "0.png").touch()
        assert not target.exists()
    with filling_folder(target) as folder:
        assert folder == target
    assert [path.name for path in target.iterdir()] == ["0.png"]
    assert list(target.parent.iterdir()) == [target]
