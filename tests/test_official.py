"""Checkpoints of the authors' code: same keys, same numbers, nothing else accepted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from iicnet_cli.cli import app
from iicnet_cli.errors import ExitCode, ModelError, OutputExistsError, UsageError
from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.network.official import PUBLISHED, convert_state_dict, published_task
from iicnet_cli.zoo import find, read_config
from iicnet_cli.zoo.importing import import_official
from tests.reference_official import SETTINGS, OfficialNet

FEW = 3
# One of each kind: pixels, Haar by bands, pixel shuffle by images and by bands, one channel out.
KINDS = (
    "paper/stereo",
    "paper/video-3-half",
    "paper/video-5-half",
    "paper/rescale",
    "paper/grayscale",
)


def with_blocks(config: IICNetConfig, blocks: int) -> IICNetConfig:
    return IICNetConfig.model_validate({**config.model_dump(), "blocks": blocks})


def official_net(name: str, blocks: int) -> OfficialNet:
    """Published architecture with every weight random and non-zero."""
    net = OfficialNet(dataclasses.replace(SETTINGS[name], block_num=blocks))
    torch.manual_seed(0)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.weight[0].numel()
                module.weight.normal_(std=0.3 / fan_in**0.5)
                assert module.bias is not None
                module.bias.normal_(std=0.05)
            elif hasattr(module, "weight"):
                nn.init.orthogonal_(module.weight)
                module.weight.add_(torch.randn_like(module.weight), alpha=0.02)
    return net.eval().requires_grad_(False)


def flipped(images: Tensor) -> Tensor:
    """(B, K, C, H, W), RGB to BGR or back; one channel stays."""
    return images.flip(-3)


def assert_same(theirs: OfficialNet, ours: IICNet) -> None:
    """Both passes in double, theirs in BGR, ours in RGB."""
    theirs, ours = theirs.double(), ours.double()
    config = ours.config
    images = torch.rand(1, config.images, 3, 16, 16, dtype=torch.float64)
    embedding = ours(images)
    expected = theirs.embed(flipped(images).flatten(1, 2))
    torch.testing.assert_close(flipped(embedding), expected, rtol=0, atol=1e-9)
    # An embedding of its own, not that of these images: nothing may cancel.
    other = torch.rand_like(embedding)
    restored = ours.inverse(other)
    expected = theirs.restore(flipped(other)).unflatten(1, (config.images, 3))
    torch.testing.assert_close(flipped(restored), expected, rtol=0, atol=1e-9)


@pytest.fixture
def few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published settings with few blocks, so that golden files are made quickly."""
    for name, config in list(PUBLISHED.items()):
        monkeypatch.setitem(PUBLISHED, name, with_blocks(config, FEW))


@pytest.fixture
def stereo(tmp_path: Path, few_blocks: None) -> Path:
    path = tmp_path / "latest.pth"
    torch.save(official_net("paper/stereo", FEW).state_dict(), path)
    return path


def test_every_published_setting_is_known() -> None:
    assert list(PUBLISHED) == list(SETTINGS)
    for name, config in PUBLISHED.items():
        setting = SETTINGS[name]
        assert config.images == setting.num_of_frames
        assert config.blocks == setting.block_num
        assert config.embedding_channels == setting.out_nc
        assert config.half_size == bool(setting.down)
    assert {published_task(name) for name in PUBLISHED} == {
        "video", "stereo", "dual", "layers", "stego", "grayscale", "rescale",
    }  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_same_keys_and_shapes(name: str) -> None:
    """At the published number of blocks: nothing missing, nothing left, everything fits."""
    ours = IICNet(PUBLISHED[name])
    ours.load_state_dict(convert_state_dict(OfficialNet(SETTINGS[name]).state_dict(), ours.config))


@pytest.mark.parametrize("name", PUBLISHED)
def test_same_numbers(name: str) -> None:
    theirs = official_net(name, FEW)
    ours = IICNet(with_blocks(PUBLISHED[name], FEW)).eval().requires_grad_(False)
    ours.load_state_dict(convert_state_dict(theirs.state_dict(), ours.config))
    assert_same(theirs, ours)


@pytest.mark.parametrize("name", KINDS)
def test_import(name: str, few_blocks: None, tmp_path: Path) -> None:
    theirs = official_net(name, FEW)
    source, folder = tmp_path / "latest.pth", tmp_path / "imported"
    torch.save(theirs.state_dict(), source)
    run = CliRunner()

    result = run.invoke(app, ["models", "import", str(source), "--as", name, "-o", str(folder)])

    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(folder)
    checkpoint = read_config(folder)
    assert checkpoint.name == name
    assert checkpoint.config.task == published_task(name)
    assert "MIT" in checkpoint.config.licence
    assert "latest.pth" in checkpoint.config.origin
    assert_same(theirs, checkpoint.load())
    verified = run.invoke(app, ["models", "verify", str(folder)])
    assert verified.exit_code == 0, verified.output
    assert "ok" in verified.stdout


def test_import_to_the_users_models(stereo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = stereo.parent / "models"
    monkeypatch.setenv("IICNET_MODELS", str(models))
    checkpoint = import_official(stereo, "paper/stereo", None, overwrite=False)
    assert checkpoint.folder == models / "paper" / "stereo"
    assert find("paper/stereo").config == checkpoint.config
    with pytest.raises(OutputExistsError):
        import_official(stereo, "paper/stereo", None, overwrite=False)
    again = import_official(stereo, "paper/stereo", None, overwrite=True)
    assert again.config == checkpoint.config


def test_distributed_prefix() -> None:
    config = with_blocks(PUBLISHED["paper/stereo"], 1)
    state = official_net("paper/stereo", 1).state_dict()
    plain = convert_state_dict(state, config)
    prefixed = convert_state_dict({f"module.{k}": v for k, v in state.items()}, config)
    assert plain.keys() == prefixed.keys()
    assert all(torch.equal(plain[key], prefixed[key]) for key in plain)


def test_misfits_are_named() -> None:
    config = with_blocks(PUBLISHED["paper/video-3-half"], 1)
    state = official_net("paper/video-3-half", 1).state_dict()
    key = "2.operations.0.G.conv3.weight"
    with pytest.raises(ModelError, match=f"'{key}' is missing"):
        convert_state_dict({k: v for k, v in state.items() if k != key}, config)
    with pytest.raises(ModelError, match=f"'{key}' has the shape \\(1, 1, 3, 3\\), not"):
        convert_state_dict({**state, key: torch.zeros(1, 1, 3, 3)}, config)
    with pytest.raises(ModelError, match=r"'2\.extra' has no place"):
        convert_state_dict({**state, "2.extra": torch.zeros(1)}, config)
    haar = "1.operations.0.haar_weights"
    with pytest.raises(ModelError, match="Haar"):
        convert_state_dict({**state, haar: -state[haar]}, config)


@pytest.mark.parametrize("name", ["paper/stego-3", "paper/grayscale", "paper/rescale"])
def test_another_setting_is_refused(stereo: Path, name: str) -> None:
    target = stereo.parent / "out"
    arguments = ["models", "import", str(stereo), "--as", name, "-o", str(target)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == ExitCode.NO_MODEL
    assert "do not fit this published setting" in result.stderr
    assert "'0.forw_rel.conv_merges.0.weight' has the shape (64, 128, 3, 3)" in result.stderr
    assert not target.exists()


def test_unknown_name_lists_the_settings(stereo: Path) -> None:
    result = CliRunner().invoke(app, ["models", "import", str(stereo), "--as", "video-5"])
    assert result.exit_code == ExitCode.USAGE
    assert "paper/video-3-half" in result.stderr
    with pytest.raises(UsageError):
        import_official(stereo, "video-5", None, overwrite=False)


def test_overwriting_is_refused(stereo: Path) -> None:
    folder = stereo.parent / "out"
    folder.mkdir()
    precious = folder / "config.json"
    precious.write_text("mine")
    arguments = ["models", "import", str(stereo), "--as", "paper/stereo", "-o", str(folder)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == ExitCode.FAILURE
    assert "-y" in result.stderr
    assert precious.read_text() == "mine"
    assert CliRunner().invoke(app, [*arguments, "-y"]).exit_code == 0
    assert read_config(folder).name == "paper/stereo"


class Malice:
    """What a pickle can do: anything, when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.mark,))


def test_malicious_pickle_is_not_run(tmp_path: Path) -> None:
    source, mark = tmp_path / "evil.pth", tmp_path / "was-run"
    torch.save({"0.weight": Malice(mark)}, source)
    with pytest.raises(ModelError, match="more than tensors"):
        import_official(source, "paper/stereo", tmp_path / "out", overwrite=False)
    assert not mark.exists()
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
