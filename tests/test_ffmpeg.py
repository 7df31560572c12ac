"""Running ffmpeg."""

from __future__ import annotations

from pathlib import Path

import pytest

from iicnet_cli.errors import MediaError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.video_reader import probe


def test_filters_are_found() -> None:
    assert ffmpeg.has_filter("scale")
    assert not ffmpeg.has_filter("no-such-filter")


def test_a_failure_is_returned_not_raised(tmp_path: Path) -> None:
    result = ffmpeg.run(ffmpeg.input_options(tmp_path / "missing.mp4"))
    assert result.returncode != 0
    assert "No such file" in ffmpeg.reason(result.stderr.decode())


def test_the_reason_is_the_line_that_explains_the_failure() -> None:
    log = "[mov @ 0x5] [error] moov atom not found.\nError opening input: Invalid data\n\n"
    assert ffmpeg.reason(log) == "moov atom not found"
    assert ffmpeg.reason("Error opening input files: x") == "Error opening input files: x"
    assert ffmpeg.reason("") == "unknown error"


def test_a_playlist_cannot_open_a_url(tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    result = ffmpeg.run([*ffmpeg.input_options(playlist), "-f", "null", "-"])
    assert result.returncode != 0
    assert b"not on whitelist" in result.stderr


def test_files_that_lead_to_others_are_not_read(sample_clips: Path, tmp_path: Path) -> None:
    clip = sample_clips / "plain.mp4"
    playlists = {
        "a.mp4": f"ffconcat version 1.0\nfile '{clip}'\n",
        "b.mkv": f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{clip}\n#EXT-X-ENDLIST\n",
        "c.webm": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    }
    for name, text in playlists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(MediaError, match="not a clip that can be read"):
            probe(tmp_path / name)
