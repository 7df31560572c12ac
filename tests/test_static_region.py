"""Where all pictures of a group are alike, the embedding shows them as they are."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from iicnet_cli.container.png import read_header
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from iicnet_cli.engines.network.static_region import (
    MIN_STATIC_SHARE,
    copy_static_region,
    find_static_region,
)
from iicnet_cli.payload.mark import payload_capacity, read_mark
from iicnet_cli.payload.static_map import StaticRegion
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.quantize.lattice import UnroundedEmbedding
from iicnet_cli.training.loop import static_pixels
from tests.conftest import rewrite_header
from tests.helpers import Run, done, frames_of, pixels
from tests.samples import natural
from tests.test_static_map import some_area

sides = st.integers(16, 90)


@settings(deadline=None)
@given(height=sides, width=sides, seed=st.integers(0, 99))
def test_what_pictures_have_in_common(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference = natural(height, width, seed)
    pictures = reference[None].repeat(3, axis=0)
    for y, x in rng.integers(0, (height, width), (4, 2)):
        pictures[rng.integers(1, 3), y, x, rng.integers(3)] ^= 1
    area = find_static_region(pictures, reference.shape)
    differs = (pictures != reference).any(axis=(0, 3))
    cells = [
        [not differs[y : y + 8, x : x + 8].any() for x in range(0, width, 8)]
        for y in range(0, height, 8)
    ]
    if np.mean(cells) < MIN_STATIC_SHARE:
        assert area is None
    else:
        assert area is not None and np.array_equal(area.cells, cells)
    # So it is in training.
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2)[None] / 255
    static = static_pixels(images, images[:, 0].shape)
    assert static is not None
    assert np.array_equal(static[0, 0].numpy(), StaticRegion(np.array(cells)).mask(height, width))


def test_nothing_in_common() -> None:
    reference = natural(64, 80, 0)
    assert find_static_region(np.stack([reference, natural(64, 80, 1)]), reference.shape) is None
    alike = reference[None].repeat(2, axis=0)
    assert find_static_region(alike[:1], reference.shape) is None
    assert find_static_region(alike, (32, 40, 3)) is None
    assert find_static_region(alike, (64, 80, 1)) is None
    beyond = alike.astype(np.int16)
    beyond[1] += 256  # the same low byte
    assert find_static_region(beyond, reference.shape) is None


def test_the_embedding_becomes_the_reference_there() -> None:
    reference, embedding = natural(64, 80, 0), natural(64, 80, 1)
    pictures = reference[None].repeat(2, axis=0)
    pictures[1, :, 40:] ^= 1
    remainder = np.ones(reference.shape, np.int8)
    before = embedding.copy()
    # Half of the samples, but for those of the head and the map.
    most = payload_capacity(
        embedding.shape, find_static_region(pictures, reference.shape).to_bytes()
    )  # type: ignore
    unrounded = UnroundedEmbedding(embedding, remainder)
    assert copy_static_region(pictures, unrounded, payload=most + 1) is None
    assert np.array_equal(embedding, before) and remainder.all()
    assert copy_static_region(pictures, unrounded, payload=most) is not None
    assert np.array_equal(embedding[:, :40], reference[:, :40])
    assert np.array_equal(embedding[:, 40:], before[:, 40:])
    assert not remainder[:, :40].any() and remainder[:, 40:].all()


@pytest.fixture
def composed(tmp_path: Path) -> list[Path]:
    """A composed picture and its background; they are alike but for 48x32 pixels."""
    back = natural(96, 112, 0)
    front = back.copy()
    front[40:72, 16:64] = natural(32, 48, 1)
    paths = [tmp_path / "composed.png", tmp_path / "back.png"]
    for path, picture in zip(paths, (front, back), strict=True):
        Image.fromarray(picture).save(path)
    return paths


@pytest.mark.parametrize("options", [(), ("--no-enhance",), ("--effort", "2")])
def test_layers_are_exact_where_they_are_alike(
    run: Run, composed: list[Path], tmp_path: Path, options: tuple[str, ...]
) -> None:
    out = tmp_path / "out.png"
    report = done(run("embed", *composed, "--task", "layers", "-o", out, "--json", *options)).stdout
    front, back = map(pixels, composed)
    shown = pixels(out)
    mark = read_mark(shown)
    assert mark is not None and mark.area is not None
    alike = mark.area.mask(96, 112)
    assert np.array_equal(front[alike], back[alike]) and alike.mean() > 0.75
    # But for the samples of the mark's head.
    assert np.abs(shown.astype(int) - front)[alike].max() <= 1
    assert np.count_nonzero(shown[alike] != front[alike]) < 8 * (len(mark.common) + 40)

    done(run("restore", out, "-o", tmp_path / "back"))
    for name, wanted in (("composed.png", front), ("back.png", back)):
        restored = pixels(tmp_path / "back" / name)
        assert np.array_equal(restored[alike], shown[alike])
        assert psnr(restored, wanted) > 30
    assert json.loads(report)["embed_psnr"] == pytest.approx(psnr(shown, front), abs=0.01)
    assert "% of the picture" in done(run("info", out)).stdout


def test_the_area_is_told_twice(run: Run, composed: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    done(run("embed", *composed, "--task", "layers", "-o", out))
    header, shown = read_header(out), pixels(out)
    mark = read_mark(shown)
    assert header is not None and header.common is not None
    assert mark is not None and mark.area is not None
    assert base64.b64decode(header.common[0]) == mark.common
    alike = mark.area.mask(96, 112)

    def restored(name: str, shown_pixels: np.ndarray, text: str | None) -> np.ndarray:
        info = PngInfo()
        if text is not None:
            info.add_itxt("iicnet", text)
        Image.fromarray(shown_pixels).save(tmp_path / f"{name}.png", pnginfo=info)
        altered = text is not None and not np.array_equal(shown_pixels, shown)
        result = run("restore", tmp_path / f"{name}.png", "-o", tmp_path / name)
        assert result.exit_code == (3 if altered else 0)
        return np.stack([pixels(path) for path in sorted((tmp_path / name).iterdir())])

    whole = restored("whole", shown, header.to_json())
    assert np.array_equal(restored("stripped", shown, None), whole)
    assert "% of the picture" in done(run("info", tmp_path / "stripped.png")).stdout
    # The mark lost, by the header's area pictures still are what the pixels show.
    pasted = shown.copy()
    pasted[:30] = 0
    assert read_mark(pasted) is None
    by_header = restored("pasted", pasted, header.to_json())
    assert (by_header == pasted)[:, alike].all()
    by_none = restored("unmarked", pasted, header.model_copy(update={"common": None}).to_json())
    assert not (by_none == pasted)[:, alike].all()
    # What a stranger writes is not believed.
    rewrite_header(out, common=[])
    assert "0% of the picture" in run("info", out).stdout
    odd = base64.b64encode(some_area(80, 80, 0).to_bytes()).decode()
    for told in (odd, "bm9uc2Vuc2U="):
        text = header.model_copy(update={"common": [told]}).to_json()
        assert np.array_equal(restored(f"odd{len(told)}", pasted, text), by_none)


def test_a_still_screen_is_exact(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "screen"
    folder.mkdir()
    desk = natural(96, 128, 3)
    for t in range(5):
        frame = desk.copy()
        frame[20:50, 30:70] = natural(30, 40, 10 + t)
        Image.fromarray(frame).save(folder / f"{t}.png")
    out = tmp_path / "out.png"
    done(run("embed", folder, "--task", "video", "-o", out))
    mark = read_mark(pixels(out))
    assert mark is not None and mark.area is not None and mark.area.cells.mean() > 0.6
    done(run("restore", out, "-o", tmp_path / "back.mkv"))
    alike = mark.area.mask(96, 128)
    for frame in frames_of(tmp_path / "back.mkv"):
        assert np.abs(frame.astype(int) - desk)[alike].max() <= 1


def test_pictures_that_are_all_alike(run: Run, composed: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    done(
        run("embed", composed[0], composed[0], "--task", "layers", "--model", "layers-2", "-o", out)
    )
    wrong = np.abs(pixels(out).astype(int) - pixels(composed[0]))
    assert wrong.max() <= 1 and np.count_nonzero(wrong) < 600


def test_a_forecast_knows(run: Run, composed: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    command = ("embed", *composed, "--task", "layers", "-o", out, "--json")
    told = json.loads(done(run(*command, "--dry-run")).stdout)
    made = json.loads(done(run(*command)).stdout)
    assert told["embed_psnr"] == pytest.approx(made["embed_psnr"], abs=1.5)
    assert told["restored_psnr"] == pytest.approx(made["restored_psnr"], abs=1.5)
