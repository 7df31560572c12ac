"""Photos with a clip behind the picture."""

from __future__ import annotations

import os
import struct
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.media.audio import extract_audio
from iicnet_cli.media.motion_photo import is_motion_photo
from iicnet_cli.media.stills import read_still
from iicnet_cli.media.video_reader import is_video, open_frames, probe
from tests.media_samples import jpeg, mp4_box, noise, smooth


def samsung(clip: bytes) -> bytes:
    """Samsung's trailer: blocks of data, then a table of them."""
    block = b"\0\0\x30\x0a" + struct.pack("<I", 16) + b"MotionPhoto_Data" + clip
    late = b"\0\0\x01\x0a" + struct.pack("<I", 14) + b"Image_UTC_Data" + b"1609459200000"
    table = b"SEFH" + struct.pack("<II", 106, 2)
    table += b"\0\0\x30\x0a" + struct.pack("<II", len(block) + len(late), len(block))
    table += b"\0\0\x01\x0a" + struct.pack("<II", len(late), len(late))
    return block + late + table + struct.pack("<I", len(table)) + b"SEFT"


def heic(clip: bytes) -> bytes:
    head = mp4_box(b"ftyp", b"heic\0\0\0\0mif1heic") + mp4_box(b"meta", b"\0" * 40)
    return (
        head + mp4_box(b"mdat", b"picture") + mp4_box(b"mpvd", clip) + mp4_box(b"sefd", b"\0" * 20)
    )


@pytest.mark.parametrize("kind", ["google", "gain map", "samsung", "heic"])
def test_the_clip_of_a_motion_photo_is_read(sample_clips: Path, tmp_path: Path, kind: str) -> None:
    still, clip = jpeg(30, 40), (sample_clips / "plain.mp4").read_bytes()
    data = {
        "google": still + clip,
        "gain map": still + still + clip,
        "samsung": still + samsung(clip),
        "heic": heic(clip),
    }[kind]
    path = tmp_path / "a,b: 'x' %03d,,:file:.MP.jpg"
    path.write_bytes(data)
    assert is_motion_photo(path)
    assert not is_video(path)
    info = probe(path)
    assert (info.width, info.height, info.frames, info.fps) == (64, 48, 72, Fraction(24))
    assert info.notes == ("motion photo: its clip is used, not its still",)
    with open_frames(sample_clips / "plain.mp4", start=1.0, step=7) as source:
        expected = list(source)
    with open_frames(path, start=1.0, step=7) as source:
        frames = list(source)
        assert source.notes == list(info.notes)
    assert len(frames) == 7
    assert all(np.array_equal(a, b) for a, b in zip(frames, expected, strict=True))
    assert info.has_audio
    assert extract_audio(path, tmp_path / "a.m4a")
    if kind != "heic":
        assert read_still(path).pixels.shape == (30, 40, 3)
        with open_frames([path]) as source:  # a list is of stills
            assert [frame.shape for frame in source] == [(30, 40, 3)]


def test_other_files_are_no_motion_photos(sample_clips: Path, tmp_path: Path) -> None:
    still, clip = jpeg(30, 40), (sample_clips / "plain.mp4").read_bytes()
    head = mp4_box(b"ftyp", b"mp42" + b"\0" * 12)
    files = {
        "plain": still,
        "gain map": still + still,
        "garbage": still + noise(30, 40).tobytes() + b"ftyp moov mdat",
        "header only": still + head,
        "cut": still + clip[:-1],
        "another picture": still
        + mp4_box(b"ftyp", b"avif" + b"\0" * 8)
        + mp4_box(b"mdat", b"\0" * 9),
        "note": still[:2] + b"\xff\xfe\0\x1aMotionPhoto_Data ftypmp42" + still[2:],
        "clip": clip,
        "clip in a clip": head + mp4_box(b"mdat", clip),
        "png": b"\x89PNG\r\n\x1a\n" + clip,
        "empty": b"",
    }
    for name, data in files.items():
        (tmp_path / "x.jpg").write_bytes(data)
        assert not is_motion_photo(tmp_path / "x.jpg"), name
    pictures = [Image.fromarray(smooth(30, 40))] * 2
    pictures[0].save(tmp_path / "x.mpo", save_all=True, append_images=pictures[1:])
    for path in (tmp_path / "x.mpo", tmp_path, tmp_path / "missing.jpg", Path(os.devnull)):
        assert not is_motion_photo(path)


def test_a_file_full_of_boxes_is_searched_in_bounded_time(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(30, 40) + mp4_box(b"ftyp", b"") * 100_000)
    began = time.process_time()
    assert not is_motion_photo(path)
    path.write_bytes(jpeg(30, 40) + (mp4_box(b"ftyp", b"") + mp4_box(b"free", b"") * 1000) * 100)
    assert not is_motion_photo(path)
    assert time.process_time() - began < 5
