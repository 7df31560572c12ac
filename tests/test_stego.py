"""Photos hidden in a photo."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.helpers import Run, alike, pixels
from tests.samples import natural


def test_stego_round_trip_needs_no_flag(run: Run, photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    result = run("embed", *photos[:3], "-o", out)
    assert result.exit_code == 0, result.output
    assert "dB" in result.stderr
    assert "stego" in result.stderr
    assert result.stdout == ""
    with Image.open(out) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (96, 64))
        assert getattr(image, "n_frames", 1) == 1

    result = run("restore", out)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out-restored"
    assert sorted(p.name for p in folder.iterdir()) == ["cover.png", "one.png", "two.png"]
    assert alike(pixels(out), pixels(photos[0]))
    for path in photos[:3]:
        assert alike(pixels(folder / f"{path.stem}.png"), pixels(path))


def test_secrets_of_other_sizes_come_back_at_their_own(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    odd = tmp_path / "odd.png"
    Image.fromarray(natural(75, 51, 9)).save(odd)
    result = run("embed", photos[0], odd, "-o", tmp_path / "out.png")
    assert result.exit_code == 0, result.output
    assert "51x75 is fitted to cover.jpg's 96x64" in result.stderr
    run("restore", tmp_path / "out.png", "-o", tmp_path / "back")
    assert pixels(tmp_path / "back" / "odd.png").shape == (75, 51, 3)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (17, 16), (33, 47), (64, 21)])
def test_any_size_from_16_pixels_up(run: Run, tmp_path: Path, width: int, height: int) -> None:
    paths = []
    for i in range(2):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(natural(height, width, i)).save(paths[-1])
    result = run("embed", *paths, "-o", tmp_path / "out.png")
    assert result.exit_code == 0, result.output
    assert pixels(tmp_path / "out.png").shape == (height + height % 2, width + width % 2, 3)
    assert run("restore", tmp_path / "out.png", "-o", tmp_path / "back").exit_code == 0
    for i in range(2):
        assert pixels(tmp_path / "back" / f"{i}.png").shape == (height, width, 3)
