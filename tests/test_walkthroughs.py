"""The walkthroughs of CONTRIBUTING.md, followed to the letter: their code blocks are run here."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from iicnet_cli import Converter, EmbedOptions
from iicnet_cli.engines import ENGINES
from iicnet_cli.tasks import TASKS

CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"


def code_of(heading: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The first Python block of a section, as a module."""
    section = CONTRIBUTING.read_text(encoding="utf-8").split(f"## {heading}\n", 1)[1]
    block = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert block is not None
    module = ModuleType("walkthrough_" + heading.replace(" ", "_"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(block[1], str(CONTRIBUTING), "exec"), module.__dict__)
    return module


@pytest.fixture
def nibble(monkeypatch: pytest.MonkeyPatch) -> EmbedOptions:
    module = code_of("Add an engine", monkeypatch)
    monkeypatch.setitem(ENGINES, "nibble", f"{module.__name__}:NibbleEngine")
    return EmbedOptions(engine="nibble")


@pytest.fixture
def frames(tmp_path: Path) -> list[Path]:
    """Seven flat frames with a moving bar: they compress well."""
    paths = []
    for i in range(7):
        picture = np.full((48, 64, 3), 128, np.uint8)
        picture[:, 4 * i : 4 * i + 8] = (200, 40, 16 * i)
        paths.append(tmp_path / f"frame{i}.png")
        Image.fromarray(picture).save(paths[-1])
    return paths


def test_an_engine_may_take_a_whole_clip(
    tmp_path: Path, frames: list[Path], nibble: EmbedOptions
) -> None:
    converter = Converter()
    report = converter.embed(frames, tmp_path / "out.png", task="video", options=nibble)
    assert report.embeddings == 1
    assert report.images == 7
    assert report.restored_psnr == 100
    restored = converter.restore(tmp_path / "out.png", tmp_path / "restored")
    assert restored.found_by == "header"
    assert not restored.altered
    for path in frames:
        found = tmp_path / "restored" / path.name
        assert np.array_equal(np.asarray(Image.open(found)), np.asarray(Image.open(path)))


def test_an_engine_is_used_by_every_task(
    tmp_path: Path, frames: list[Path], nibble: EmbedOptions
) -> None:
    converter = Converter()
    converter.embed(frames[:3], tmp_path / "out.png", task="stego", options=nibble)
    pictures = converter.restore_images(tmp_path / "out.png")
    assert len(pictures) == 3
    assert all(
        np.array_equal(picture, np.asarray(Image.open(path)))
        for picture, path in zip(pictures, frames, strict=False)
    )


def test_a_task_knows_no_engine(
    tmp_path: Path, nibble: EmbedOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = code_of("Add a task", monkeypatch)
    monkeypatch.setitem(TASKS, "triptych", module.TriptychTask())
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, :, 0] = np.arange(96) // 32 * 64
    Image.fromarray(wide).save(tmp_path / "wide.png")
    converter = Converter()
    converter.embed([tmp_path / "wide.png"], tmp_path / "out.png", task="triptych", options=nibble)
    assert Image.open(tmp_path / "out.png").size == (32, 32)
    report = converter.restore(tmp_path / "out.png")
    assert np.array_equal(np.asarray(Image.open(report.outputs[0])), wide)
