"""One embedding's worth of contents, and what is needed to choose it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from iicnet_cli.container.header import Header, Source
from iicnet_cli.errors import MediaError, QualityError, UsageError
from iicnet_cli.media.cover_sizes import as_sent
from iicnet_cli.options import EmbedOptions
from iicnet_cli.payload.bundle import MAX_FILES, Bundle, BundledFile, Role, bundle_size
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.tasks.task import PictureSource, SourceDescription, Task

LEFT_OUT = "left_out"
"""Option in the description of a clip: the number of the frame that is the embedding itself."""

ALL_FRAMES = "all_frames"
"""Option in the description of a part of a clip: the number of frames of all parts together."""

_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class ContentsRequest:
    """What contents are chosen for.

    Attributes:
        task: whose pictures they are.
        source: the opened inputs.
        options: what was asked for.
        capacity: how many bytes of a bundle a cover holds.
        embed_psnr: PSNR in dB at which it holds them, about.
        limit: what limits the capacity, in words.
        arrives_exact: whether the embedding arrives as it is written. If not, there can be only
            one, and what it shows arrives only about.
        longest_side: pixels of the longer side that the embedding may have; ``None`` if any.
        small_version_capacity: how many bytes of a small version a cover holds beside the bundle.
        tick: called with the share 0..1 of the work that is done.
    """

    task: Task
    source: PictureSource
    options: EmbedOptions
    capacity: Callable[[Pixels], int]
    embed_psnr: float
    limit: str
    arrives_exact: bool = True
    longest_side: int | None = None
    small_version_capacity: Callable[[Pixels], int] = lambda cover: 0
    tick: Callable[[float], None] = lambda share: None

    def cover_of(self, picture: Pixels) -> Pixels:
        """What the embedding is to show of a picture (H, W, 3): (h, w, 3) or (h, w)."""
        is_enlarged = self.source.fps is not None and not self.arrives_exact
        cover = self.task.cover(picture, self.options)
        return as_sent(cover, self.longest_side, is_enlarged=is_enlarged)

    def cover_notes(self, picture: Pixels) -> tuple[str, ...]:
        """What to say of the size of the cover of a picture (H, W, 3)."""
        usual = self.task.cover(picture, self.options).shape
        height, width = self.cover_of(picture).shape[:2]
        if width > usual[1] or height > usual[0]:
            return (f"the picture is made {width}x{height}, so that it holds more",)
        if (height, width) != usual[:2]:
            return (f"the picture is made {width}x{height}, as large as it stays {self.limit}",)
        return ()

    def check_cover(self, cover: Pixels) -> None:
        """Refuse a cover that holds nothing at all, whatever is to be hidden.

        Raises:
            QualityError: it does not.
        """
        if self.capacity(cover) <= 0:
            height, width = cover.shape[:2]
            raise QualityError(
                f"nothing was written: a picture of {width}x{height} like this holds nothing "
                f"{self.limit}",
                hint="take a larger one, with more detail, or with less pure white and black",
            )

    def missing_error(self, missing: int | None, what: str) -> QualityError:
        """The error of contents that do not fit.

        Args:
            missing: so many bytes; ``None`` if that is not known.
            what: does not fit.
        """
        # What is asked for decides how many dB there are: the higher of the two options.
        is_floor = self.options.target_embed_psnr is None and self.options.min_psnr is not None
        option = "--min-psnr" if is_floor else "--target-embed-psnr"
        lower = f", or lower {option}" if self.arrives_exact else ""
        several = what.endswith("s")
        if missing is None:
            problem = f"{'do' if several else 'does'} not fit into what"
        else:
            unit = "byte" if missing == 1 else "bytes"
            problem = f"{'take' if several else 'takes'} {missing} {unit} more than"
        return QualityError(
            f"nothing was written: {what} {problem} the picture holds {self.limit}",
            hint=f"hide less{',' if lower else ' or'} take a larger picture{lower}",
        )


@dataclass(frozen=True)
class Part:
    """One embedding's worth.

    Attributes:
        cover: (H, W, 3) or (H, W) uint8, what the embedding is to show.
        bundle: what it is to carry.
        description: what its first file says.
        notes: how the pictures are carried, in words.
        step: every so many frames of the source are carried.
        small_version: a still of what the bundle holds, as a file; ``None`` if there is none.
    """

    cover: Pixels
    bundle: Bundle
    description: Header
    notes: tuple[str, ...] = ()
    step: int = 1
    small_version: bytes | None = None

    @property
    def frames(self) -> int:
        """Frames of a clip; 1 for photos."""
        return self.description.frames or 1


def check_files(source: PictureSource, options: EmbedOptions) -> None:
    """Refuse, before any work, what cannot be carried as files.

    Raises:
        MediaError: an attachment is no file.
        UsageError: there are more files than a bundle holds.
        QualityError: of a clip that is to be carried as it is, only a part is taken.
    """
    if options.exact and source.fps is not None and not source.files:
        raise QualityError(
            "nothing was written: a part of a clip, or frames of a folder, are no files that could "
            "be carried byte for byte",
            hint="give a whole clip, or leave --exact out",
        )
    for path in options.attachments:
        if path.is_dir():
            raise MediaError(f"{path}: is a folder", hint="attach an archive of it")
        if not path.is_file():
            what = "is no regular file" if path.exists() else "no such file"
            raise MediaError(f"{path}: {what}")
    pictures = source.images if source.fps is None else 1
    count = len(options.attachments) + max(pictures, len(source.files) if options.exact else 0)
    if count >= MAX_FILES:  # the description is one, too
        raise UsageError(
            f"{count} files are more than one picture carries, {MAX_FILES - 1}",
            hint="hide fewer files, or attach an archive of them",
        )


def describe(request: ContentsRequest, description: SourceDescription) -> Header:
    """The description of the pictures."""
    source = request.source
    fields = description.header_fields()
    if request.options.background != _WHITE:
        fields["options"]["background"] = "#{:02x}{:02x}{:02x}".format(*request.options.background)
    return Header.for_writing(
        task=request.task.name,
        model="files",
        weights_sha256="",
        images=source.images if source.fps is not None else 1,
        width=source.width,
        height=source.height,
        **fields,
    )


def read_files(role: Role, paths: list[Path]) -> list[BundledFile]:
    """Files as they are.

    Raises:
        MediaError: one cannot be read.
    """
    found = []
    for path in paths:
        try:
            found.append(BundledFile(role, path.name, path.read_bytes()))
        except OSError as error:
            raise MediaError(f"{path}: cannot be read ({error.strerror})") from error
    return found


def attached_files(
    request: ContentsRequest, others: list[BundledFile], capacity: int
) -> list[BundledFile]:
    """The attachments, which are read only if they fit.

    Args:
        request: what contents are chosen for.
        others: what is carried in any case.
        capacity: bytes of the whole bundle.

    Raises:
        QualityError: they do not fit.
        MediaError: one cannot be read.
    """
    paths = list(request.options.attachments)
    sizes = [(path.name, path.stat().st_size) for path in paths]
    missing = size_of(others) + bundle_size(sizes) - bundle_size([]) - capacity
    if missing > 0:
        what = "the attachments" if paths else "the names of the pictures"
        raise request.missing_error(missing, what)
    return read_files(Role.ATTACHMENT, paths)


def size_of(files: list[BundledFile]) -> int:
    """Bytes of a bundle of these files."""
    return bundle_size((file.name, len(file.data)) for file in files)


def room_for(name: str, others: list[BundledFile], capacity: int) -> int:
    """Bytes that one more file of this name may have."""
    return capacity - size_of(others) - (bundle_size([(name, 0)]) - bundle_size([]))


def source_name(sources: list[Source], suffix: str) -> str:
    """A name for the pictures of these sources as one file."""
    stem = Path(sources[0].name).stem if sources else "pictures"
    return f"{stem}{suffix}"
