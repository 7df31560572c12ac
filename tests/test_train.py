"""The command ``iicnet train``."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from iicnet_cli.cli.train import StepPrinter, StopOnSignal
from iicnet_cli.errors import ExitCode
from iicnet_cli.training.plan import StepReport
from tests.helpers import Run, done
from tests.training_helpers import write_pan, write_photos, write_recipe


@pytest.fixture(scope="module")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


def test_a_trained_model_embeds(
    run: Run, photo_folder: Path, photos: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "model"
    recipe = write_recipe(tmp_path)
    arguments = ("train", "--recipe", recipe, "-d", photo_folder, "-o", out, "--threads", 1)
    result = done(run(*arguments, "--steps", 3, "--data-note", "generated"))
    assert "training tiny (stego) from random weights on cpu" in result.stderr
    assert "3 steps" in result.stderr and "held out: embedding" in result.stderr
    assert json.loads((out / "config.json").read_text())["training"]["data"] == "generated"
    done(run("models", "verify", out))
    done(run("embed", *photos[:2], "-o", tmp_path / "o.png", "--model", out))


def test_fine_tuning_uses_the_recipe_of_the_model(run: Run, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for i in range(2):
        write_pan(clips / f"{i}.mkv", 5, 40, 48, i)
    recipe = write_recipe(tmp_path, "video", 3)
    first, second, third = tmp_path / "first", tmp_path / "second", tmp_path / "third"
    arguments = ("-d", clips, "--steps", 2)
    done(run("train", "--recipe", recipe, *arguments, "-o", first))
    result = done(run("train", "--from", first, *arguments, "-o", second))
    assert "from tiny on cpu" in result.stderr
    config = json.loads((second / "config.json").read_text())
    assert config["training"]["started_from"].startswith("tiny (2 steps in ")
    result = done(run("train", "--from", first, "--scratch", *arguments, "-o", third, "-q"))
    assert result.stderr == ""
    assert json.loads((third / "config.json").read_text())["training"]["started_from"] is None


def test_an_interrupted_training_says_how_to_continue(
    run: Run, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path)
    arguments = ("train", "--recipe", recipe, "-d", photo_folder, "-o", tmp_path / "m")
    monkeypatch.setattr(StopOnSignal, "__call__", lambda self: True)
    result = run(*arguments, "--steps", 3)
    assert result.exit_code == ExitCode.INTERRUPTED
    assert "the same command goes on" in result.stderr
    assert (tmp_path / "m" / "training.pt").exists()
    monkeypatch.undo()
    done(run(*arguments, "--steps", 3))
    assert not (tmp_path / "m" / "training.pt").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_after_the_step_and_the_second_at_once(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers = [(n, signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)]
    try:
        stop = StopOnSignal()
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert "stopping after this step" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    finally:
        for n, handler in handlers:
            signal.signal(n, handler)


def test_only_measurements_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with StepPrinter(quiet=False) as printer:
        printer(StepReport(1, 60.0, 0.5, 0.25))
        printer(StepReport(2, 120.0, 1.0, 0.125, 30.0, 25.5))
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["step 2, 2.0 min, loss 0.1250, embedding 30.00 dB, restored 25.50 dB"]


def test_a_diverging_run_is_an_error(run: Run, photo_folder: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    recipe.write_text("learning_rate = 1e6\n" + recipe.read_text())
    result = run(
        "train", "--recipe", recipe, "-d", photo_folder, "-o", tmp_path / "m", "--steps", 60
    )
    assert result.exit_code == ExitCode.FAILURE
    assert "shot up" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "--task, --from or --recipe"),
        (("--recipe", "none.toml"), 2, "none.toml"),
        (("--recipe", "{wrong}"), 2, "wrong.toml"),
        (("--from", "nope"), 4, "no model"),
        (("--task", "stegoo"), 2, "no task"),
        (("--recipe", "{recipe}"), 2, "budget"),
        (("--recipe", "{recipe}", "--task", "video"), 2, "is for stego"),
        (("--recipe", "{recipe}", "--steps", "2", "--from", "stego-3"), 1, "another network"),
        (("--recipe", "{recipe}", "--steps", "2", "-d", "{empty}"), 1, "too little data"),
        (("--recipe", "{recipe}", "--steps", "2", "-d", "nowhere"), 1, "no folder"),
        (("--recipe", "{recipe}", "--steps", "2", "-d", "{recipe}"), 1, "nor a packed file"),
    ],
)
def test_wrong_arguments_are_errors(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    recipe = write_recipe(tmp_path)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(recipe.read_text() + "[loss]\nfrequency = 0.001")
    given = [a.format(recipe=recipe, empty=empty, wrong=wrong) for a in arguments]
    if "-d" not in given:
        given += ["-d", str(empty)]
    result = run("train", *given, "-o", tmp_path / "m")
    assert result.exit_code == status, result.output
    assert message in result.stderr


def test_an_output_is_needed(run: Run, photo_folder: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    result = run("train", "--recipe", recipe, "--steps", 2, "-d", photo_folder)
    assert result.exit_code == ExitCode.USAGE
    assert "-o FOLDER" in result.stderr


def test_packed_data_train_a_model(run: Run, photo_folder: Path, tmp_path: Path) -> None:
    recipe, target = write_recipe(tmp_path), tmp_path / "data.zip"
    packing = ("train", "--recipe", recipe, "-d", photo_folder, "--pack", target)
    result = done(run(*packing, "--pack-limit", "20K", "--pack-quality", 80))
    assert "10 stills and 0 clips of 11 files; quality 80" in result.stderr
    assert target.stat().st_size <= 20 * 1024
    assert run(*packing).exit_code == ExitCode.FAILURE  # the file exists
    assert run(*packing, "-y", "--pack-limit", "much").exit_code == ExitCode.USAGE
    model = tmp_path / "model"
    done(run("train", "--recipe", recipe, "-d", target, "-o", model, "--steps", 1))
    assert (model / "model.safetensors").exists()


def test_nothing_to_pack_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    recipe, target = write_recipe(tmp_path), tmp_path / "p"
    result = run("train", "--recipe", recipe, "-d", tmp_path / "empty", "--pack", target)
    assert result.exit_code == ExitCode.FAILURE and "no usable file" in result.stderr
    assert not target.exists()
