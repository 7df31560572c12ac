"""The walkthrough "add a checkpoint" of CONTRIBUTING.md, followed with two steps of training."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.zoo import find
from tests.conftest import Run, natural

GUIDE = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"


def section(title: str) -> str:
    """The text under a heading of the guide, without the indentation of its lists."""
    _, _, rest = GUIDE.read_text(encoding="utf-8").partition(f"\n## {title}\n")
    assert rest, title
    return re.sub(r"^   ", "", rest.split("\n## ")[0], flags=re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


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
    new = {"recipes/stego-2-small.toml"}
    missing = [path for path in named if not (GUIDE.parent / path).exists()]
    assert set(missing) <= new | {"iicnet_cli/engines/base.py"}
