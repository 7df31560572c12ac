"""Bundles that a stranger wrote: what is refused, and that nothing leaves the target."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import pytest
from PIL import Image

from iicnet_cli.container.header import Header, Source
from iicnet_cli.contents.restored_contents import RestoredContents
from iicnet_cli.errors import DamagedError, IICNetError, MediaError
from iicnet_cli.options import RestoreOptions
from iicnet_cli.payload.bundle import Bundle, BundledFile, Role
from iicnet_cli.payload.bundle_description import description_file
from tests.helpers import write_clip
from tests.samples import moving, natural

SIZE = (24, 32)


def picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(natural(*SIZE, 1)).save(file, "PNG")
    return file.getvalue()


def described(**fields: object) -> BundledFile:
    usual: dict[str, object] = {
        "task": "stego",
        "model": "files",
        "weights_sha256": "",
        "images": 1,
        "width": SIZE[1],
        "height": SIZE[0],
        "sources": [Source(name=f"{i}.png", width=SIZE[1], height=SIZE[0]) for i in range(2)],
    }
    return description_file(Header.model_validate(usual | fields))


def photos(count: int = 2) -> list[BundledFile]:
    return [BundledFile(Role.MEDIA, f"{i}.png", picture(), i) for i in range(count)]


def deliver(
    files: list[BundledFile], target: Path, names: dict[bytes, bytes] | None = None
) -> None:
    """Deliver a bundle whose names, of the same length, are replaced after it was written."""
    data = Bundle(tuple(files)).to_bytes()[:-4]
    for written, hostile in (names or {}).items():
        assert written in data
        data = data.replace(written, hostile)
    bundle = Bundle.from_bytes(data + zlib.crc32(data).to_bytes(4, "big"))
    scratch = target.parent / "scratch"
    scratch.mkdir()
    contents = RestoredContents([bundle], [natural(*SIZE, 1)], scratch)
    contents.deliver(target, overwrite=False, options=RestoreOptions())


def test_names_lead_nowhere_else(tmp_path: Path) -> None:
    hostile = [b"../x", b"/y", b"C:\\z", b"..", b"a\0b", b"NUL"]
    written = [bytes([ord("A") + i]) * len(name) for i, name in enumerate(hostile)]
    attached = [BundledFile(Role.ATTACHMENT, name.decode(), b"words") for name in written]
    names = dict(zip(written, hostile, strict=True))
    deliver([described(), *photos(), *attached], tmp_path / "out", names)
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {"0.png", "1.png", "x", "y", "z", "unnamed", "ab", "_NUL"}
    assert {path.name for path in tmp_path.iterdir()} == {"out", "scratch"}


def test_only_the_description_has_no_name(tmp_path: Path) -> None:
    nameless = [BundledFile(Role.ATTACHMENT, "", b"words")] * 2
    deliver([described(), *photos(), *nameless], tmp_path / "out")
    assert (tmp_path / "out" / "unnamed-2").read_bytes() == b"words"


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"width": 16_000, "height": 16_000}, 2),
        ({"sources": []}, 2),
        ({}, 1),
        ({"task": "rescale"}, 2),
    ],
    ids=["another size", "no sources", "too few files", "too many pictures"],
)
def test_photos_that_are_not_as_described_are_refused(
    tmp_path: Path, fields: dict[str, object], count: int
) -> None:
    target = tmp_path / ("out.png" if "task" in fields else "out")
    with pytest.raises(DamagedError):
        deliver([described(**fields), *photos(count)], target)
    assert not target.exists()


def of_clip(tmp_path: Path, data: bytes | None, role: Role = Role.MEDIA) -> list[BundledFile]:
    if data is None:
        data = write_clip(tmp_path / "clip.mkv", moving(2, *SIZE)).read_bytes()
    return [BundledFile(role, "clip.webm", data)]


@pytest.mark.parametrize(
    "fields",
    [{"task": "stereo", "images": 4, "width": 8}, {"width": 30}],
    ids=["four views", "another width"],
)
def test_clips_that_are_not_as_described_are_refused(
    tmp_path: Path, fields: dict[str, object]
) -> None:
    clip = {"task": "video", "fps": "10", "frames": 2, "sources": []} | fields
    with pytest.raises(DamagedError):
        deliver([described(**clip), *of_clip(tmp_path, None)], tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()


def test_inputs_of_another_size_are_refused(tmp_path: Path) -> None:
    clip = {"task": "video", "fps": "10", "frames": 2, "width": 30}
    clip["sources"] = [Source(name="clip.mkv", width=30, height=SIZE[0])]
    with pytest.raises(DamagedError):
        deliver([described(**clip), *of_clip(tmp_path, None, Role.ORIGINAL)], tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("role", [Role.MEDIA, Role.ORIGINAL])
def test_a_playlist_does_not_lead_to_files_of_the_reader(tmp_path: Path, role: Role) -> None:
    private = write_clip(tmp_path / "private.mkv", moving(2, *SIZE))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{private}\n#EXT-X-ENDLIST\n"
    source = [Source(name="clip.webm", width=SIZE[1], height=SIZE[0])]
    clip = {"task": "video", "fps": "10", "frames": 2, "sources": source}
    files = [described(**clip), *of_clip(tmp_path, playlist.encode(), role)]
    with pytest.raises((DamagedError, MediaError)):
        deliver(files, tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize("files", [[], [described(), described()]], ids=["none", "two"])
def test_one_description_is_needed(files: list[BundledFile], tmp_path: Path) -> None:
    with pytest.raises(IICNetError, match="no description"):
        deliver([*files, *photos()], tmp_path / "out")
