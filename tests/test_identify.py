"""What a PNG is: by its header, its mark, or the request."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from iicnet_cli import (
    Converter,
    DamagedError,
    EmbedOptions,
    ModelError,
    NotAnEmbeddingError,
    UnsupportedVersionError,
)
from iicnet_cli.identify import Identity, identify, task_of
from iicnet_cli.payload.embedding_reader import EmbeddingReader
from iicnet_cli.payload.mark import TASKS
from iicnet_cli.payload.mark_pixels import write_mark
from iicnet_cli.zoo import find
from tests.engine_helpers import mark_of
from tests.helpers import change_header, save, save_all, strip
from tests.samples import moving, natural

BARE = EmbedOptions(effort=0, verify=False)


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos of 51x37 in one PNG."""
    folder = tmp_path_factory.mktemp("embedding")
    photos = [save(folder / f"{i}.png", natural(37, 51, i)) for i in range(2)]
    Converter(device="cpu").embed(photos, folder / "out.png", options=BARE)
    return folder / "out.png"


@pytest.fixture(scope="module")
def clip_embedding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five frames of 48x32 in one PNG."""
    folder = tmp_path_factory.mktemp("clip")
    frames = save_all(folder / "frames", moving(5, 32, 48))
    Converter(device="cpu").embed([frames], folder / "out.png", options=BARE)
    return folder / "out.png"


def identity_of(path: Path, *, task: str | None = None, model: str | None = None) -> Identity:
    with EmbeddingReader(path) as reader:
        return identify(reader, path, task=task, model=model)


def test_the_header_tells_all(embedding: Path) -> None:
    identity = identity_of(embedding)
    header = identity.header
    assert identity.found_by == "header"
    assert (header.task, header.images, header.width, header.height) == ("stego", 2, 51, 37)
    assert [source.name for source in header.sources] == ["0.png", "1.png"]
    request = identity.request
    assert (request.engine, request.task) == ("network", "stego")
    assert request.model == str(find("stego-2").folder)


def test_the_mark_tells_what_restoring_needs(embedding: Path, tmp_path: Path) -> None:
    identity = identity_of(strip(embedding, tmp_path / "stripped.png"))
    header = identity.header
    assert identity.found_by == "mark"
    assert (header.task, header.model, header.images) == ("stego", "stego-2", 2)
    assert (header.width, header.height, header.padding) == (51, 37, (1, 1))
    assert header.weights_sha256 == find("stego-2").config.weights_sha256
    assert header.sources == []


def test_the_mark_tells_the_frame_rate(clip_embedding: Path, tmp_path: Path) -> None:
    with_header = identity_of(clip_embedding).header
    by_mark = identity_of(strip(clip_embedding, tmp_path / "stripped.png")).header
    assert by_mark.frame_rate == with_header.frame_rate
    assert isinstance(by_mark.frame_rate, Fraction)


@pytest.mark.parametrize("request_", [{"model": "stego-2"}, {"task": "stego"}])
def test_the_request_decides_where_nothing_is_left(
    tmp_path: Path, request_: dict[str, str]
) -> None:
    identity = identity_of(save(tmp_path / "plain.png", natural(36, 52, 0)), **request_)
    assert identity.found_by == "request"
    assert (identity.header.task, identity.header.model) == ("stego", "stego-2")
    assert (identity.header.width, identity.header.height) == (52, 36)


def test_without_a_request_a_plain_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAnEmbeddingError, match="neither the header nor a mark") as error:
        identity_of(save(tmp_path / "plain.png", natural(36, 52, 0)))
    assert "--task" in (error.value.hint or "")


def test_a_png_of_another_size_is_refused_unless_the_request_decides(
    embedding: Path, tmp_path: Path
) -> None:
    resized = change_header(embedding, tmp_path / "resized.png", width=61)
    with pytest.raises(DamagedError, match="resized or cropped") as error:
        identity_of(resized)
    assert "--model stego-2" in (error.value.hint or "")
    identity = identity_of(resized, model="stego-2")
    assert identity.found_by == "request"
    assert (identity.header.width, identity.header.height) == (52, 38)


def test_a_task_of_a_newer_version_is_refused_unless_the_request_decides(
    embedding: Path, tmp_path: Path
) -> None:
    newer = change_header(embedding, tmp_path / "newer.png", task="holograms")
    with pytest.raises(UnsupportedVersionError, match="'holograms', which is unknown"):
        identity_of(newer)
    assert identity_of(newer, task="stego").header.task == "stego"


def test_another_engine_needs_no_checkpoint(embedding: Path, tmp_path: Path) -> None:
    other = change_header(
        embedding, tmp_path / "other.png", engine="telepathy", model="none", weights_sha256=""
    )
    identity = identity_of(other)
    assert identity.found_by == "header"
    assert (identity.request.engine, identity.request.model) == ("telepathy", None)


def test_the_request_overrides_the_header(embedding: Path) -> None:
    by_task = identity_of(embedding, task="stereo")
    assert (by_task.header.task, by_task.request.task) == ("stereo", "stereo")
    assert by_task.request.model == str(find("stereo").folder)
    by_model = identity_of(embedding, model="stego-3")
    assert by_model.request.model == str(find("stego-3").folder)
    assert (by_model.header.task, by_model.header.images) == ("stego", 3)
    assert by_task.found_by == by_model.found_by == "header"


def test_a_model_of_another_scale_makes_the_header_useless(embedding: Path) -> None:
    identity = identity_of(embedding, model="rescale")
    assert identity.found_by == "request"
    assert (identity.header.scale, identity.header.width, identity.header.height) == (2, 104, 76)


def test_other_weights_of_the_same_name_are_refused(embedding: Path, tmp_path: Path) -> None:
    other = change_header(embedding, tmp_path / "other.png", weights_sha256="0" * 64)
    with pytest.raises(ModelError, match="other weights of 'stego-2'"):
        identity_of(other)


def test_a_mark_of_unknown_weights_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "marked.png", write_mark(natural(36, 52, 0), mark_of(2)))
    with pytest.raises(ModelError, match="names a model that is not here") as error:
        identity_of(path)
    assert "'stego-2'" in (error.value.hint or "")
    assert identity_of(path, model="stego-2").found_by == "mark"


def test_a_mark_with_more_padding_than_pixels_is_refused(tmp_path: Path) -> None:
    mark = mark_of(2, padding=(0, 15))
    path = save(tmp_path / "marked.png", write_mark(natural(10, 40, 1), mark))
    with pytest.raises(DamagedError, match="more padding"):
        identity_of(path, model="stego-2")


def test_clips_of_half_size_are_no_task_of_their_own() -> None:
    names = [task_of(replace(mark_of(2), task=i)) for i in range(len(TASKS))]
    assert names[:3] == ["video", "video", "stereo"]
