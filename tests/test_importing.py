"""Import of checkpoints of the authors' code: files, folders, errors, untrusted pickles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from iicnet_cli.errors import ExitCode, ModelError, OutputExistsError, UsageError
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.network.official import PUBLISHED_SETTINGS, published_task
from iicnet_cli.quantize.lattice import NEIGHBOURS, NoiseShapingFilter
from iicnet_cli.zoo import find, importing, read_config
from iicnet_cli.zoo.importing import import_official
from tests.conftest import Run
from tests.official_checkpoints import assert_same, official_net, with_blocks

# One setting of each kind: pixels, Haar by bands, pixel shuffle by images and by bands, one
# channel out.
KINDS = (
    "paper/stereo",
    "paper/video-3-half",
    "paper/video-5-half",
    "paper/rescale",
    "paper/grayscale",
)


@pytest.fixture(autouse=True)
def one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give published settings one block, so that golden files are made quickly."""
    for name, config in list(PUBLISHED_SETTINGS.items()):
        monkeypatch.setitem(PUBLISHED_SETTINGS, name, with_blocks(config, 1))


@pytest.fixture(autouse=True)
def fitted(monkeypatch: pytest.MonkeyPatch) -> dict[str, NoiseShapingFilter]:
    """Replace the fit of noise-shaping filters, which takes seconds; one filter for each task."""
    filters: dict[str, NoiseShapingFilter] = {}

    def fit(net: IICNet, task: str) -> NoiseShapingFilter:
        channels = net.config.embedding_channels
        filters[task] = np.full((len(NEIGHBOURS), channels, channels), 0.125, np.float32)
        return filters[task]

    monkeypatch.setattr(importing, "fit_task_noise_shaping", fit)
    return filters


@pytest.fixture
def stereo(tmp_path: Path) -> Path:
    path = tmp_path / "latest.pth"
    torch.save(official_net("paper/stereo", 1).state_dict(), path)
    return path


@pytest.mark.parametrize("name", KINDS)
def test_import(run: Run, fitted: dict[str, NoiseShapingFilter], name: str, tmp_path: Path) -> None:
    theirs = official_net(name, 1)
    source, folder = tmp_path / "latest.pth", tmp_path / "imported"
    torch.save(theirs.state_dict(), source)

    result = run("models", "import", source, "--as", name, "-o", folder)

    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(folder)
    checkpoint = read_config(folder)
    assert checkpoint.name == name
    assert checkpoint.config.task == published_task(name)
    assert "MIT" in checkpoint.config.licence
    assert "latest.pth" in checkpoint.config.origin
    assert checkpoint.config.origin in (folder / "README.md").read_text()
    noise_shaping = checkpoint.noise_shaping
    assert noise_shaping is not None
    assert np.array_equal(noise_shaping, fitted[published_task(name)])
    assert_same(theirs, checkpoint.load())
    verified = run("models", "verify", folder)
    assert verified.exit_code == 0, verified.output
    assert "ok" in verified.stdout


def test_import_to_the_models_of_the_user(stereo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = stereo.parent / "models"
    monkeypatch.setenv("IICNET_MODELS", str(models))
    checkpoint = import_official(stereo, "paper/stereo", None, overwrite=False)
    assert checkpoint.folder == models / "paper" / "stereo"
    assert find("paper/stereo").config == checkpoint.config
    with pytest.raises(OutputExistsError):
        import_official(stereo, "paper/stereo", None, overwrite=False)
    again = import_official(stereo, "paper/stereo", None, overwrite=True)
    assert again.config == checkpoint.config


@pytest.mark.parametrize("name", ["paper/stego-3", "paper/grayscale", "paper/rescale"])
def test_another_setting_is_refused(run: Run, stereo: Path, name: str) -> None:
    target = stereo.parent / "out"
    result = run("models", "import", stereo, "--as", name, "-o", target)
    assert result.exit_code == ExitCode.NO_MODEL
    assert "do not fit this published setting" in result.stderr
    assert "'0.forw_rel.conv_merges.0.weight' has the shape (64, 128, 3, 3)" in result.stderr
    assert not target.exists()


def test_unknown_name_lists_the_settings(run: Run, stereo: Path) -> None:
    result = run("models", "import", stereo, "--as", "video-5")
    assert result.exit_code == ExitCode.USAGE
    assert "paper/video-3-half" in result.stderr
    with pytest.raises(UsageError):
        import_official(stereo, "video-5", None, overwrite=False)


def test_overwriting_is_refused(run: Run, stereo: Path) -> None:
    folder = stereo.parent / "out"
    folder.mkdir()
    precious = folder / "config.json"
    precious.write_text("mine")
    arguments = ("models", "import", stereo, "--as", "paper/stereo", "-o", folder)
    result = run(*arguments)
    assert result.exit_code == ExitCode.FAILURE
    assert "-y" in result.stderr
    assert precious.read_text() == "mine"
    assert run(*arguments, "-y").exit_code == 0
    assert read_config(folder).name == "paper/stereo"


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_malicious_pickle_is_not_run(tmp_path: Path) -> None:
    source, created = tmp_path / "evil.pth", tmp_path / "was-run"
    torch.save({"0.weight": Malicious(created)}, source)
    with pytest.raises(ModelError, match="more than tensors"):
        import_official(source, "paper/stereo", tmp_path / "out", overwrite=False)
    assert not created.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\x80\x02}q\x00.", b"PK\x03\x04"])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    source = tmp_path / "file.pth"
    source.write_bytes(content)
    with pytest.raises(ModelError):
        import_official(source, "paper/stereo", tmp_path / "out", overwrite=False)


def test_no_state_dict_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "file.pth"
    for value in ([torch.zeros(1)], {"epoch": 3}, {1: torch.zeros(1)}):
        torch.save(value, source)
        with pytest.raises(ModelError, match="no state dict"):
            import_official(source, "paper/stereo", tmp_path / "out", overwrite=False)
    with pytest.raises(ModelError, match="cannot read"):
        import_official(tmp_path / "none.pth", "paper/stereo", None, overwrite=False)
