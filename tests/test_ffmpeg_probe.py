"""What is read from ffmpeg's description of a file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from iicnet_cli.errors import MediaError
from iicnet_cli.media.ffmpeg_probe import read_packet_times, read_video_stream
from tests.media_samples import H264, moving_pattern, run_ffmpeg, tone


def test_a_stream_is_described(sample_clips: Path) -> None:
    stream = read_video_stream(sample_clips / "plain.mp4")
    assert (stream.codec, stream.pixel_format, stream.audio_codec) == ("h264", "yuv420p", "aac")
    assert (stream.width, stream.height, stream.pixel_aspect) == (64, 48, "1:1")
    assert (stream.frame_rate, stream.base_rate) == (Fraction(24), Fraction(24))
    assert stream.duration == pytest.approx(3.0, abs=0.05)
    assert not (stream.interlaced or stream.is_hdr or stream.is_wide_gamut or stream.has_alpha)
    assert read_video_stream(sample_clips / "turned.mp4").rotation == 90
    assert read_video_stream(sample_clips / "ntsc.mp4").audio_codec is None


def test_unusual_streams_are_recognised(tmp_path: Path) -> None:
    alpha = run_ffmpeg(
        tmp_path / "a.mov", *moving_pattern(0.1), "-c:v", "qtrle", "-pix_fmt", "argb"
    )
    assert read_video_stream(alpha).has_alpha
    wide = run_ffmpeg(tmp_path / "w.mkv", *moving_pattern(0.1), "-vf", "setsar=4/3", *H264)
    assert read_video_stream(wide).pixel_aspect == "4:3"
    fields = ("-vf", "setfield=tff", "-flags", "+ilme+ildct", "-x264opts", "tff=1")
    assert read_video_stream(
        run_ffmpeg(tmp_path / "i.mkv", *moving_pattern(0.1), *fields, *H264)
    ).interlaced
    tags = "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv"
    hdr = run_ffmpeg(
        tmp_path / "hdr.mkv",
        *(*moving_pattern(0.1), "-vf", f"format=yuv420p10le,{tags}", "-c:v", "ffv1"),
    )
    stream = read_video_stream(hdr)
    assert (stream.matrix, stream.primaries, stream.transfer) == ("bt2020nc", "bt2020", "smpte2084")
    assert stream.is_hdr and stream.is_wide_gamut


def test_files_without_a_picture_are_refused(tmp_path: Path) -> None:
    sound = run_ffmpeg(tmp_path / "sound.wav", *tone(0.2))
    with pytest.raises(MediaError, match=r"sound\.wav: has no video stream"):
        read_video_stream(sound)
    assert read_packet_times(sound) is None
    (tmp_path / "text.mp4").write_text("no clip")
    with pytest.raises(MediaError, match=r"text\.mp4: not a clip that can be read"):
        read_video_stream(tmp_path / "text.mp4")
    assert read_packet_times(tmp_path / "text.mp4") is None


def test_the_times_of_all_frames_are_listed(sample_clips: Path) -> None:
    packets = read_packet_times(sample_clips / "uneven.mp4")
    assert packets is not None
    times = [float((start - packets.starts[0]) * packets.time_base) for start in packets.starts]
    expected = [i / 30 for i in range(30) if i < 10 or i % 3 == 0]
    assert times == pytest.approx(expected, abs=1e-4)
    assert packets.end > packets.starts[-1]
