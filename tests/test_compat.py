"""PNGs that earlier versions wrote restore to the pictures that those versions restored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from iicnet_cli.api import Converter
from iicnet_cli.media.video_reader import open_frames
from iicnet_cli.zoo.registry import available, bundled_folder, find_by_weights
from tests.compat.write_compat_files import CASES
from tests.conftest import Pixels, Run, done, frames_of

pytestmark = pytest.mark.usefixtures("bundled_weights")

FOLDER = Path(__file__).parent / "compat"
FILES = sorted(set(FOLDER.glob("*/*/embedding.png")) - set(FOLDER.glob("files-*/*/embedding.png")))
NAMES = ["/".join(path.parts[-3:-1]) for path in FILES]


@pytest.fixture(scope="module")
def converter() -> Iterator[Converter]:
    """One for all files, so that each checkpoint is loaded once."""
    yield Converter(device="cpu")


def pictures_in(path: Path) -> list[Pixels]:
    """The pictures of a folder, or the frames of a file."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    pictures = []
    for file in files:
        if file.suffix == ".mkv":
            pictures += list(frames_of(file))
            continue
        with Image.open(file) as image:
            pictures += [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)]
    return pictures


def assert_same(found: list[Pixels], wanted: list[Pixels], record: object) -> None:
    """Equal within one 8-bit value; ``record`` gets whether they are equal throughout."""
    assert [picture.shape for picture in found] == [picture.shape for picture in wanted]
    differences = [
        int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in zip(found, wanted, strict=True)
    ]
    record("largest_difference", max(differences))  # type: ignore[operator]
    print(f"largest difference: {max(differences)}")
    assert max(differences) <= 1


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_restores_to_the_same_pictures(
    converter: Converter, file: Path, tmp_path: Path, record_property: object
) -> None:
    case = CASES[file.parent.name]
    wanted = pictures_in(file.parent / "restored")
    target = tmp_path / case.target
    report = converter.restore(file, target)
    assert report.found_by == ("mark" if case.stripped else "header")
    assert not report.altered
    assert_same(pictures_in(target), wanted, record_property)
    if report.task == "video":
        clip = tmp_path / "clip.mkv"
        converter.restore(file, clip)
        assert_same(pictures_in(clip), wanted, record_property)


def test_weights_that_files_may_name_are_bundled_unchanged() -> None:
    listed = json.loads((FOLDER / "weights.json").read_text())
    bundled = [
        {"name": c.name, "version": c.config.version, "weights_sha256": c.config.weights_sha256}
        for c in available()
        if c.folder.is_relative_to(bundled_folder())
    ]
    assert sorted(bundled, key=str) == sorted(listed, key=str)
    assert len({entry["weights_sha256"] for entry in listed}) == len(listed)
    for entry in listed:
        assert find_by_weights("any", entry["weights_sha256"]).name == entry["name"]


def test_the_files_cover_every_part_of_the_format(run: Run) -> None:
    facts = {}
    for file in FILES:
        facts[file.parent.name] = json.loads(done(run("info", file, "--json")).stdout)
    assert set(facts) <= set(CASES)
    parts = [fact.keys() for fact in facts.values()]
    for part in ("motion", "common", "enhancement_layer", "timestamps", "fps", "padding", "scale"):
        assert any(part in keys for keys in parts), part
    assert sum("enhancement_layer" in keys for keys in parts) >= 10
    assert {fact["embeddings"] for fact in facts.values()} == {1, 2}
    assert {fact["found_by"] for fact in facts.values()} == {"header", "mark"}
    assert {fact["task"] for fact in facts.values()} == {
        "video", "stereo", "dual", "layers", "stego", "grayscale", "rescale",
    }  # fmt: skip


def test_the_times_of_the_frames_are_restored(converter: Converter, tmp_path: Path) -> None:
    file = FOLDER / "1488482" / "video-5-animated" / "embedding.png"
    converter.restore(file, tmp_path / "clip.mkv")
    with open_frames(tmp_path / "clip.mkv") as frames:
        assert len(list(frames)) == 8
        times = [0, 0.04, 0.12, 0.16, 0.28, 0.32, 0.36, 0.44]
        assert frames.timestamps == pytest.approx(times, abs=2e-3)
