"""``iicnet restore``: intact, stripped, altered and foreign PNGs."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence
from PIL.PngImagePlugin import PngInfo

from iicnet_cli.container.embedding_file import read_header
from iicnet_cli.errors import ExitCode
from iicnet_cli.payload.mark_pixels import read_mark, write_mark
from tests.helpers import QUICK, Run, alike, change_header, done, pixels, save, strip
from tests.png_files import chunks_of, png_of
from tests.samples import natural


def test_restored_after_the_chunks_were_stripped(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    run("embed", *photos[:3], "-o", tmp_path / "out.png")
    run("restore", tmp_path / "out.png", "-o", tmp_path / "intact")
    strip(tmp_path / "out.png", tmp_path / "stripped.png")
    assert read_header(tmp_path / "stripped.png") is None
    result = run("restore", tmp_path / "stripped.png", "-o", tmp_path / "back")
    assert result.exit_code == 0, result.output
    assert "mark" in result.stderr
    pairs = [("cover", "cover"), ("one", "hidden-1"), ("two", "hidden-2")]
    for name, generic in pairs:
        a = pixels(tmp_path / "intact" / f"{name}.png")
        assert np.array_equal(a, pixels(tmp_path / "back" / f"{generic}.png"))
    info = json.loads(run("info", tmp_path / "stripped.png", "--json").stdout)
    assert (info["task"], info["images"], info["found_by"]) == ("stego", 3, "mark")


def test_a_mark_of_a_model_that_is_not_here(run: Run, photos: list[Path], tmp_path: Path) -> None:
    run("embed", *photos[:2], "-o", tmp_path / "out.png")
    levels = pixels(tmp_path / "out.png")
    mark = read_mark(levels)
    assert mark is not None
    other = dataclasses.replace(mark, model=mark.model ^ 1)
    Image.fromarray(write_mark(levels, other)).save(tmp_path / "other.png")
    result = run("restore", tmp_path / "other.png")
    assert result.exit_code == ExitCode.NO_MODEL
    assert "its mark names a model that is not here" in result.stderr
    assert run("restore", tmp_path / "other.png", "--model", "stego-2").exit_code == 0


def test_a_mark_of_more_padding_than_pixels(run: Run, tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.png", natural(32, 32, 1))
    done(run("embed", photo, photo, "-o", tmp_path / "out.png"))
    mark = read_mark(pixels(tmp_path / "out.png"))
    assert mark is not None
    bad = dataclasses.replace(mark, static_region_bytes=b"", padding=(0, 15))
    save(tmp_path / "bad.png", write_mark(natural(10, 40, 1), bad))
    for command in ("info", "restore"):
        result = run(command, tmp_path / "bad.png")
        assert result.exit_code == 3
        assert "more padding" in result.stderr


def test_altered_pixels_are_said_and_told_by_the_exit_status(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    run("embed", *photos[:2], "-o", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        altered = np.array(image)
        header = image.info["iicnet"]
    altered[20:30, 20:30] = 0
    chunks = PngInfo()
    chunks.add_itxt("iicnet", header)
    Image.fromarray(altered).save(tmp_path / "altered.png", pnginfo=chunks)
    result = run("restore", tmp_path / "altered.png", "-o", tmp_path / "back")
    assert result.exit_code == ExitCode.NOT_EMBEDDING
    assert "altered" in result.stderr
    assert (tmp_path / "back" / "one.png").exists()
    assert run("info", tmp_path / "altered.png").exit_code == ExitCode.NOT_EMBEDDING

    with Image.open(tmp_path / "out.png") as image:
        image.resize((48, 32)).save(tmp_path / "small.png", pnginfo=chunks)
    result = run("restore", tmp_path / "small.png", "-o", tmp_path / "nothing")
    assert result.exit_code == ExitCode.NOT_EMBEDDING
    assert "resized or cropped" in result.stderr
    assert not (tmp_path / "nothing").exists()


def test_cropped_and_grey_pngs_with_a_model_given(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    run("embed", *photos[:2], "-o", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        image.crop((0, 0, 51, 43)).save(tmp_path / "crop.png")
        image.convert("L").save(tmp_path / "grey.png")
    refused = run("restore", tmp_path / "crop.png")
    assert refused.exit_code == ExitCode.NOT_EMBEDDING
    result = run("restore", tmp_path / "crop.png", "-o", tmp_path / "back", "--model", "stego-2")
    assert result.exit_code == 0, result.output
    hidden = pixels(tmp_path / "back" / "hidden-1.png")
    assert hidden.shape == (43, 51, 3)
    assert alike(hidden[:16, :16], pixels(photos[1])[:16, :16])
    result = run("restore", tmp_path / "grey.png", "-o", tmp_path / "g", "--model", "stego-2")
    assert result.exit_code == ExitCode.NOT_EMBEDDING
    assert "grey" in result.stderr


def test_jpeg_of_an_embedding_is_a_clear_error(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    run("embed", *photos[:2], "-o", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        image.save(tmp_path / "sent.jpg", quality=90)
        Image.open(tmp_path / "sent.jpg").save(tmp_path / "sent.png")
    for name in ("sent.jpg", "sent.png"):
        result = run("restore", tmp_path / name, "-o", tmp_path / "back")
        assert result.exit_code == ExitCode.NOT_EMBEDDING
        assert len(result.stderr.strip().splitlines()) == 1
        assert ("restores from its PNG only" in result.stderr) == name.endswith(".jpg")
    result = run("restore", tmp_path / "sent.png", "-o", tmp_path / "back", "--model", "stego-2")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "back" / "hidden-1.png").exists()


def test_headers_from_strangers(run: Run, clip: Path, tmp_path: Path) -> None:
    run("embed", clip, "-o", tmp_path / "p.png", "--frames", 5, "--effort", 0)
    cases: list[tuple[dict[str, object], int, str]] = [
        ({"timestamps": [0.0, 1.0]}, 0, ""),
        ({"future": {"x": 1}, "version": "1.9"}, 0, ""),
        ({"version": "2.0"}, 3, "upgrade"),
        ({"task": "hologram"}, 3, "upgrade"),
        ({"width": -1}, 3, ""),
        ({"weights_sha256": "0" * 64}, 4, "other weights"),
        ({"weights_sha256": "0" * 64, "model": "mine"}, 4, "not here"),
    ]
    for i, (changes, status, words) in enumerate(cases):
        change_header(tmp_path / "p.png", tmp_path / f"{i}.png", **changes)
        result = run("restore", tmp_path / f"{i}.png", "-o", tmp_path / f"{i}.mkv")
        assert result.exit_code == status, (changes, result.output)
        assert words in result.stderr
        assert status or "5 frames restored" in result.stderr
        assert (tmp_path / f"{i}.mkv").exists() == (status == 0)


def test_restore_and_info_errors(run: Run, photos: list[Path], tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    Image.fromarray(natural(40, 40, 0)).save(plain)
    broken = tmp_path / "broken.png"
    run("embed", *photos[:2], "-o", tmp_path / "ok.png")
    broken.write_bytes((tmp_path / "ok.png").read_bytes()[:900])
    for name in ("restore", "info"):
        for path in (plain, broken, photos[0]):
            result = run(name, path)
            assert result.exit_code == ExitCode.NOT_EMBEDDING, (name, path, result.output)
        assert run(name, tmp_path / "none.png").exit_code == ExitCode.FAILURE
    result = run("restore", tmp_path / "ok.png", "-o", tmp_path / "file.png")
    assert result.exit_code == ExitCode.USAGE
    assert "folder" in result.stderr


def test_restored_to_one_name_is_refused_first(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        run("embed", *photos[:2], "-o", tmp_path / folder / "out.png")
    pngs = [tmp_path / folder / "out.png" for folder in ("x", "y")]
    result = run("restore", *pngs, "--out-dir", tmp_path / "back", "-y")
    assert result.exit_code == ExitCode.USAGE
    assert "same name" in result.stderr
    assert not (tmp_path / "back").exists()
    assert run("restore", *pngs).exit_code == 0
    assert (tmp_path / "y" / "out-restored" / "one.png").exists()


def test_a_dot_in_a_name_is_not_a_suffix(run: Run, photos: list[Path], tmp_path: Path) -> None:
    run("embed", *photos[:2], "-o", tmp_path / "at 10.30.15.png")
    result = run("restore", tmp_path / "at 10.30.15.png")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (tmp_path / "at 10.30.15-restored").iterdir()) == [
        "cover.png",
        "one.png",
    ]


def test_restored_to_stdout(
    run: Run, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("embed", photos[0], "--task", "grayscale", "-o", tmp_path / "grey.png")
    run("restore", tmp_path / "grey.png", "-o", tmp_path / "back.png")
    monkeypatch.chdir(tmp_path)
    piped = done(run("restore", tmp_path / "grey.png", "-o", "-"))
    with Image.open(io.BytesIO(piped.stdout_bytes)) as image:
        assert np.array_equal(np.asarray(image), pixels(tmp_path / "back.png"))
    assert not (tmp_path / "-").exists()
    run("embed", *photos[:2], "-o", tmp_path / "two.png")
    refused = run("restore", tmp_path / "two.png", "-o", "-")
    assert refused.exit_code == ExitCode.USAGE
    assert "too many for stdout" in refused.stderr
    refused = run("restore", tmp_path / "two.png", "--layout", "anaglyph")
    assert refused.exit_code == ExitCode.USAGE
    assert "no use for --layout" in refused.stderr


def test_pictures_that_an_optimiser_dropped_are_missed(
    run: Run, clip: Path, tmp_path: Path
) -> None:
    done(run("embed", clip, "-o", tmp_path / "out.png", *QUICK))
    chunks = chunks_of((tmp_path / "out.png").read_bytes())
    kept = [chunk for chunk in chunks if chunk[0] not in (b"acTL", b"fcTL", b"fdAT")]
    (tmp_path / "first.png").write_bytes(png_of(kept))
    result = run("restore", tmp_path / "first.png", "-o", tmp_path / "frames")
    assert result.exit_code == ExitCode.NOT_EMBEDDING
    assert "2 of 3 pictures of the PNG are missing" in result.stderr
    assert result.stderr.splitlines()[-1].startswith(
        f"iicnet: {tmp_path / 'first.png'}: pictures of the PNG are missing"
    )
    assert "altered" not in result.stderr
    assert len(list((tmp_path / "frames").iterdir())) == 5
    described = run("info", tmp_path / "first.png", "--json")
    assert described.exit_code == ExitCode.NOT_EMBEDDING
    assert "2 of 3 pictures of the PNG are missing" in described.stderr
    assert json.loads(described.stdout)["pixels"] == "incomplete"
    strip(tmp_path / "first.png")
    result = run("restore", tmp_path / "first.png", "-o", tmp_path / "stripped")
    assert result.exit_code == ExitCode.NOT_EMBEDDING
    assert "pictures of the PNG are missing after number 1" in result.stderr
    assert len(list((tmp_path / "stripped").iterdir())) == 5


def test_a_picture_that_is_missing_between_others_is_told_without_the_header(
    run: Run, clip: Path, tmp_path: Path
) -> None:
    done(run("embed", clip, "-o", tmp_path / "out.png", *QUICK))
    with Image.open(tmp_path / "out.png") as image:
        frames = [frame.copy() for frame in ImageSequence.Iterator(image)]
    frames[0].save(tmp_path / "all.png", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "gap.png", save_all=True, append_images=frames[2:])
    result = run("restore", tmp_path / "all.png", "-o", tmp_path / "all")
    assert (result.exit_code, len(list((tmp_path / "all").iterdir()))) == (0, 12)
    result = run("restore", tmp_path / "gap.png", "-o", tmp_path / "gap")
    assert result.exit_code == ExitCode.NOT_EMBEDDING
    assert "1 of 3 pictures of the PNG are missing" in result.stderr
    assert "altered" not in result.stderr


def test_a_layer_that_was_lost_with_the_header_is_told(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    done(run("embed", *photos[:2], "-o", tmp_path / "out.png"))
    strip(tmp_path / "out.png")
    for column in range(96):
        altered = pixels(tmp_path / "out.png")
        altered[30, column] ^= 1
        mark = read_mark(altered)
        if mark is not None and mark.layer_is_lost:  # the header of the mark lies elsewhere
            break
    save(tmp_path / "altered.png", altered)
    result = run("restore", tmp_path / "altered.png", "-o", tmp_path / "back")
    assert result.exit_code == ExitCode.NOT_EMBEDDING
    assert "its enhancement layer is damaged" in result.stderr
