"""Video files: facts, parts, times and colours."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from iicnet_cli.container.embedding_file import read_header
from iicnet_cli.errors import MediaError, UsageError
from iicnet_cli.media.stills import resize
from iicnet_cli.media.video_reader import open_frames, probe
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.limits import MAX_PIXELS_VARIABLE
from iicnet_cli.pictures.metrics import psnr
from tests.helpers import QUICK, Run, done
from tests.media_samples import H264, moving_pattern, run_ffmpeg, tone


def test_facts_agree_with_the_frames(sample_clips: Path) -> None:
    info = probe(sample_clips / "plain.mp4")
    assert (info.width, info.height, info.fps, info.frames) == (64, 48, Fraction(24), 72)
    assert info.has_audio
    assert not info.hdr
    assert not info.variable_rate
    assert info.codec == "h264"
    assert info.duration == pytest.approx(3.0)
    with open_frames(sample_clips / "plain.mp4") as source:
        assert sum(frame.shape == (48, 64, 3) for frame in source) == 72
        assert source.timestamps[:3] == pytest.approx([0, 1 / 24, 2 / 24])
        assert source.notes == []


def test_ntsc_rate_is_exact(sample_clips: Path, tmp_path: Path) -> None:
    assert probe(sample_clips / "ntsc.mp4").fps == Fraction(30000, 1001)
    run_ffmpeg(tmp_path / "n.mkv", "-i", str(sample_clips / "ntsc.mp4"), "-c", "copy")
    info = probe(tmp_path / "n.mkv")
    assert (info.fps, info.frames, info.variable_rate) == (Fraction(30000, 1001), 30, False)


def test_rotation_is_applied(sample_clips: Path) -> None:
    info = probe(sample_clips / "turned.mp4")
    assert (info.width, info.height, info.rotation) == (48, 64, 90)
    with (
        open_frames(sample_clips / "plain.mp4") as plain,
        open_frames(sample_clips / "turned.mp4") as turned,
    ):
        assert (turned.info.width, turned.info.height) == (48, 64)
        assert psnr(next(turned), np.rot90(next(plain))) > 40
        assert "turned upright" in turned.notes[0]


def test_variable_rate_keeps_every_frame_once(sample_clips: Path) -> None:
    info = probe(sample_clips / "uneven.mp4")
    assert info.variable_rate
    with open_frames(sample_clips / "uneven.mp4") as source:
        frames = list(source)
    expected = [i / 30 for i in range(30) if i < 10 or i % 3 == 0]
    assert len(frames) == info.frames == len(expected)
    assert source.timestamps == pytest.approx(expected, abs=1e-4)


def test_one_frame_and_odd_sizes(sample_clips: Path, tmp_path: Path) -> None:
    with open_frames(sample_clips / "one.mp4") as source:
        assert len(list(source)) == 1
    assert probe(sample_clips / "one.mp4").frames == 1
    odd = run_ffmpeg(
        tmp_path / "odd.mkv",
        *("-f", "lavfi", "-i", "testsrc=s=65x47:r=10:d=0.5", "-c:v", "ffv1", "-pix_fmt", "bgr0"),
    )
    with open_frames(odd) as source:
        assert {frame.shape for frame in source} == {(47, 65, 3)}


@pytest.fixture(scope="module")
def decoded(sample_clips: Path) -> dict[str, list[Pixels]]:
    """All frames of the same clip in three containers."""
    frames = {}
    for name in ("plain.mp4", "plain.mkv", "plain.ts"):
        with open_frames(sample_clips / name) as source:
            frames[name] = list(source)
    return frames


@pytest.mark.parametrize("name", ["plain.mp4", "plain.mkv", "plain.ts"])
@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({"start": 0.51, "end": 1.0}, range(13, 24)),
        ({"start": 0.5, "end": 1.0}, range(12, 24)),
        ({"start": 1 / 24, "end": 5 / 24}, range(1, 5)),
        ({"start": 1.0, "step": 7}, range(24, 72, 7)),
        ({"start": 1.0, "step": 7, "frames": 3}, (24, 31, 38)),
        ({"end": 0.25}, range(6)),
        ({"frames": 5}, range(5)),
    ],
)
def test_parts_of_a_clip(
    sample_clips: Path,
    decoded: dict[str, list[Pixels]],
    name: str,
    options: dict[str, float],
    chosen: tuple[int, ...],
) -> None:
    every = decoded[name]
    with open_frames(sample_clips / name, **options) as source:  # type: ignore[arg-type]
        part = list(source)
    assert len(part) == len(chosen)
    assert all(np.array_equal(frame, every[i]) for frame, i in zip(part, chosen, strict=True))
    assert source.timestamps[0] == 0
    assert source.timestamps[-1] == pytest.approx((chosen[-1] - chosen[0]) / 24, abs=2e-3)


def test_a_part_far_into_a_clip(tmp_path: Path) -> None:
    path = run_ffmpeg(tmp_path / "long.mp4", *moving_pattern(25, "10", "32x32"), *H264)
    with open_frames(path) as source:
        every = list(source)
    with open_frames(path, start=20.3, end=20.6) as source:
        part = list(source)
    assert [np.array_equal(a, b) for a, b in zip(part, every[203:206], strict=True)] == [True] * 3


def test_senseless_parts_are_refused(sample_clips: Path) -> None:
    with pytest.raises(UsageError, match=r"lasts 3\.000 s"):
        open_frames(sample_clips / "plain.mp4", start=3.5)
    for options in ({"start": 2.0, "end": 1.0}, {"step": 0}, {"frames": 0}, {"start": -1.0}):
        with pytest.raises(UsageError):
            open_frames(sample_clips / "plain.mp4", **options)
    with pytest.raises(MediaError, match="no frame"):
        open_frames(sample_clips / "plain.mp4", start=2.99)


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_is_tone_mapped_and_noted(tmp_path: Path, transfer: str) -> None:
    tags = f"color_primaries=bt2020:color_trc={transfer}:colorspace=bt2020nc:range=tv"
    path = run_ffmpeg(
        tmp_path / "hdr.mkv",
        *("-f", "lavfi", "-i", "color=c=gray:s=64x48:r=24:d=0.2"),
        *("-vf", f"format=yuv420p10le,setparams={tags}", "-c:v", "ffv1", "-pix_fmt", "yuv420p10le"),
    )
    assert probe(path).hdr
    with open_frames(path) as source:
        frames = list(source)
        assert any("HDR" in note for note in source.notes)
    assert len(frames) == 5
    assert 40 < frames[0].mean() < 220
    assert frames[0].std() < 3


def test_wide_gamut_standard_range_is_converted(tmp_path: Path) -> None:
    tags = "color_primaries=bt2020:color_trc=bt2020-10:colorspace=bt2020nc:range=tv"
    path = run_ffmpeg(
        tmp_path / "wide.mkv",
        *("-f", "lavfi", "-i", "color=c=0xC08080:s=64x48:r=24:d=0.1", "-vf"),
        f"scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le,setparams={tags}",
        *("-c:v", "ffv1", "-pix_fmt", "yuv420p10le"),
    )
    assert not probe(path).hdr
    with open_frames(path) as source:
        red, green, _ = (int(v) for v in next(source)[24, 32])
        assert source.notes == ["BT.2020 colours converted to BT.709"]
    assert red > 0xC4  # BT.2020 colours have more saturated numbers in BT.709
    assert green < 0x80


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
@pytest.mark.parametrize("full", ["tv", "pc"])
def test_colour_matrix_and_range_are_respected(tmp_path: Path, matrix: str, full: str) -> None:
    tags = f"colorspace={matrix}:range={full}"
    path = run_ffmpeg(
        tmp_path / "c.mkv",
        *("-f", "lavfi", "-i", "color=c=0xC04020:s=64x48:r=24:d=0.1"),
        "-vf",
        f"scale=out_color_matrix={matrix}:out_range={full},format=yuv444p,setparams={tags}",
        *("-c:v", "ffv1", "-pix_fmt", "yuv444p"),
    )
    with open_frames(path) as source:
        colour = next(source)[24, 32].astype(int)
    assert np.abs(colour - (0xC0, 0x40, 0x20)).max() <= 2


def test_broken_clips_are_one_line_errors(sample_clips: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no clip")
    data = (sample_clips / "plain.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[:3000])
    for name in ("text.mp4", "cut.mp4"):
        with pytest.raises(MediaError, match=name) as caught:
            open_frames(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert "moov" in str(caught.value)
    with pytest.raises(MediaError, match="no such file"):
        probe(tmp_path / "missing.mp4")
    sound = run_ffmpeg(tmp_path / "sound.wav", *tone(0.2))
    with pytest.raises(MediaError, match="no video"):
        probe(sound)


def test_any_file_name_can_be_read(sample_clips: Path, tmp_path: Path) -> None:
    for name in ("-i.mp4", "a:b.mp4", "x %03d 'y'.mp4", "concat:z.mp4"):
        path = tmp_path / name
        path.write_bytes((sample_clips / "one.mp4").read_bytes())
        with open_frames(path) as source:
            assert len(list(source)) == 1


def test_transparency_beside_the_pictures_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.webm"
    seen_through = ("-vf", "format=yuva420p,colorchannelmixer=aa=0.5", "-pix_fmt", "yuva420p")
    run_ffmpeg(path, *moving_pattern(1), *seen_through, "-c:v", "libvpx-vp9")
    assert "its transparency is ignored" in probe(path).notes


def test_clips_of_too_many_pixels_are_refused(
    sample_clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "3000")
    with pytest.raises(MediaError, match=r"64x48 is more than 0\.003 megapixels"):
        probe(sample_clips / "plain.mp4")


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_thinned_clip_keeps_its_pace(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    thinned = ("-vf", "select='not(mod(n,10))'", "-fps_mode", "vfr")
    run_ffmpeg(path, *moving_pattern(4, "25"), *thinned, *H264)
    info = probe(path)
    assert (info.fps, info.frames, info.variable_rate) == (Fraction(5, 2), 10, False)
    assert info.duration == pytest.approx(4.0)


def test_frames_of_one_time_are_separated_and_restored(run: Run, tmp_path: Path) -> None:
    twice = ("-vf", "setpts='if(eq(N,3),2,N)*0.1/TB'", "-fps_mode", "passthrough")
    run_ffmpeg(tmp_path / "a.mkv", *moving_pattern(1, "10"), *twice, "-enc_time_base", "1/1000",
               "-frames:v", "8", "-c:v", "ffv1")  # fmt: skip
    done(run("embed", tmp_path / "a.mkv", "-o", tmp_path / "a.png", *QUICK))
    done(run("restore", tmp_path / "a.png", "-o", tmp_path / "b.mkv"))
    with open_frames(tmp_path / "b.mkv") as source:
        assert len(list(source)) == 8
        assert source.timestamps == pytest.approx([0, 0.1, 0.2, 0.2, 0.4, 0.5, 0.6, 0.7], abs=2e-3)


def test_a_clip_of_less_than_a_frame_in_2000_seconds(run: Run, tmp_path: Path) -> None:
    slow = ("-vf", "setpts='N*N*7200/TB'", "-fps_mode", "passthrough", "-frames:v", "3")
    run_ffmpeg(tmp_path / "a.mkv", *moving_pattern(1), *slow, "-enc_time_base", "1/1000",
               "-c:v", "ffv1")  # fmt: skip
    done(run("embed", tmp_path / "a.mkv", "-o", tmp_path / "a.png", *QUICK))
    header = read_header(tmp_path / "a.png")
    assert header is not None and header.timestamps == pytest.approx([0, 7200, 28800])
    assert header.frame_rate is not None and 0 < header.frame_rate < Fraction(1, 2000)


def test_texts_of_a_clip_are_not_taken_for_messages(tmp_path: Path) -> None:
    text = "[error] x\n[vf#0:0 @ 0x1] [error] showinfo pts: 9 pts_time:9 "
    path = run_ffmpeg(
        tmp_path / "a.mkv", *moving_pattern(0.5, "10"), "-metadata", f"title={text}", *H264
    )
    with open_frames(path) as source:
        assert len(list(source)) == 5
        assert source.timestamps == pytest.approx([i / 10 for i in range(5)], abs=1e-9)
        assert source.notes == []


def resized_midway(folder: Path, second: str) -> Path:
    """A clip whose frames are 64x48 ten times, and then of another size ten times."""
    with (folder / "a.h264").open("wb") as joined:
        for size in ("64x48", second):
            part = run_ffmpeg(folder / "part.h264", *moving_pattern(1, "10", size), *H264)
            joined.write(part.read_bytes())
    return folder / "a.h264"


def test_a_frame_size_that_changes_is_scaled_and_noted(tmp_path: Path) -> None:
    path = resized_midway(tmp_path, "128x96")
    with open_frames(path) as source:
        frames = list(source)
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 20
    assert source.notes == ["its frames become 128x96; they are scaled to the first one's"]
    large = run_ffmpeg(tmp_path / "large.mkv", *moving_pattern(1, "10", "128x96"), *H264)
    with open_frames(large) as source:
        for scaled, whole in zip(frames[10:], source, strict=True):
            assert psnr(scaled, resize(whole, 64, 48)) > 25
        assert source.notes == []


def test_a_frame_size_beyond_the_limit_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = resized_midway(tmp_path, "320x240")
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "5000")
    with open_frames(path) as source:
        assert len(list(source)) == 10
    assert any("damaged in places" in note for note in source.notes)


@pytest.mark.parametrize("size", ["65x48", "64x47", "65x47"])
def test_hdr_clips_may_have_odd_sides(tmp_path: Path, size: str) -> None:
    tags = "color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv"
    means = []
    for shape in ("64x48", size):
        path = run_ffmpeg(
            tmp_path / f"{shape}.mkv",
            *("-f", "lavfi", "-i", f"color=c=0x806040:s={shape}:r=24:d=0.1"),
            *("-vf", f"format=yuv420p10le,setparams={tags}", "-c:v", "ffv1"),
        )
        with open_frames(path) as source:
            frames = list(source)
        width, height = map(int, shape.split("x"))
        assert {frame.shape for frame in frames} == {(height, width, 3)}
        assert source.notes == ["HDR tone-mapped to the standard range"]
        means.append(frames[0].mean(axis=(0, 1)))
    assert means[1] == pytest.approx(means[0], abs=1)
