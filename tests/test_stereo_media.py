"""Stereo pairs that are odd, foreign or damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from iicnet_cli.errors import IICNetError, MediaError, OutputExistsError, UsageError
from iicnet_cli.media.stereo_formats import is_stereo, read_pair, write_pair
from iicnet_cli.media.stereo_layouts import anaglyph, join, split
from tests.conftest import Pixels, natural

LEFT, RIGHT = natural(24, 36, 1), natural(24, 36, 2)
DISPARITY, PANORAMA, BASELINE, UNDEFINED = 0x020002, 0x020001, 0x030000, 0


def mpo(path: Path, *pictures: Pixels, types: tuple[int, ...] = ()) -> Path:
    """An MPO of Pillow, its index entries typed as ``types``."""
    first, *others = map(Image.fromarray, pictures)
    first.save(path, "MPO", save_all=True, append_images=others, quality=95)
    data = bytearray(path.read_bytes())
    with Image.open(path) as image:
        sizes = [entry["Size"] for entry in image.mpinfo[0xB002]]  # type: ignore[attr-defined]
    for kind, size in zip(types, sizes, strict=False):
        at = data.index(struct.pack("<L", size)) - 4  # an entry starts with type and size
        data[at : at + 4] = struct.pack("<L", kind)
    path.write_bytes(data)
    return path


def second_offset(path: Path) -> int:
    with Image.open(path) as image:
        return int(image.mpinfo[0xB002][0]["Size"])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "types", "expected"),
    [
        ("a.jpg", (DISPARITY, DISPARITY), True),
        ("a.jpg", (BASELINE, UNDEFINED), False),
        ("a.jpg", (BASELINE, DISPARITY), False),
        ("a.mpo", (BASELINE, UNDEFINED), True),
        ("a.mpo", (PANORAMA, PANORAMA), False),
        ("a.MPO", (BASELINE, 0x010002), False),
    ],
)
def test_the_types_of_an_mpo_decide(
    tmp_path: Path, name: str, types: tuple[int, int], expected: bool
) -> None:
    path = mpo(tmp_path / name, LEFT, RIGHT, types=types)
    assert is_stereo(path) is expected
    assert not is_stereo(mpo(tmp_path / f"small-{name}", LEFT, RIGHT[:12], types=types))


def test_a_phone_picture_with_its_preview_is_no_pair(tmp_path: Path) -> None:
    path = mpo(tmp_path / "IMG_1.jpg", LEFT, RIGHT[:12, :18])
    assert not is_stereo(path)
    with pytest.raises(UsageError, match="holds no pair") as error:
        read_pair(path)
    assert "side-by-side" in error.value.hint
    left, right = split(LEFT, "side-by-side")  # its first picture may hold both views itself
    pair = read_pair(path, "side-by-side")
    assert np.abs(pair.left.astype(int) - left).mean() < 4
    assert np.abs(pair.right.astype(int) - right).mean() < 4


@pytest.mark.parametrize("name", ["a.jps", "a.pns", "a.mpo"])
def test_what_cannot_be_read_is_no_stereo(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert not is_stereo(path)
    path.write_bytes(b"no picture")
    assert not is_stereo(path)
    with pytest.raises(MediaError):
        read_pair(path)
    path.unlink()
    path.mkdir()
    assert not is_stereo(path)


def test_pns_is_exact_and_other_layouts_are_read_as_told(tmp_path: Path) -> None:
    path = tmp_path / "a.pns"
    write_pair(path, LEFT, RIGHT)
    pair = read_pair(path)
    assert np.array_equal(pair.left, LEFT) and np.array_equal(pair.right, RIGHT)
    swapped = read_pair(path, "side-by-side")
    assert np.array_equal(swapped.left, RIGHT) and np.array_equal(swapped.right, LEFT)


@pytest.mark.parametrize("layout", ["side-by-side", "top-bottom", "cross-eyed"])
def test_a_png_of_each_layout_is_exact(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "a.png"
    write_pair(path, LEFT, RIGHT, layout)
    pair = read_pair(path, layout)
    assert np.array_equal(pair.left, LEFT) and np.array_equal(pair.right, RIGHT)


@pytest.mark.parametrize("suffix", [".jps", ".pns"])
@pytest.mark.parametrize("layout", ["side-by-side", "top-bottom", "anaglyph"])
def test_cross_eyed_formats_hold_nothing_else(tmp_path: Path, suffix: str, layout: str) -> None:
    with pytest.raises(UsageError, match="by convention"):
        write_pair(tmp_path / f"a{suffix}", LEFT, RIGHT, layout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.mpo", "a.jps", "a.png"])
def test_views_of_two_sizes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="36x24 and 36x12"):
        write_pair(tmp_path / name, LEFT, RIGHT[:12])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="one size"):
        anaglyph(LEFT, RIGHT[:12])
    with pytest.raises(UsageError, match="one size"):
        join(LEFT, RIGHT[:, :12], "top-bottom")


@pytest.mark.parametrize("name", ["a.mpo", "a.jps", "a.pns", "a.png"])
def test_files_are_not_overwritten_unasked(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"mine")
    with pytest.raises(OutputExistsError):
        write_pair(path, LEFT, RIGHT)
    assert path.read_bytes() == b"mine"
    write_pair(path, LEFT, RIGHT, overwrite=True)
    assert path.read_bytes() != b"mine"
    assert list(tmp_path.iterdir()) == [path]


def test_both_pictures_of_an_mpo_have_full_colour_resolution(tmp_path: Path) -> None:
    """The second one's options go through a private way of Pillow."""
    path = tmp_path / "a.mpo"
    write_pair(path, LEFT, RIGHT)
    with Image.open(path) as image:
        tables = []
        for frame in range(2):
            image.seek(frame)
            assert [part[1:3] for part in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
            tables.append(image.quantization)  # type: ignore[attr-defined]
        flags = [e["Attribute"]["RepresentativeImageFlag"] for e in image.mpinfo[0xB002]]  # type: ignore[attr-defined]
    assert tables[0] == tables[1]
    assert flags == [True, False]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_damaged_or_huge_second_picture_is_an_error(tmp_path: Path) -> None:
    path = mpo(tmp_path / "a.mpo", LEFT, RIGHT)
    whole, at = path.read_bytes(), second_offset(path)
    for length in (at, at + 1, at + 10, at + (len(whole) - at) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(MediaError):
            read_pair(path)
    frame = whole.index(b"\xff\xc0", at)
    huge = struct.pack(">HH", 60000, 60000)
    path.write_bytes(whole[: frame + 5] + huge + whole[frame + 9 :])
    assert not is_stereo(path)
    with pytest.raises(UsageError, match="another size"):  # said before anything is decoded
        read_pair(path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damage_anywhere_raises_only_our_errors(tmp_path: Path) -> None:
    whole = mpo(tmp_path / "whole.mpo", LEFT, RIGHT).read_bytes()
    path, at = tmp_path / "a.mpo", second_offset(tmp_path / "whole.mpo")
    rng = np.random.default_rng(0)
    failed = 0
    for _ in range(300):
        data = bytearray(whole)
        start = int(rng.choice([0, at]))  # headers, where damage does most
        for place in rng.integers(start, start + 400, 4):
            data[place % len(data)] = rng.integers(256)
        path.write_bytes(data)
        assert is_stereo(path) in (True, False)
        try:
            read_pair(path)
        except IICNetError as error:
            assert "\n" not in str(error)
            failed += 1
    assert 30 < failed < 300


# --- anaglyph ------------------------------------------------------------------------------


def test_equal_grey_views_give_their_grey() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3)
    assert np.abs(anaglyph(grey, grey).astype(int) - grey).max() <= 1


def test_equal_views_keep_their_lightness() -> None:
    """Colours shift by design; the luminance, which carries the picture, stays within 12 levels."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    shift = anaglyph(LEFT, LEFT).astype(float) @ weights - LEFT.astype(float) @ weights
    assert np.abs(shift).mean() < 12


def test_anaglyph_mixes_linear_light() -> None:
    """The red of 50 % grey on the left alone: 1.1330 of its light, coded again."""
    grey, black = np.full((1, 1, 3), 128, np.uint8), np.zeros((1, 1, 3), np.uint8)
    light = ((128 / 255 + 0.055) / 1.055) ** 2.4 * (0.4561 + 0.500484 + 0.176381)
    expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert anaglyph(grey, black)[0, 0].tolist() == [round(expected), 0, 0]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_anaglyph_of_any_size(height: int, width: int, seed: int) -> None:
    left, right = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
    picture = anaglyph(left, right)
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8
    # A pixel depends on its own place alone.
    assert np.array_equal(picture[:1, -1:], anaglyph(left[:1, -1:], right[:1, -1:]))
