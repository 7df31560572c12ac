"""The converter as a program calls it: progress, estimates, reports and errors."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from iicnet_cli import (
    Converter,
    EmbedOptions,
    ModelError,
    NotAnEmbeddingError,
    OutputExistsError,
    Progress,
    QualityError,
    Stage,
    UsageError,
    embedding_job,
)
from iicnet_cli.container.embedding_file import read_header
from iicnet_cli.network import IICNet
from iicnet_cli.payload.mark_pixels import read_mark
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.zoo import Checkpoint
from tests.engine_helpers import static_region_of
from tests.helpers import pixels, save, save_all
from tests.samples import Pixels, moving, natural

QUICK = EmbedOptions(effort=0, verify=False)


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """Two photos of 64x48."""
    return [save(tmp_path / f"{i}.png", natural(48, 64, i)) for i in range(2)]


@pytest.fixture(scope="module")
def converter() -> Converter:
    return Converter(device="cpu")


# ------------------------------------------------------------------------------------ progress


def check_progress(reports: list[Progress], stages: list[Stage], total: int | None) -> None:
    """A call opens its inputs; then stages come in order, and in each the groups done grow."""
    assert all(isinstance(each, Progress) for each in reports)
    assert reports.pop(0) == Progress(Stage.OPENING, 0, None)
    assert [stage for stage, _ in groupby(each.stage for each in reports)] == stages
    assert all(each.total == total for each in reports)
    for _, same_stage in groupby(reports, key=lambda each: each.stage):
        done = [each.done for each in same_stage]
        assert done == sorted(done)
    for each in reports:
        assert (each.gained_psnr is not None) == (each.stage is Stage.SEARCHING)


def test_progress_of_embedding_and_restoring_photos(pair: list[Path], tmp_path: Path) -> None:
    reports: list[Progress] = []
    converter = Converter(device="cpu", progress=reports.append)
    converter.embed(pair, tmp_path / "out.png")
    check_progress(reports, [Stage.EMBEDDING, Stage.ENHANCING, Stage.VERIFYING], total=1)
    assert reports[-1] == Progress(Stage.VERIFYING, 1, 1)
    reports.clear()
    converter.restore(tmp_path / "out.png", tmp_path / "back")
    check_progress(reports, [Stage.RESTORING], total=1)
    assert reports[-1] == Progress(Stage.RESTORING, 1, 1)
    reports.clear()
    converter.restore_images(tmp_path / "out.png")
    check_progress(reports, [Stage.RESTORING], total=1)


def test_progress_of_a_search_tells_what_it_gained(pair: list[Path], tmp_path: Path) -> None:
    reports: list[Progress] = []
    converter = Converter(device="cpu", progress=reports.append)
    options = EmbedOptions(effort=2, enhance=False)
    report = converter.embed(pair, tmp_path / "out.png", options=options)
    check_progress(reports, [Stage.EMBEDDING, Stage.SEARCHING, Stage.VERIFYING], total=1)
    assert report.gained_psnr is not None


def test_progress_of_a_clip_counts_its_groups(tmp_path: Path) -> None:
    frames = save_all(tmp_path / "frames", moving(7, 32, 48))
    reports: list[Progress] = []
    # So little memory that one group is encoded at a time.
    converter = Converter(device="cpu", memory=1, progress=reports.append)
    converter.embed([frames], tmp_path / "out.png", options=QUICK)
    check_progress(reports, [Stage.EMBEDDING], total=2)
    assert [each.done for each in reports if float(each.done).is_integer()] == [1, 1, 2]
    assert [number for number, _ in groupby(each.group for each in reports)] == [0, 1]
    reports.clear()
    converter.restore(tmp_path / "out.png", tmp_path / "back")
    check_progress(reports, [Stage.RESTORING], total=2)
    assert reports[-1].done == 2


# ------------------------------------------------------------------------------------- reports


def test_the_report_is_of_the_written_file(
    converter: Converter, pair: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "out.png"
    report = converter.embed(pair, output, options=EmbedOptions(with_ssim=True))
    assert (report.output, report.task, report.guessed) == (output, "stego", True)
    assert (report.embeddings, report.images, report.width, report.height) == (1, 2, 64, 48)
    assert report.bytes == output.stat().st_size
    assert report.embed_psnr == pytest.approx(psnr(pixels(output), pixels(pair[0])))
    assert [each.name for each in report.restored] == ["0.png", "1.png"]
    restored = converter.restore(output, tmp_path / "back")
    assert (restored.images, restored.altered, restored.found_by) == (2, False, "header")
    for quality, path, original in zip(report.restored, restored.outputs, pair, strict=True):
        assert quality.psnr == pytest.approx(psnr(pixels(path), pixels(original)))
        assert quality.ssim is not None and 0 < quality.ssim <= 1


def test_a_missed_target_is_noted(converter: Converter, tmp_path: Path) -> None:
    photos = [save(tmp_path / f"{i}.png", natural(32, 32, i)) for i in range(2)]
    options = EmbedOptions(effort=2, enhance=False, target_embed_psnr=70)
    report = converter.embed(photos, tmp_path / "out.png", options=options)
    assert any("target of 70 dB for the embedding was not reached" in note for note in report.notes)
    assert report.embed_psnr is not None and report.embed_psnr < 69


def test_too_low_a_quality_leaves_no_file(
    converter: Converter, pair: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(QualityError):
        options = EmbedOptions(effort=0, verify=False, min_psnr=99)
        converter.embed(pair, tmp_path / "out.png", options=options)
    assert not (tmp_path / "out.png").exists()


def test_an_estimate_is_near_what_is_written(
    converter: Converter, pair: list[Path], tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    estimate = converter.estimate(pair)
    assert sorted(tmp_path.iterdir()) == before
    report = converter.embed(pair, tmp_path / "out.png")
    for name in ("task", "model", "images", "width", "height", "embeddings", "guessed"):
        assert getattr(estimate, name) == getattr(report, name), name
    # Only mark and header are missing in pictures as small as one window.
    assert estimate.embed_psnr == pytest.approx(report.embed_psnr, abs=0.1)
    assert estimate.restored_psnr == pytest.approx(report.restored_psnr, abs=0.1)
    assert estimate.bytes == pytest.approx(report.bytes, rel=0.15)
    assert estimate.seconds > 0


def test_a_still_screen_is_exact_and_estimated_so(converter: Converter, tmp_path: Path) -> None:
    frames = natural(64, 96, 3)[None].repeat(5, axis=0)
    for t in range(5):
        frames[t, 16:40, 24:56] = natural(24, 32, 10 + t)
    folder = save_all(tmp_path / "screen", frames)
    estimate = converter.estimate([folder])
    report = converter.embed([folder], tmp_path / "out.png")
    assert estimate.embed_psnr == pytest.approx(report.embed_psnr, abs=1.5)
    assert estimate.restored_psnr == pytest.approx(report.restored_psnr, abs=1.5)
    mark = read_mark(pixels(tmp_path / "out.png"))
    region = static_region_of(mark) if mark else None
    assert region is not None and region.cells.mean() > 0.6
    static = region.mask(64, 96)
    for frame in converter.restore_images(tmp_path / "out.png"):
        # The lowest bits of some pixels carry the mark.
        assert np.abs(frame.astype(int) - frames[0])[static].max() <= 1


# -------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("out.jpg", QUICK, UsageError, "must be a PNG"),
        ("taken.png", QUICK, OutputExistsError, "exists"),
        ("out.png", EmbedOptions(frames=3), UsageError, "stego has no use for --frames"),
        ("out.png", EmbedOptions(half=True), UsageError, "stego has no use for --half"),
    ],
)
def test_what_cannot_be_embedded_is_refused(
    converter: Converter,
    pair: list[Path],
    tmp_path: Path,
    name: str,
    options: EmbedOptions,
    error: type[Exception],
    message: str,
) -> None:
    (tmp_path / "taken.png").touch()
    with pytest.raises(error, match=message):
        converter.embed(pair, tmp_path / name, options=options)
    assert not (tmp_path / "out.png").exists()


def test_a_converter_loads_a_network_once(
    pair: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    load = Checkpoint.load

    def counting_load(checkpoint: Checkpoint) -> IICNet:
        loaded.append(checkpoint.name)
        return load(checkpoint)

    monkeypatch.setattr(Checkpoint, "load", counting_load)
    converter = Converter(device="cpu")
    converter.embed(pair, tmp_path / "out.png", options=EmbedOptions(effort=0))
    converter.embed(pair, tmp_path / "again.png", model="stego-2", options=QUICK)
    converter.restore(tmp_path / "out.png")
    assert loaded == ["stego-2"]


def test_no_input_is_refused(converter: Converter, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no input"):
        converter.embed([], tmp_path / "out.png")


def pictures(count: int, height: int = 32, width: int = 40) -> list[Pixels]:
    return [natural(height, width, seed) for seed in range(count)]


@pytest.mark.parametrize(
    ("images", "arguments", "error", "message"),
    [
        pytest.param([], {}, UsageError, "no input", id="none"),
        pytest.param(pictures(1), {}, UsageError, "cannot tell the task", id="one"),
        pytest.param(pictures(6), {}, UsageError, "5 photos at most", id="too many"),
        pytest.param(pictures(2, 15, 40), {}, UsageError, "40x15 pixels are too small", id="small"),
        pytest.param(
            pictures(2), {"model": "stego-3"}, UsageError, "takes 3 photos", id="other number"
        ),
        pytest.param(pictures(2), {"model": "none"}, ModelError, "no model", id="no model"),
        pytest.param(pictures(2), {"task": "none"}, UsageError, "no task", id="no task"),
        pytest.param(
            pictures(2),
            {"options": EmbedOptions(effort=0, min_psnr=99)},
            QualityError,
            "99 dB was asked for",
            id="quality",
        ),
        pytest.param(
            pictures(2, 16, 16) + pictures(1),
            {"options": EmbedOptions(step=2)},
            UsageError,
            "no use for --step",
            id="option of another task",
        ),
    ],
)
def test_pictures_in_memory_that_cannot_be_embedded_are_refused(
    converter: Converter,
    images: list[Pixels],
    arguments: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        converter.embed_images(images, **{"options": QUICK, **arguments})  # type: ignore[arg-type]


def test_a_plain_picture_in_memory_is_not_restored(converter: Converter, pair: list[Path]) -> None:
    for source in (pair[0], pair[0].read_bytes()):
        with pytest.raises(NotAnEmbeddingError):
            converter.restore_images(source)


def test_a_header_that_would_be_too_long_leaves_to_the_marks_what_they_have(
    converter: Converter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_all(tmp_path / "frames", moving(10, 64, 96))
    converter.embed([folder], tmp_path / "usual.png", options=QUICK)
    monkeypatch.setattr(embedding_job, "MAX_HEADER_BYTES", 1)
    converter.embed([folder], tmp_path / "short.png", options=QUICK)
    usual, short = (read_header(tmp_path / f"{name}.png") for name in ("usual", "short"))
    assert usual is not None and short is not None
    assert usual.motion and any(usual.motion)
    assert (short.motion, short.static_regions) == (None, None)
    assert short.sources == usual.sources
    found, wanted = (
        converter.restore_images(tmp_path / f"{name}.png") for name in ("short", "usual")
    )
    assert len(found) == 10
    assert all((a == b).all() for a, b in zip(found, wanted, strict=True))
