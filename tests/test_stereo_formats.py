"""Files that hold stereo pairs, of this package, of others, and damaged."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.errors import IICNetError, MediaError, OutputExistsError, UsageError
from iicnet_cli.media.stereo_formats import is_stereo, read_pair, write_pair
from iicnet_cli.media.stereo_layouts import split
from iicnet_cli.pictures.metrics import psnr
from tests.media_samples import mpo
from tests.samples import natural

LEFT, RIGHT = natural(24, 36, 1), natural(24, 36, 2)
DISPARITY, PANORAMA, BASELINE, UNDEFINED = 0x020002, 0x020001, 0x030000, 0


def second_offset(path: Path) -> int:
    with Image.open(path) as image:
        return int(image.mpinfo[0xB002][0]["Size"])  # type: ignore[attr-defined]


def test_an_mpo_of_this_package_is_typed_as_stereo(tmp_path: Path) -> None:
    path = tmp_path / "pair.mpo"
    write_pair(path, LEFT, RIGHT)
    with Image.open(path) as image:
        assert image.format == "MPO"
        kinds = [entry["Attribute"]["MPType"] for entry in image.mpinfo[0xB002]]  # type: ignore
        assert kinds == ["Multi-Frame Image: (Disparity)"] * 2
    renamed = path.rename(tmp_path / "pair.jpg")
    assert is_stereo(renamed)
    pair = read_pair(renamed)
    assert psnr(pair.left, LEFT) > 30 and psnr(pair.right, RIGHT) > 30
    assert pair.notes == ()


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


def test_mpos_of_phones_are_no_pairs(tmp_path: Path) -> None:
    assert not is_stereo(mpo(tmp_path / "preview.mpo", LEFT, RIGHT[:12, :18]))
    assert not is_stereo(mpo(tmp_path / "IMG_1.jpg", LEFT, RIGHT))
    assert is_stereo(mpo(tmp_path / "untyped.mpo", LEFT, RIGHT))
    Image.fromarray(LEFT).save(tmp_path / "plain.jpg")
    assert not is_stereo(tmp_path / "plain.jpg")
    assert not is_stereo(tmp_path / "missing.mpo")
    (tmp_path / "text.mpo").write_text("no picture")
    assert not is_stereo(tmp_path / "text.mpo")


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


def test_orientation_holds_for_each_view(tmp_path: Path) -> None:
    path = tmp_path / "turned.mpo"
    first, second = (Image.fromarray(np.rot90(view)) for view in (LEFT, RIGHT))
    exif = Image.Exif()
    exif[0x0112] = 6
    second.encoderinfo = {"exif": exif, "quality": 95}
    first.save(path, "MPO", save_all=True, append_images=[second], exif=exif, quality=95)
    pair = read_pair(path)
    assert pair.left.shape == LEFT.shape
    assert psnr(pair.left, LEFT) > 28
    assert pair.notes == ("turned upright as its EXIF orientation says",)


@pytest.mark.parametrize("suffix", [".jps", ".pns"])
def test_jps_and_pns_are_cross_eyed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pair{suffix}"
    write_pair(path, LEFT, RIGHT)
    assert is_stereo(path)
    with Image.open(path) as image:
        joined = np.asarray(image)
    assert psnr(joined[:, :36], RIGHT) > 30
    pair = read_pair(path)
    assert psnr(pair.left, LEFT) > 30


def test_a_given_layout_overrides_that_of_the_file(tmp_path: Path) -> None:
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
def test_cross_eyed_formats_hold_no_other_layout(tmp_path: Path, suffix: str, layout: str) -> None:
    with pytest.raises(UsageError, match="by convention"):
        write_pair(tmp_path / f"a{suffix}", LEFT, RIGHT, layout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.mpo", "a.jps", "a.png"])
def test_views_of_two_sizes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="36x24 and 36x12"):
        write_pair(tmp_path / name, LEFT, RIGHT[:12])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.mpo", "a.jps", "a.pns", "a.png"])
def test_files_are_only_overwritten_when_asked_to(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"mine")
    with pytest.raises(OutputExistsError):
        write_pair(path, LEFT, RIGHT)
    assert path.read_bytes() == b"mine"
    write_pair(path, LEFT, RIGHT, overwrite=True)
    assert path.read_bytes() != b"mine"
    assert list(tmp_path.iterdir()) == [path]


def test_pictures_without_a_layout_and_cut_files_are_errors(tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    Image.fromarray(LEFT).save(plain)
    with pytest.raises(UsageError) as error:
        read_pair(plain)
    assert "--layout" in error.value.hint
    with pytest.raises(UsageError, match="leave --layout out"):
        write_pair(tmp_path / "a.mpo", LEFT, RIGHT, "top-bottom")
    with pytest.raises(OutputExistsError):
        write_pair(plain, LEFT, RIGHT)
    whole = mpo(tmp_path / "whole.mpo", LEFT, RIGHT).read_bytes()
    (tmp_path / "cut.mpo").write_bytes(whole[: len(whole) - 900])
    with pytest.raises(MediaError):
        read_pair(tmp_path / "cut.mpo")


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


@pytest.mark.parametrize(
    ("layout", "flags", "views_are"),
    [
        (2, 4, "left right"),
        (2, 0, "right left"),
        (3, 4, "left over right"),
        (None, 0, "right left"),
    ],
)
def test_a_jps_may_say_how_its_views_are_laid_out(
    tmp_path: Path, layout: int | None, flags: int, views_are: str
) -> None:
    left, right = np.full((32, 32, 3), 200, np.uint8), np.full((32, 32, 3), 50, np.uint8)
    views = {"left": left, "right": right}
    stack = np.vstack if "over" in views_are else np.hstack
    file = io.BytesIO()
    order = [views[name] for name in views_are.split() if name in views]
    Image.fromarray(stack(order)).save(file, "JPEG", quality=95)
    data = file.getvalue()
    if layout is not None:
        body = b"_JPSJPS_" + struct.pack(">H", 4) + bytes([0, flags, layout, 1])
        segment = b"\xff\xe3" + struct.pack(">H", len(body) + 2) + body
        data = data[:2] + segment + data[2:]
    (tmp_path / "a.jps").write_bytes(data)
    pair = read_pair(tmp_path / "a.jps")
    assert abs(float(pair.left.mean()) - 200) < 3 and abs(float(pair.right.mean()) - 50) < 3
    assert pair.left.shape == (32, 32, 3)


@pytest.mark.parametrize(("layout", "flags"), [(1, 4), (4, 4), (3, 0), (9, 0)])
def test_layouts_of_a_jps_that_cannot_be_read_are_told(
    tmp_path: Path, layout: int, flags: int
) -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(file, "JPEG")
    body = b"_JPSJPS_" + struct.pack(">H", 4) + bytes([0, flags, layout, 1])
    segment = b"\xff\xe3" + struct.pack(">H", len(body) + 2) + body
    (tmp_path / "a.jps").write_bytes(file.getvalue()[:2] + segment + file.getvalue()[2:])
    with pytest.raises(UsageError, match="cannot be read"):
        read_pair(tmp_path / "a.jps")
    assert read_pair(tmp_path / "a.jps", "top-bottom").left.shape == (16, 32, 3)
