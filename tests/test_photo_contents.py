"""What a bundle of photos holds: originals, or the best quality that fits."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from iicnet_cli.contents.part import ContentsRequest
from iicnet_cli.contents.photo_contents import photo_part
from iicnet_cli.contents.restored_contents import RestoredContents
from iicnet_cli.errors import DamagedError, QualityError
from iicnet_cli.media.stills import read_still
from iicnet_cli.options import EmbedOptions
from iicnet_cli.payload.bundle import Bundle, Role
from iicnet_cli.payload.bundle_description import description_file
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.tasks import task_named
from tests.helpers import pixels, save
from tests.samples import natural

SIZES = ((48, 64), (48, 64), (30, 40))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    return [save(folder / f"{i}.png", natural(*size, 40 + i)) for i, size in enumerate(SIZES)]


def request_of(
    paths: list[Path], room: int, task: str = "stego", **options: object
) -> ContentsRequest:
    chosen = task_named(task)
    given = EmbedOptions(engine="lowbits", **options)  # type: ignore[arg-type]
    source = chosen.open(paths, chosen.pictures_per_group(paths), given)
    return ContentsRequest(chosen, source, given, lambda cover: room, 40, "at 40 dB")


def test_all_originals_are_carried_if_they_fit(photos: list[Path], tmp_path: Path) -> None:
    part = photo_part(request_of(photos, 10**6))
    files = part.bundle.of_role(Role.ORIGINAL)
    assert [file.data for file in files] == [path.read_bytes() for path in photos]
    assert [file.picture for file in files] == [0, 1, 2]
    assert (part.cover == pixels(photos[0])).all()
    contents = RestoredContents([part.bundle], [part.cover], tmp_path)
    (group,) = contents.groups()
    assert all((a == pixels(b)).all() for a, b in zip(group.pictures, photos, strict=True))


def test_hidden_originals_come_before_the_reference(photos: list[Path]) -> None:
    room = sum(path.stat().st_size for path in photos[1:]) + 600
    part = photo_part(request_of(photos, room, exact=True))
    assert [file.name for file in part.bundle.of_role(Role.ORIGINAL)] == ["1.png", "2.png"]
    assert len(part.bundle.to_bytes()) <= room
    assert "0.png: as the picture shows it" in part.notes


def test_exact_tells_how_much_is_missing(photos: list[Path]) -> None:
    with pytest.raises(QualityError, match=r"the hidden files take \d+ bytes more .* 40 dB"):
        photo_part(request_of(photos, 5000, exact=True))


@pytest.mark.parametrize("room", [2500, 4000, 5500])
def test_the_worst_picture_is_as_good_as_the_others(
    photos: list[Path], tmp_path: Path, room: int
) -> None:
    part = photo_part(request_of(photos, room))
    assert 0.9 * room < len(part.bundle.to_bytes()) <= room
    contents = RestoredContents([part.bundle], [part.cover], tmp_path)
    (group,) = contents.groups()
    quality = [psnr(a, pixels(b)) for a, b in zip(group.pictures, photos, strict=True)]
    hidden = quality[1:]
    assert max(hidden) - min(hidden) < 3


def test_what_does_not_fit_at_all_is_refused(photos: list[Path]) -> None:
    with pytest.raises(QualityError, match="the pictures take"):
        photo_part(request_of(photos, 700))
    with pytest.raises(QualityError, match="the attachments take"):
        photo_part(request_of(photos, 700, attachments=(photos[0],)))


def test_attachments_travel_along(photos: list[Path], tmp_path: Path) -> None:
    extra = tmp_path / "note.txt"
    extra.write_text("words")
    part = photo_part(request_of(photos[:2], 10**6, attachments=(extra,)))
    assert part.bundle.of_role(Role.ATTACHMENT)[0].data == b"words"


@pytest.mark.parametrize(("task", "shape"), [("grayscale", (48, 64)), ("rescale", (24, 32, 3))])
def test_covers_of_single_photos(
    photos: list[Path], tmp_path: Path, task: str, shape: tuple[int, ...]
) -> None:
    part = photo_part(request_of(photos[:1], 4000, task))
    assert part.cover.shape == shape
    assert len(part.bundle.of_role(Role.MEDIA)) == 1
    contents = RestoredContents([part.bundle], [part.cover], tmp_path)
    (group,) = contents.groups()
    assert psnr(group.images[0], pixels(photos[0])) > 28


def test_layers_of_one_file_are_made_again(tmp_path: Path) -> None:
    rgba = np.dstack([natural(48, 64, 1), np.zeros((48, 64), np.uint8)])
    rgba[10:30, 10:40, 3] = 255
    front, back = save(tmp_path / "f.png", rgba), save(tmp_path / "b.png", natural(48, 64, 2))
    request = request_of([front, back], 10**6, "layers", background=(9, 8, 7))
    part = photo_part(request)
    assert [file.picture for file in part.bundle.of_role(Role.ORIGINAL)] == [None, 1]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (group,) = RestoredContents([part.bundle], [part.cover], scratch).groups()
    (original,) = replace(request).source.groups()
    assert (group.images == original.images).all()


def test_at_low_rates_pictures_are_carried_smaller(photos: list[Path], tmp_path: Path) -> None:
    large = save(tmp_path / "large.png", natural(480, 640, 4))
    part = photo_part(request_of([photos[0], large], 1500))
    (file,) = part.bundle.of_role(Role.MEDIA)
    assert read_still(io.BytesIO(file.data)).pixels.shape < (480, 640)
    contents = RestoredContents([part.bundle], [part.cover], tmp_path)
    (group,) = contents.groups()
    assert group.pictures[1].shape == (480, 640, 3)


def test_no_picture_is_enlarged_without_bounds(photos: list[Path], tmp_path: Path) -> None:
    part = photo_part(request_of(photos[:2], 4000))
    sources = [*part.description.sources]
    sources[1] = sources[1].model_copy(update={"width": 20_000, "height": 20_000})
    forged = part.description.model_copy(update={"sources": sources})
    bundle = Bundle((description_file(forged), *part.bundle.files[1:]))
    with pytest.raises(DamagedError, match="another size"):
        list(RestoredContents([bundle], [part.cover], tmp_path).groups())
