"""PNGs that the engine for files wrote restore to the files that they did then."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli import Converter
from iicnet_cli.errors import DamagedError
from iicnet_cli.media.clip_packets import packets_of
from iicnet_cli.pictures.metrics import psnr
from tests.compat.write_compat_bundles import CASES, restored_hashes
from tests.helpers import frames_of

FOLDERS = sorted(Path(__file__).parent.glob("compat/files-*/*"))


@pytest.mark.parametrize("folder", FOLDERS, ids=[f"{f.parent.name}/{f.name}" for f in FOLDERS])
def test_restores_to_the_same_files(folder: Path) -> None:
    wanted = json.loads((folder / "restored.json").read_text())
    case = CASES[folder.name]
    found = restored_hashes(folder / case.embedding, case)
    assert found.keys() == wanted.keys()
    # What a codec decodes, or ffmpeg joins, may differ from one version of it to another.
    exact = {"small.png", "README.md"}
    if folder.name == "clip-with-sound":
        exact.add("clip.webm")
    assert {name: found[name] for name in exact & found.keys()} == {
        name: wanted[name] for name in exact & wanted.keys()
    }


def test_every_case_is_there() -> None:
    assert {folder.name for folder in FOLDERS} == set(CASES)


@pytest.mark.parametrize("name", ["clip-with-sound", "animation"])
def test_sound_of_the_clip(name: str, tmp_path: Path) -> None:
    (folder,) = (folder for folder in FOLDERS if folder.name == name)
    Converter().restore(folder / "embedding.png", tmp_path / "clip.webm")
    seconds = sum(packet.duration for packet in packets_of(tmp_path / "clip.webm", "audio"))
    assert float(seconds) == pytest.approx(0.48, abs=0.03)
    assert len(packets_of(tmp_path / "clip.webm")) == 12


def test_an_animation_shows_frames_of_its_parts(tmp_path: Path) -> None:
    (folder,) = (folder for folder in FOLDERS if folder.name == "animation")
    png = folder / "embedding.png"
    Converter().restore(png, tmp_path / "clip.mkv")
    frames = frames_of(tmp_path / "clip.mkv")
    with Image.open(png) as image:
        assert image.n_frames > 1
        for number in range(image.n_frames):
            image.seek(number)
            shown = np.asarray(image.convert("RGB"))
            assert max(psnr(shown, frame) for frame in frames) > 30


def test_a_password_is_needed(tmp_path: Path) -> None:
    (folder,) = (folder for folder in FOLDERS if folder.name == "password")
    with pytest.raises(DamagedError, match="encrypted"):
        Converter().restore(folder / "embedding.png", tmp_path / "photos")
