"""No output replaces an input, by whatever name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from iicnet_cli import Converter, EmbedOptions, MediaError, UsageError
from iicnet_cli.errors import ExitCode
from iicnet_cli.media.kept_files import check_not_kept, keeping
from tests.helpers import Run, save
from tests.samples import natural

RECIPES = Path(__file__).parents[1] / "recipes"
QUICK = EmbedOptions(effort=0, verify=False)
FILES = EmbedOptions(engine="lowbits", verify=False)


@pytest.fixture(scope="module")
def converter() -> Converter:
    return Converter(device="cpu")


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """A folder of five frames."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(5):
        save(folder / f"{i:05}.png", natural(48, 64, i))
    return folder


@contextmanager
def unchanged(*folders: Path) -> Iterator[None]:
    """Check that all files in folders are what they were."""

    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for each in folders for path in each.iterdir()}

    before = contents()
    yield
    assert contents() == before


def test_files_are_known_by_all_of_their_names(tmp_path: Path) -> None:
    file, other = tmp_path / "a.txt", tmp_path / "b.txt"
    file.touch()
    other.touch()
    link, hard = tmp_path / "link", tmp_path / "hard"
    link.symlink_to(file)
    os.link(file, hard)
    with keeping([file, tmp_path / "missing"]):
        for name in (file, link, hard, tmp_path / "." / "a.txt"):
            with pytest.raises(UsageError, match="is an input"):
                check_not_kept(name)
        for name in (other, tmp_path / "missing", tmp_path / ("x" * 300)):
            check_not_kept(name)
        with keeping([other]), pytest.raises(UsageError):
            check_not_kept(file)
    check_not_kept(file)


@pytest.mark.parametrize("options", [QUICK, FILES])
def test_embed_keeps_its_inputs(converter: Converter, frames: Path, options: EmbedOptions) -> None:
    paths = sorted(frames.iterdir())
    link = frames.parent / "link.png"
    link.symlink_to(paths[1])
    with unchanged(frames):
        for output in (paths[0], link):
            with pytest.raises(UsageError, match="is an input"):
                converter.embed(paths[:2], output, task="stego", options=options, overwrite=True)
            with pytest.raises(UsageError, match="is an input"):
                converter.estimate(paths[:2], output, task="stego", options=options)


@pytest.mark.parametrize("pattern", [".", "*.png", "%05d.png"])
def test_embed_keeps_the_frames_of_a_folder_or_pattern(
    converter: Converter, frames: Path, pattern: str
) -> None:
    with unchanged(frames), pytest.raises(UsageError, match=r"00002\.png is an input"):
        output = frames / "00002.png"
        converter.embed([frames / pattern], output, task="video", options=QUICK, overwrite=True)


def test_embed_keeps_attachments(converter: Converter, frames: Path) -> None:
    first, second, *_ = sorted(frames.iterdir())
    options = EmbedOptions(engine="lowbits", attachments=(second,), verify=False)
    with unchanged(frames), pytest.raises(UsageError, match="is an input"):
        converter.embed([first], second, options=options, overwrite=True)


def test_too_long_a_name_is_still_said(converter: Converter, frames: Path) -> None:
    with pytest.raises(MediaError, match="longer than"):
        converter.embed(sorted(frames.iterdir())[:2], "x" * 300 + ".png", options=QUICK)


@pytest.mark.parametrize("options", [QUICK, FILES])
@pytest.mark.parametrize("name", ["00000.png", "00001.png", "12345.png"])
def test_restore_keeps_its_source_in_the_folder_that_it_fills(
    converter: Converter, frames: Path, options: EmbedOptions, name: str
) -> None:
    clip = frames.parent / "clip.png"
    if options is QUICK:
        converter.embed([frames], clip, task="video", options=options)
    else:
        converter.embed(sorted(frames.iterdir())[:2], clip, task="stego", options=options)
    folder = frames.parent / "folder"
    folder.mkdir()
    source = folder / name
    shutil.copy(clip, source)
    if name == "12345.png":  # the name of none of its pictures
        outputs = converter.restore(source, folder, overwrite=True).outputs
        assert source.read_bytes() == clip.read_bytes() and source not in outputs
        return
    with unchanged(folder), pytest.raises(UsageError, match="is an input"):
        converter.restore(source, folder, overwrite=True)
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_restore_keeps_its_source_among_the_frames_of_a_longer_clip(
    converter: Converter, tmp_path: Path
) -> None:
    clip, folder = tmp_path / "clip.png", tmp_path / "folder"
    first, *others = (Image.fromarray(natural(48, 64, i)) for i in range(5))
    first.save(clip, save_all=True, append_images=others)  # so frames get numbers as names
    folder.mkdir()
    source = folder / "12345.png"  # not overwritten, but removed as a frame of before
    converter.embed([clip], source, task="video", options=QUICK)
    with unchanged(folder), pytest.raises(UsageError, match="is an input"):
        converter.restore(source, folder, overwrite=True)


def test_restore_keeps_its_source(converter: Converter, frames: Path, tmp_path: Path) -> None:
    grey = tmp_path / "grey.png"
    converter.embed(sorted(frames.iterdir())[:1], grey, task="grayscale", options=QUICK)
    with unchanged(frames), pytest.raises(UsageError, match="is an input"):
        converter.restore(grey, grey, overwrite=True)


def test_a_batch_keeps_all_of_its_inputs(run: Run, frames: Path, tmp_path: Path) -> None:
    first, second, *_ = sorted(frames.iterdir())
    out = tmp_path / "out"
    out.mkdir()
    (out / "00000.png").symlink_to(second)
    options = ["--task", "grayscale", "--effort", "0", "--no-verify", "-y"]
    with unchanged(frames):
        refused = run("embed", first, second, "--out-dir", out, *options)
    assert refused.exit_code == ExitCode.USAGE and "is an input" in refused.stderr
    (out / "00000.png").unlink()
    assert run("embed", first, second, "--out-dir", out, *options).exit_code == 0
    (out / "00001.png").rename(out / "00000-restored.png")
    kept = (out / "00000-restored.png").read_bytes()
    failed = run("restore", out / "00000.png", out / "00000-restored.png", "--jobs", "1", "-y")
    assert (out / "00000-restored.png").read_bytes() == kept
    assert failed.exit_code == ExitCode.USAGE
    assert "00000-restored.png is an input" in failed.stderr
    assert (out / "00000-restored-restored.png").exists()


def test_sound_does_not_replace_its_clip(run: Run, frames: Path) -> None:
    clip = frames / "00000.png"
    for keep in (clip, frames / "new.png"):
        with unchanged(frames):
            options = ("--task", "grayscale", "-o", frames / "new.png", "-y")
            refused = run("embed", clip, "--keep-audio", keep, *options)
        assert refused.exit_code == ExitCode.USAGE, refused.output


def test_a_pack_does_not_replace_its_data(run: Run, frames: Path) -> None:
    options = ("--recipe", RECIPES / "grayscale.toml", "-y")
    with unchanged(frames):
        refused = run("train", "-d", frames, "--pack", frames / "00001.png", *options)
    assert refused.exit_code == ExitCode.USAGE and "is an input" in refused.stderr


def test_sound_does_not_replace_an_attachment(run: Run, frames: Path) -> None:
    first, second, *_ = sorted(frames.iterdir())
    with unchanged(frames):
        options = ("--for", "file", "--attach", second, "--task", "grayscale", "-y")
        refused = run("embed", first, "--keep-audio", second, "-o", frames / "new.png", *options)
    assert refused.exit_code == ExitCode.USAGE and "is an input" in refused.stderr
