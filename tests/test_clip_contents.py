"""What bundles of a clip hold: as many frames as fit above a floor of quality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from iicnet_cli.contents.clip_contents import clip_parts
from iicnet_cli.contents.part import ContentsRequest, Part, check_files
from iicnet_cli.contents.restored_contents import RestoredContents
from iicnet_cli.errors import QualityError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.clip_packets import packets_of
from iicnet_cli.media.video_reader import open_frames
from iicnet_cli.options import EmbedOptions, RestoreOptions
from iicnet_cli.payload.bundle import Role
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.tasks import task_named
from tests.helpers import frames_of, write_clip
from tests.samples import Pixels, moving, natural

SCENES = np.stack([np.repeat(natural(48, 64, i)[..., :1], 3, axis=2) for i in range(4)])
"""Frames of which none helps to predict another."""
FRAMES = np.repeat(moving(8, 48, 64)[..., :1], 3, axis=3)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "pan.mkv", FRAMES)


def parts_of(clip: Path, room: int, **options: object) -> list[Part]:
    task = task_named("video")
    given = EmbedOptions(engine="lowbits", **options)  # type: ignore[arg-type]
    source = task.open([clip], 1, given)
    request = ContentsRequest(task, source, given, lambda cover: room, 40, "at 40 dB")
    return list(clip_parts(request))


def frames_in(parts: list[Part], scratch: Path) -> Pixels:
    contents = RestoredContents([p.bundle for p in parts], [p.cover for p in parts], scratch)
    return np.stack([group.images[0] for group in contents.groups()])


def test_a_clip_that_fits_is_carried_byte_for_byte(clip: Path, tmp_path: Path) -> None:
    (part,) = parts_of(clip, 10**6, exact=True)
    assert part.bundle.of_role(Role.ORIGINAL)[0].data == clip.read_bytes()
    assert (part.cover == FRAMES[4]).all()
    assert (frames_in([part], tmp_path) == FRAMES).all()


def test_the_room_is_filled(clip: Path, tmp_path: Path) -> None:
    quality = []
    for room in (3500, 7000):
        (part,) = parts_of(clip, room, min_psnr=20)
        assert 0.8 * room < len(part.bundle.to_bytes()) <= room
        scratch = tmp_path / str(room)
        scratch.mkdir()
        found = frames_in([part], scratch)
        quality.append(min(psnr(a, b) for a, b in zip(found, FRAMES, strict=True)))
    assert 25 < quality[0] < quality[1]


def test_a_short_clip_leaves_out_what_the_embedding_shows(clip: Path, tmp_path: Path) -> None:
    """Its middle frame is the embedding itself, in its place among the others."""
    colourful = moving(5, 48, 64)
    colours = write_clip(tmp_path / "colours.mkv", colourful)
    (part,) = parts_of(colours, 9000, frames=5, min_psnr=20, start=0.0)
    assert part.description.options["left_out"] == 2
    found = frames_in([part], tmp_path)
    assert (found[2] == part.cover).all()
    quality = [psnr(a, b) for a, b in zip(found, colourful, strict=True)]
    assert quality[2] == np.inf
    assert min(quality) > 35


def test_a_floor_of_quality_makes_more_parts(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "scenes.mkv", SCENES)
    quality = []
    for floor in (25, 34):
        parts = parts_of(clip, 2500, min_psnr=floor)
        assert sum(part.frames for part in parts) == 4
        scratch = tmp_path / str(floor)
        scratch.mkdir()
        found = frames_in(parts, scratch)
        quality.append(np.mean([psnr(a, b) for a, b in zip(found, SCENES, strict=True)]))
    assert len(parts) > 1
    assert quality[0] < 34 < quality[1]


def test_colours_that_are_kept_whole_make_no_more_parts(tmp_path: Path) -> None:
    """What halving their resolution would cost, as in a drawing, needs no bytes."""
    drawing = np.zeros((6, 48, 64, 3), np.uint8)
    drawing[:, ::2] = (220, 20, 60)
    drawing[:, 1::2] = (20, 90, 220)
    for i, frame in enumerate(drawing):
        frame[8:24, 8 + i : 24 + i] = (240, 220, 30)
    clip = write_clip(tmp_path / "drawing.mkv", drawing)
    parts = parts_of(clip, 3000, start=0.0)
    assert [part.frames for part in parts] == [6]
    found = frames_in(parts, tmp_path)
    assert np.mean([min(99, psnr(a, b)) for a, b in zip(found, drawing, strict=True)]) > 36


@pytest.mark.slow
def test_every_part_restores_above_the_floor(tmp_path: Path) -> None:
    """Also where the first frames take far fewer bytes than those that follow."""
    still = np.repeat(SCENES[:1], 4, axis=0)
    clip = write_clip(tmp_path / "still-then-scenes.mkv", np.concatenate([still, SCENES]))
    parts = parts_of(clip, 2500, min_psnr=34)
    found = frames_in(parts, tmp_path)
    first = 0
    for part in parts:
        shown = range(first, first + part.frames)
        originals = np.concatenate([still, SCENES])
        assert np.mean([min(99, psnr(found[i], originals[i])) for i in shown]) > 33.9
        first += part.frames
    assert first == 8
    assert max(part.frames for part in parts) > min(part.frames for part in parts)


def test_only_a_part_of_a_clip_is_no_file(clip: Path) -> None:
    (part,) = parts_of(clip, 10**6, frames=3)
    assert part.frames == 3
    assert not part.bundle.of_role(Role.ORIGINAL)
    given = EmbedOptions(engine="lowbits", frames=3, exact=True)
    with pytest.raises(QualityError, match="no files"):
        check_files(task_named("video").open([clip], 1, given), given)


def test_exact_tells_how_much_is_missing(clip: Path) -> None:
    with pytest.raises(QualityError, match=r"the inputs take \d+ bytes more"):
        parts_of(clip, 3000, exact=True)


def test_a_clip_that_cannot_fit_is_refused(clip: Path) -> None:
    with pytest.raises(QualityError, match="bytes more than the picture holds"):
        parts_of(clip, 400, min_psnr=5)


def test_sound_goes_with_its_frames(sample_clips: Path, tmp_path: Path) -> None:
    source = sample_clips / "plain.mp4"
    (part,) = parts_of(source, 60_000, frames=24, min_psnr=10)
    media = part.bundle.of_role(Role.MEDIA)[0]
    assert media.name == "plain.webm"
    (tmp_path / "m.webm").write_bytes(media.data)
    from iicnet_cli.media.video_reader import probe

    info = probe(tmp_path / "m.webm")
    assert info.has_audio
    assert info.frames == 24
    assert info.duration == pytest.approx(1.0, abs=0.1)
    assert frames_of(tmp_path / "m.webm").shape == (24, 48, 64, 3)


@pytest.mark.slow
def test_sound_in_many_parts_does_not_drift(sample_clips: Path, tmp_path: Path) -> None:
    parts = parts_of(sample_clips / "plain.mp4", 6000, frames=12, min_psnr=42)
    assert len(parts) > 1
    contents = RestoredContents([p.bundle for p in parts], [p.cover for p in parts], tmp_path)
    for suffix in (".webm", ".mkv", ".mp4"):
        target = tmp_path / f"whole{suffix}"
        contents.deliver(target, overwrite=False, options=RestoreOptions())
        seconds = sum(packet.duration for packet in packets_of(target, "audio"))
        assert float(seconds) == pytest.approx(12 / 24, abs=0.03)
        assert len(packets_of(target)) == 12


@pytest.mark.parametrize("has_av1", [True, False])
@pytest.mark.parametrize(("height", "width"), [(47, 63), (47, 64), (48, 63)])
def test_odd_sides_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, height: int, width: int, has_av1: bool
) -> None:
    if not has_av1:
        monkeypatch.setattr(ffmpeg, "has_encoder", lambda name: name == "libx264")
    frames = np.repeat(moving(3, height, width)[..., :1], 3, axis=3)
    clip = write_clip(tmp_path / "odd.mkv", frames)
    (part,) = parts_of(clip, 20_000, start=0.0, min_psnr=20)
    assert (part.notes[0] == "H.264 4:4:4") == (not has_av1)
    found = frames_in([part], tmp_path)
    assert found.shape == frames.shape
    assert min(psnr(a, b) for a, b in zip(found, frames, strict=True)) > 35


def test_a_clip_of_one_frame(sample_clips: Path, tmp_path: Path) -> None:
    (part,) = parts_of(sample_clips / "one.mp4", 20_000, start=0.0)
    contents = RestoredContents([part.bundle], [part.cover], tmp_path)
    target = tmp_path / "one.webm"
    contents.deliver(target, overwrite=False, options=RestoreOptions())
    assert psnr(frames_of(target)[0], frames_of(sample_clips / "one.mp4")[0]) > 36


@pytest.mark.parametrize("suffix", [".webm", ".mkv", ".mp4"])
def test_a_variable_rate_is_kept(sample_clips: Path, tmp_path: Path, suffix: str) -> None:
    source = sample_clips / "uneven.mp4"
    parts = parts_of(source, 9_000, start=0.0, min_psnr=20)
    contents = RestoredContents([p.bundle for p in parts], [p.cover for p in parts], tmp_path)
    target = tmp_path / f"uneven{suffix}"
    contents.deliver(target, overwrite=False, options=RestoreOptions())
    assert times_of(target) == pytest.approx(times_of(source), abs=0.002)


def test_a_turned_clip_is_upright(sample_clips: Path, tmp_path: Path) -> None:
    source = sample_clips / "turned.mp4"
    parts = parts_of(source, 20_000, frames=4, min_psnr=20)
    found = frames_in(parts, tmp_path)
    assert found.shape == (4, 64, 48, 3)
    originals = frames_of(source)[:4]
    assert min(psnr(a, b) for a, b in zip(found, originals, strict=True)) > 30


def times_of(clip: Path) -> list[float]:
    """The times of all frames in seconds."""
    with open_frames(clip) as frames:
        for _ in frames:
            pass
        return frames.timestamps


@pytest.mark.slow
def test_a_floor_that_few_frames_reach_makes_as_many_parts(tmp_path: Path) -> None:
    """51 dB: every frame gets an embedding of its own."""
    clip = write_clip(tmp_path / "pan.mkv", FRAMES[:3])
    parts = parts_of(clip, 5200, start=0.0, min_psnr=51)
    found = frames_in(parts, tmp_path)
    assert sum(part.frames for part in parts) == 3
    quality = [min(99, psnr(a, b)) for a, b in zip(found, FRAMES[:3], strict=True)]
    assert np.mean(quality) > 51
