"""The option ``--align``: motion from the command line to the PNG and back."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from iicnet_cli.container.embedding_file import read_header
from iicnet_cli.motion.field import VECTOR_UNITS_PER_PIXEL, MotionField
from iicnet_cli.payload.mark_pixels import payload_capacity, read_mark, write_mark
from iicnet_cli.payload.payload_code import PayloadCode
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.zoo.checkpoint import write_checkpoint
from tests.conftest import Run, done, frames_of, natural, rewrite_header
from tests.copying_network import copying_network


@pytest.fixture(autouse=True)
def copying_models(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copying networks stand for the bundled models of the same names."""
    folder = tmp_path_factory.mktemp("models")
    for name, images in (("video-5", 5), ("video-3-half", 3), ("stereo", 2)):
        net = copying_network(images, half_size=name.endswith("half"))
        write_checkpoint(folder / name, net, name=name, task=name.partition("-")[0])
    monkeypatch.setenv("IICNET_MODELS", str(folder))


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """Left and right view of a plane, 16 pixels apart."""
    scene = natural(90, 160, 1)
    views = [tmp_path / "pair" / "pair_left.png", tmp_path / "pair" / "pair_right.png"]
    views[0].parent.mkdir()
    for view, x in zip(views, (3, 19), strict=True):
        Image.fromarray(scene[:, x : x + 130]).save(view)
    return views


def motion_of(png: Path, group: int = 0) -> MotionField:
    header = read_header(png)
    assert header is not None and header.motion is not None
    motion = MotionField.from_bytes(base64.b64decode(header.motion[group]), header.images - 1)
    assert motion is not None
    return motion


def test_the_header_carries_the_motion_of_a_pan(run: Run, panning: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    done(run("embed", panning, "-o", out))
    vectors = motion_of(out).vectors[1:3, 0]
    before, after = np.median(vectors, axis=(1, 2)) / VECTOR_UNITS_PER_PIXEL
    assert before == pytest.approx((0, -12), abs=0.5)
    assert after == pytest.approx((0, 12), abs=0.5)
    header = read_header(out)
    assert header is not None and header.motion is not None
    moving = sum(map(bool, header.motion))
    assert moving > 1
    assert f"of {moving} of {len(header.motion)} groups" in done(run("info", out)).stdout


@pytest.mark.parametrize(
    ("motion", "aligned"),
    [
        (b"", True),
        (b"nonsense", False),
        (
            MotionField(
                np.ones((2, 2, 3, 3, 2), np.int16), np.zeros((2, 3, 3), np.uint8)
            ).to_bytes(),
            False,
        ),
    ],
    ids=["missing", "nonsense", "of another group"],
)
def test_wrong_motion_in_the_header_is_left_out(
    run: Run, panning: Path, tmp_path: Path, motion: bytes, aligned: bool
) -> None:
    out = tmp_path / "out.png"
    done(run("embed", panning, "-o", out, "--frames", "5"))
    rewrite_header(out, motion=[base64.b64encode(motion).decode()])
    done(run("restore", out, "-o", tmp_path / "back.mkv"))
    back = frames_of(tmp_path / "back.mkv")
    assert len(back) == 5
    # Motion that the header lacks comes from the mark; wrong motion is not replaced.
    assert (psnr(back[0], frames_of(panning)[0]) > 20) == aligned


def test_motion_takes_a_sample_for_each_bit(run: Run, panning: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    done(run("embed", panning, "-o", out, "--frames", "5"))
    with Image.open(out) as image:
        mark = read_mark(np.asarray(image))
    header = read_header(out)
    assert mark is not None and header is not None and header.motion is not None
    assert mark.motion == base64.b64decode(header.motion[0])
    pixels = natural(240, 320, 0)
    assert len(mark.motion) < payload_capacity(pixels.shape)
    mark = dataclasses.replace(
        mark, static_region_bytes=b"", enhancement=b"", code=PayloadCode.LSB_1
    )
    change = write_mark(pixels, mark).astype(int) - pixels
    assert np.abs(change).max() == 1
    assert np.count_nonzero(change) < 0.6 * 8 * len(mark.to_bytes())


@pytest.mark.parametrize("model", ["video-5", "video-3-half"])
def test_frames_come_back_in_place(run: Run, panning: Path, tmp_path: Path, model: str) -> None:
    out = tmp_path / "out.png"
    report = json.loads(done(run("embed", panning, "-o", out, "--model", model, "--json")).stdout)
    header = read_header(out)
    assert header is not None and header.motion is not None
    assert len(header.motion) == report["embeddings"] > 1  # the last group is not full

    original = frames_of(panning)
    done(run("restore", out, "-o", tmp_path / "back.mkv"))
    back = frames_of(tmp_path / "back.mkv")
    quality = [psnr(a, b) for a, b in zip(back, original, strict=True)]
    assert min(quality) > 18
    assert np.mean(quality) > 24

    with Image.open(out) as image:
        image.save(tmp_path / "stripped.png", pnginfo=PngInfo(), save_all=True)
    assert read_header(tmp_path / "stripped.png") is None
    done(run("restore", tmp_path / "stripped.png", "-o", tmp_path / "again.mkv"))
    again = frames_of(tmp_path / "again.mkv")
    assert np.array_equal(again[: len(back)], back)


def test_alignment_helps_and_can_be_left_out(run: Run, panning: Path, tmp_path: Path) -> None:
    quality = []
    for flag in ("--align", "--no-align"):
        out = tmp_path / f"{flag}.png"
        command = ("embed", panning, "-o", out, "--frames", "5", "--no-enhance", flag)
        report = json.loads(done(run(*command, "--json")).stdout)
        quality.append(report["restored_psnr"])
    assert quality[0] > quality[1] + 3
    header = read_header(tmp_path / "--no-align.png")
    assert header is not None and header.motion is None


def test_views_are_not_predicted(run: Run, pair: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    done(run("embed", *pair, "--task", "stereo", "-o", out))
    header = read_header(out)
    assert header is not None and header.motion is None
    with Image.open(out) as image:
        mark = read_mark(np.asarray(image))
    assert mark is not None and not mark.motion


@pytest.mark.parametrize("task", ["stego", "stereo"])
def test_tasks_without_motion_refuse_the_option(
    run: Run, photos: list[Path], tmp_path: Path, task: str
) -> None:
    out = tmp_path / "out.png"
    result = run("embed", *photos[:2], "--task", task, "--no-align", "-o", out)
    assert result.exit_code == 2 and "no use for --align" in result.output
    assert not out.exists()


def evaluated(run: Run, data: Path, model: str, flag: str) -> float:
    result = done(run("evaluate", data, "-m", model, "--json", "--no-enhance", flag))
    hidden: float = json.loads(result.stdout)["mean"]["hidden_psnr"]
    return hidden


def test_evaluate_clips_with_and_without_alignment(run: Run, panning: Path) -> None:
    aligned, not_aligned = (
        evaluated(run, panning.parent, "video-5", flag) for flag in ("--align", "--no-align")
    )
    assert aligned > not_aligned + 3
