"""Where all pictures of a group are alike, the embedding shows them as they are."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from iicnet_cli.container.png import read_header
from iicnet_cli.engines.network.static_region import LEAST, copy_static_region, find_static_region
from iicnet_cli.payload.mark import Mark, carried, payload_capacity, read_mark, write_mark
from iicnet_cli.payload.static_map import StaticRegion
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.quantize.error_diffusion import Rounding, rounded
from iicnet_cli.quantize.trellis_codes import CODED
from iicnet_cli.training.loop import common_pixels
from tests.conftest import rewrite_header
from tests.helpers import Run, done, frames_of, pixels
from tests.samples import natural
from tests.test_static_map import some_area

MARK = Mark(task=4, model=0xABCDEF, images=2, valid=2)


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
    if np.mean(cells) < LEAST:
        assert area is None
    else:
        assert area is not None and np.array_equal(area.cells, cells)
    # So it is in training.
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2)[None] / 255
    common = common_pixels(images, images[:, 0].shape)
    assert common is not None
    assert np.array_equal(common[0, 0].numpy(), StaticRegion(np.array(cells)).mask(height, width))


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
    assert copy_static_region(pictures, embedding, remainder, load=most + 1) is None
    assert np.array_equal(embedding, before) and remainder.all()
    assert copy_static_region(pictures, embedding, remainder, load=most) is not None
    assert np.array_equal(embedding[:, :40], reference[:, :40])
    assert np.array_equal(embedding[:, 40:], before[:, 40:])
    assert not remainder[:, :40].any() and remainder[:, 40:].all()


@settings(deadline=None)
@given(
    height=st.integers(40, 90),
    width=st.integers(40, 90),
    grey=st.booleans(),
    share=st.floats(0, 1),
    depth=st.sampled_from([1, 2, *(CODED + bits for bits in range(1, 7))]),
    first=st.integers(0, 40 * 40 - 1),
    seed=st.integers(0, 99),
)
def test_a_mark_keeps_out_of_it(
    height: int, width: int, grey: bool, share: float, depth: int, first: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width) if grey else (height, width, 3), np.uint8)
    area = some_area(height, width, seed, share)
    common = area.to_bytes()
    motion = rng.bytes(7)
    room = payload_capacity(pixels.shape, common, depth=depth) - len(motion)
    if room < 0:
        return
    full = dataclasses.replace(
        MARK, common=common, motion=motion, enhancement=rng.bytes(room), depth=depth, first=first
    )
    marked = write_mark(pixels, full)
    assert read_mark(marked) == full
    # Only what comes before the load is inside; outside of it nearly all samples carry the load, or
    # pixels if none of their samples carries what comes before.
    head = len(full.to_bytes()) - len(motion) - room - 8
    depths = carried(pixels.shape, full)[0].reshape(pixels.shape)
    inside = area.mask(height, width)
    assert np.count_nonzero(depths[inside]) <= 8 * head
    outside = depths[~inside].reshape(-1, 1 if grey else 3)
    if depth > CODED:
        outside = outside[((outside == 0) | (outside == depth)).all(axis=1)]
    assert np.count_nonzero(outside) > 0.95 * outside.size - 24
    assert not (marked != pixels)[depths == 0].any()
    with pytest.raises(ValueError, match="too much"):
        write_mark(pixels, dataclasses.replace(full, enhancement=rng.bytes(room + 2)))
    some = slice(first // 2, first)
    for all_of, part in zip(
        carried(pixels.shape, full), carried(pixels.shape, full, some), strict=True
    ):
        assert np.array_equal(all_of[some], part)


def test_a_mark_is_bound_to_the_size() -> None:
    mark = dataclasses.replace(MARK, common=some_area(64, 64, 0).to_bytes())
    with pytest.raises(ValueError, match="common area"):
        write_mark(natural(64, 73, 0), mark)
    with pytest.raises(ValueError, match="out of range"):
        dataclasses.replace(MARK, common=b"nonsense")


def test_without_its_area_a_mark_is_none() -> None:
    mark = dataclasses.replace(MARK, common=some_area(64, 64, 0).to_bytes(), motion=b"moves")
    data = mark.to_bytes()
    assert Mark.from_bytes(data) == mark
    broken = bytearray(data)
    broken[-len(b"moves") - 4 - 4 - 4 - 3] ^= 1
    assert Mark.from_bytes(bytes(broken)) is None


def test_errors_of_rounding_end_at_what_is_kept() -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(10, 240, (24, 32, 3), np.uint8)
    rest = rng.integers(-128, 128, levels.shape).astype(np.int8)
    feedback = np.full((5, 3, 3), 0.08, np.float32)
    kept = np.zeros((24, 32), np.bool_)
    kept[8:] = True
    rest[kept] = 0
    found = rounded(levels, rest, feedback, kept=kept)
    assert np.array_equal(found[kept], levels[kept])
    assert np.array_equal(found[:8], rounded(levels[:8], rest[:8], feedback))
    assert not np.array_equal(found[:8], levels[:8])
    # Below it they begin anew.
    kept[16:] = False
    rest[16:] = rest[:8]
    below = rounded(levels, rest, feedback, kept=kept)[16:]
    assert np.array_equal(below, rounded(levels[16:], rest[16:], feedback))
    rounding = Rounding(levels, rest, None, kept)
    told = np.ones((24, 32, 3), np.uint8)
    rounding.rows(slice(0, 24), told, told)
    assert (rounding.levels & 1).all()


@pytest.fixture
def composed(tmp_path: Path) -> list[Path]:
    """A composed picture and its background; they are alike but for 100x60 pixels."""
    back = natural(200, 240, 0)
    front = back.copy()
    front[90:150, 40:140] = natural(60, 100, 1)
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
    alike = mark.area.mask(200, 240)
    assert np.array_equal(front[alike], back[alike]) and alike.mean() > 0.75
    # But for the samples of the mark's head.
    assert np.abs(shown.astype(int) - front)[alike].max() <= 1
    assert np.count_nonzero(shown[alike] != front[alike]) < 8 * (len(mark.common) + 40)

    done(run("restore", out, "-o", tmp_path / "back"))
    for name, wanted in (("composed.png", front), ("back.png", back)):
        restored = pixels(tmp_path / "back" / name)
        assert np.array_equal(restored[alike], shown[alike])
        assert psnr(restored, wanted) > 40
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
    alike = mark.area.mask(200, 240)

    def restored(name: str, pixels: np.ndarray, text: str | None) -> np.ndarray:
        info = PngInfo()
        if text is not None:
            info.add_itxt("iicnet", text)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png", pnginfo=info)
        altered = text is not None and not np.array_equal(pixels, shown)
        result = run("restore", tmp_path / f"{name}.png", "-o", tmp_path / name)
        assert result.exit_code == (3 if altered else 0)
        return np.stack([pixels(path) for path in sorted((tmp_path / name).iterdir())])

    whole = restored("whole", shown, header.to_json())
    assert np.array_equal(restored("stripped", shown, None), whole)
    assert "% of the picture" in done(run("info", tmp_path / "stripped.png")).stdout
    # The mark lost, by the header's area pictures still are what the pixels show.
    pasted = shown.copy()
    pasted[:60] = 0
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
    assert wrong.max() <= 1 and np.count_nonzero(wrong) < 400


def test_a_forecast_knows(run: Run, composed: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    command = ("embed", *composed, "--task", "layers", "-o", out, "--json")
    told = json.loads(done(run(*command, "--dry-run")).stdout)
    made = json.loads(done(run(*command)).stdout)
    assert told["embed_psnr"] == pytest.approx(made["embed_psnr"], abs=1.5)
    assert told["restored_psnr"] == pytest.approx(made["restored_psnr"], abs=1.5)
