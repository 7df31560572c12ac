"""Checkpoints on the Hugging Face Hub; nothing is downloaded here."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from iicnet_cli.errors import ModelError
from iicnet_cli.zoo.hub import download
from iicnet_cli.zoo.registry import find
from tests.tiny_checkpoint import write_tiny


def test_a_checkpoint_is_fetched_by_its_pinned_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_tiny(tmp_path / "tiny").folder
    requested = []

    def fetch(repo: str, name: str, *, subfolder: str | None, revision: str) -> str:
        requested.append((repo, name, subfolder, revision))
        return str(folder / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    assert find("hf://someone/models/tiny@abc123").name == "tiny"
    assert requested == [
        ("someone/models", "config.json", "tiny", "abc123"),
        ("someone/models", "model.safetensors", "tiny", "abc123"),
    ]
    requested.clear()
    assert download("hf://someone/model@v1.0") == folder
    assert requested[0] == ("someone/model", "config.json", None, "v1.0")


@pytest.mark.parametrize("reference", ["hf://someone/models", "hf://models@1", "hf://a/b/../c@1"])
def test_malformed_references_are_refused(reference: str) -> None:
    with pytest.raises(ModelError, match="not a hub reference"):
        download(reference)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (LocalEntryNotFoundError("offline"), "cannot be reached"),
        (OSError("disk full\nand more"), "cannot get hf://a/b@1: disk full$"),
    ],
)
def test_a_failed_download_is_an_error_in_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(*args: object, **options: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(ModelError, match=message):
        download("hf://a/b@1")
