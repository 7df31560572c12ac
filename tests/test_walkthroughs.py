"""The walkthroughs of CONTRIBUTING.md, followed to the letter: their code blocks are run here."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from iicnet_cli import Converter, EmbedOptions
from iicnet_cli.engines import ENGINES
from iicnet_cli.tasks import TASKS
from iicnet_cli.zoo import find
from tests.helpers import Run
from tests.samples import natural

CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"


def section(title: str) -> str:
    """The text under a heading of the guide, blocks inside of lists moved to the left."""
    _, _, rest = CONTRIBUTING.read_text(encoding="utf-8").partition(f"\n## {title}\n")
    assert rest, title
    return re.sub(r"^   (?! )", "", rest.split("\n## ")[0], flags=re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def code_of(heading: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The Python block of a section, as a module."""
    (code,) = blocks(section(heading), "python")
    module = ModuleType("walkthrough_" + heading.replace(" ", "_"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, str(CONTRIBUTING), "exec"), module.__dict__)
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


@pytest.mark.slow
def test_add_a_checkpoint(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = section("Add a checkpoint")
    monkeypatch.chdir(tmp_path)
    for name in ("recipes", "photos", "models"):
        (tmp_path / name).mkdir()
    for i in range(6):
        Image.fromarray(natural(80, 96, seed=i)).save(tmp_path / "photos" / f"{i}.png")
    (recipe,) = blocks(guide, "toml")
    (tmp_path / "recipes" / "stego-2-small.toml").write_text(recipe, encoding="utf-8")

    commands = [line for block in blocks(guide, "sh") for line in block.splitlines()]
    assert [shlex.split(line)[1] for line in commands] == [
        "train",
        "models",
        "embed",
        "restore",
        "evaluate",
    ]
    for line in commands:
        words = shlex.split(line)[1:]
        if words[0] == "train":
            words += ["--steps", "2"]
        result = run(*words)
        assert result.exit_code == 0, f"{line}\n{result.output}"
    assert (tmp_path / "models" / "stego-2-small" / "README.md").exists()
    assert len(list((tmp_path / "out-restored").iterdir())) == 2

    # By its name, once the folder is where models are looked for.
    monkeypatch.setenv("IICNET_MODELS", os.fspath(tmp_path / "models"))
    assert find("stego-2-small").config.task == "stego"
    result = run("restore", "out.png", "-o", "again")
    assert result.exit_code == 0, result.output
    first, second = (
        np.asarray(Image.open(tmp_path / folder / "0.png")) for folder in ("out-restored", "again")
    )
    assert np.array_equal(first, second)


@pytest.mark.parametrize("title", ["Add a task", "Add an engine", "Add a checkpoint"])
def test_files_that_the_walkthroughs_name_exist(title: str) -> None:
    named = re.findall(r"`((?:iicnet_cli|docs|recipes|tests)/[\w/-]+\.\w+)`", section(title))
    missing = {path for path in named if not (CONTRIBUTING.parent / path).exists()}
    assert missing <= {"recipes/stego-2-small.toml"}
