"""What is known about clips before they are decoded."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from iicnet_cli.errors import MediaError
from iicnet_cli.media.clip_probe import has_sound, list_packets, read_clip_facts
from tests.media_samples import H264, declare_stereo, moving_pattern, run_ffmpeg, tone


def test_a_clip_is_described(sample_clips: Path) -> None:
    facts = read_clip_facts(sample_clips / "plain.mp4")
    stream = facts.stream
    assert (stream.codec, stream.pixel_format, facts.audio_codec) == ("h264", "yuv420p", "aac")
    assert (stream.width, stream.height, stream.pixel_aspect) == (64, 48, 1)
    assert (stream.frame_rate, stream.base_rate) == (Fraction(24), Fraction(24))
    assert facts.duration == pytest.approx(3.0, abs=0.05)
    assert not (stream.interlaced or stream.is_hdr or stream.is_wide_gamut or stream.has_alpha)
    assert (stream.rotation, stream.stereo) == (0, None)
    assert read_clip_facts(sample_clips / "turned.mp4").stream.rotation == 90
    assert read_clip_facts(sample_clips / "ntsc.mp4").audio_codec is None
    assert read_clip_facts(sample_clips / "ntsc.mp4").stream.frame_rate == Fraction(30000, 1001)


def test_a_part_of_a_file_is_described(sample_clips: Path, tmp_path: Path) -> None:
    clip = (sample_clips / "turned.mp4").read_bytes()
    (tmp_path / "photo.jpg").write_bytes(bytes(1000) + clip + bytes(500))
    facts = read_clip_facts(tmp_path / "photo.jpg", (1000, 1000 + len(clip)))
    assert facts == read_clip_facts(sample_clips / "turned.mp4")


def test_unusual_streams_are_recognised(tmp_path: Path) -> None:
    alpha = run_ffmpeg(
        tmp_path / "a.mov", *moving_pattern(0.1), "-c:v", "qtrle", "-pix_fmt", "argb"
    )
    assert read_clip_facts(alpha).stream.has_alpha
    wide = run_ffmpeg(tmp_path / "w.mkv", *moving_pattern(0.1), "-vf", "setsar=4/3", *H264)
    assert read_clip_facts(wide).stream.pixel_aspect == Fraction(4, 3)
    fields = ("-vf", "setfield=tff", "-flags", "+ilme+ildct", "-x264opts", "tff=1")
    assert read_clip_facts(
        run_ffmpeg(tmp_path / "i.mkv", *moving_pattern(0.1), *fields, *H264)
    ).stream.interlaced
    tags = "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv"
    hdr = run_ffmpeg(
        tmp_path / "hdr.mkv",
        *(*moving_pattern(0.1), "-vf", f"format=yuv420p10le,{tags}", "-c:v", "ffv1"),
    )
    stream = read_clip_facts(hdr).stream
    assert (stream.matrix, stream.primaries, stream.transfer) == (9, 9, 16)
    assert stream.is_hdr and stream.is_wide_gamut


@pytest.mark.parametrize(
    ("suffix", "mode", "expected"),
    [
        ("mkv", "left_right", "side-by-side"),
        ("mkv", "right_left", "cross-eyed"),
        ("mkv", "top_bottom", "top-bottom"),
        ("mkv", "bottom_top", "top-bottom with the right view on top"),
        ("mkv", "row_interleaved_lr", "in alternate lines"),
        ("mkv", "mono", None),
        ("mp4", "left_right", "side-by-side"),
        ("mp4", "top_bottom", "top-bottom"),
        ("mp4", "mono", None),
    ],
)
def test_declared_stereo_layouts_are_read(
    tmp_path: Path, suffix: str, mode: str, expected: str | None
) -> None:
    path = declare_stereo(tmp_path / f"a.{suffix}", mode, *moving_pattern(0.2), *H264)
    assert read_clip_facts(path).stream.stereo == expected


def test_a_stereo_layout_inside_the_coded_stream_is_read(tmp_path: Path) -> None:
    for packing, expected in ((3, "side-by-side"), (4, "top-bottom"), (5, "in turn")):
        options = ("-x264opts", f"frame-packing={packing}")
        path = run_ffmpeg(tmp_path / f"{packing}.ts", *moving_pattern(0.2), *H264, *options)
        assert read_clip_facts(path).stream.stereo == expected


def test_files_without_a_picture_are_refused(tmp_path: Path) -> None:
    sound = run_ffmpeg(tmp_path / "sound.wav", *tone(0.2))
    with pytest.raises(MediaError, match=r"sound\.wav: has no video stream"):
        read_clip_facts(sound)
    (tmp_path / "text.mp4").write_text("no clip")
    with pytest.raises(MediaError, match=r"text\.mp4: not a clip that can be read"):
        read_clip_facts(tmp_path / "text.mp4")
    assert has_sound(sound)
    assert not has_sound(tmp_path / "text.mp4")


def test_the_times_of_all_frames_are_listed(sample_clips: Path) -> None:
    times = read_clip_facts(sample_clips / "uneven.mp4").times
    assert times is not None
    seconds = [float((start - times.starts[0]) * times.time_base) for start in times.starts]
    expected = [i / 30 for i in range(30) if i < 10 or i % 3 == 0]
    assert seconds == pytest.approx(expected, abs=1e-4)
    assert times.end > times.starts[-1]


def test_frames_before_the_start_of_an_edit_list_are_not_counted(
    sample_clips: Path, tmp_path: Path
) -> None:
    late = ("-ss", "0.5", "-i", str(sample_clips / "plain.mp4"), "-an", "-c", "copy")
    path = run_ffmpeg(tmp_path / "late.mp4", *late)
    times = read_clip_facts(path).times
    assert times is not None and len(times.starts) == 60
    assert len(list_packets(sample_clips / "plain.mp4", "video").sizes) == 72


def test_a_clip_that_was_replaced_is_read_anew(sample_clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes((sample_clips / "plain.mp4").read_bytes())
    assert read_clip_facts(path).stream.rotation == 0
    path.write_bytes((sample_clips / "turned.mp4").read_bytes())
    assert read_clip_facts(path).stream.rotation == 90


def test_metadata_in_any_encoding_hide_no_clip(tmp_path: Path) -> None:
    path = run_ffmpeg(tmp_path / "a.mkv", *moving_pattern(0.2), "-metadata", "title=Xyzzy", *H264)
    data = path.read_bytes()
    assert b"Xyzzy" in data
    path.write_bytes(data.replace(b"Xyzzy", b"\xe9\xff\xfezy"))
    assert read_clip_facts(path).stream.codec == "h264"


def test_a_reader_that_is_killed_is_one_line(
    sample_clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mp4").write_bytes((sample_clips / "one.mp4").read_bytes())
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(MediaError, match=r"a\.mp4: not a clip .*ended with status 1") as caught:
        read_clip_facts(tmp_path / "a.mp4")
    assert "\n" not in str(caught.value)


def test_a_frozen_program_reads_in_process(
    sample_clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mp4").write_bytes((sample_clips / "turned.mp4").read_bytes())
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", "false")
    assert read_clip_facts(tmp_path / "a.mp4") == read_clip_facts(sample_clips / "turned.mp4")


def test_files_of_other_kinds_are_refused_in_few_words(sample_clips: Path, tmp_path: Path) -> None:
    script = tmp_path / "a.mkv"
    script.write_text(f"ffconcat version 1.0\nfile '{sample_clips / 'plain.mp4'}'\n")
    with pytest.raises(MediaError, match=r"a\.mkv: not a clip .*of this kind are not read"):
        read_clip_facts(script)


def test_libav_is_loaded_by_the_reading_process_only(sample_clips: Path) -> None:
    program = (
        "import sys\n"
        "from iicnet_cli.media.video_reader import open_frames\n"
        "next(open_frames(sys.argv[1]))\n"
        "assert not any(name.split('.')[0] == 'av' for name in sys.modules)\n"
    )
    command = [sys.executable, "-c", program, str(sample_clips / "one.mp4")]
    assert subprocess.run(command, check=False).returncode == 0
