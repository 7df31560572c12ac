"""Restoring with engines that carry files: what the converter calls for them.

::

    PNG, JPEG or WebP --engine--> bundles --[unseal]--> contents/ --> files
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from iicnet_cli.container.header import Header
from iicnet_cli.contents.restored_contents import RestoredContents
from iicnet_cli.contents.small_version import write_small_version
from iicnet_cli.engines.file_engine import FileEngine
from iicnet_cli.errors import ContainerError, DamagedError, UnsupportedVersionError, UsageError
from iicnet_cli.media.temporary import scratch_folder
from iicnet_cli.options import RestoreOptions
from iicnet_cli.payload.bundle import Bundle
from iicnet_cli.payload.embedding_reader import EmbeddingReader
from iicnet_cli.payload.sealing import WrongPasswordError, is_sealed, unseal
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.reports import Progress, ProgressListener, RestoreReport, Stage


def restore_files(
    reader: EmbeddingReader,
    engine: FileEngine,
    outputs: tuple[Path, str | PathLike[str] | None, bool],
    options: RestoreOptions,
    listener: ProgressListener,
) -> RestoreReport:
    """Restore what a PNG carries.

    Args:
        reader: the open PNG.
        engine: that it was made with.
        outputs: the path after which outputs are named by default; the output itself, a file or
            folder; and whether existing outputs are replaced.
        options: how to write them.
        listener: receives the progress.

    Raises:
        WrongPasswordError: a password is needed, or it is wrong.
        DamagedError: nothing in it is intact.
        UsageError, OutputExistsError, MediaError: as :meth:`RestoredContents.deliver`.
    """
    began = time.monotonic()
    png, output, overwrite = outputs
    with ExitStack() as stack:
        try:
            found = stack.enter_context(read_contents(reader, engine, options.password))
        except WrongPasswordError:
            raise
        except DamagedError as error:
            small = _small_version_in(reader, engine, options.password)
            if small is None:
                raise
            report = _small_version_report(reader, engine, error)
            path = write_small_version(small, png, output, overwrite=overwrite)
            return replace(report, outputs=(path,), seconds=time.monotonic() - began)
        contents = found.contents
        if options.layout is not None and "layout" not in contents.task.takes:
            raise UsageError(f"{contents.task.name} has no use for --layout")
        listener(Progress(Stage.RESTORING, 0, found.total))
        target = contents.default_output(png) if output is None else Path(output)
        delivered = contents.deliver(target, overwrite=overwrite, options=options)
    return RestoreReport(
        outputs=delivered.outputs,
        task=contents.task.name,
        model=engine.name,
        images=delivered.pictures,
        altered=bool(found.damaged or contents.missing_frames),
        missing=bool(contents.missing_frames and not found.damaged),
        found_by="header" if reader.header is not None else "mark",
        seconds=time.monotonic() - began,
        notes=(*delivered.notes, *found.notes),
    )


def _small_version_in(
    reader: EmbeddingReader, engine: FileEngine, password: str | None
) -> bytes | None:
    """The small version of what a file held, or ``None``.

    Raises:
        WrongPasswordError: a password is needed, or it is wrong.
    """
    data = engine.read_small_version(reader.read_frame(0))
    return _unsealed(data, password) if data is not None and is_sealed(data) else data


def _small_version_report(
    reader: EmbeddingReader, engine: FileEngine, error: DamagedError
) -> RestoreReport:
    return RestoreReport(
        outputs=(),
        task=reader.header.task if reader.header is not None else "",
        model=engine.name,
        images=1,
        altered=True,
        found_by="header" if reader.header is not None else "mark",
        seconds=0,
        notes=(f"only the small version came back: {error}",),
        only_small_version=True,
    )


def restored_pictures(
    reader: EmbeddingReader, engine: FileEngine, password: str | None
) -> list[Pixels]:
    """The pictures that an open PNG carries; errors as of :func:`read_contents`."""
    with read_contents(reader, engine, password) as found:
        contents = found.contents
        return list(contents.task.restored_pictures(contents.header, contents.groups()))


@dataclass(frozen=True)
class FoundContents:
    """What the embeddings of a PNG carry.

    Attributes:
        contents: of the intact ones.
        covers: the intact embeddings.
        damaged: numbers of the others, from 0 on.
        total: number of all.
    """

    contents: RestoredContents
    covers: Sequence[Pixels]
    damaged: tuple[int, ...]
    total: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What is missing, in words."""
        notes = []
        if self.damaged:
            numbers = ", ".join(str(i + 1) for i in self.damaged)
            notes.append(f"{len(self.damaged)} of {self.total} pictures were altered: {numbers}")
        missing = self.contents.missing_frames
        if missing and not self.damaged:
            notes.append(
                f"{missing} frames are missing, with pictures of the PNG that were dropped"
            )
        return tuple(notes)

    def cover_shown_by(self, frame: int) -> Pixels | None:
        """The embedding that shows a frame of the clip, if one does; photos are frame 0."""
        return next(
            (
                cover
                for cover, shown in zip(self.covers, self.contents.shown_frames, strict=True)
                if shown == frame
            ),
            None,
        )


@contextmanager
def opened_contents(
    path: Path, engine: FileEngine, password: str | None
) -> Iterator[FoundContents]:
    """Open a PNG, and read what it carries; errors as of :func:`read_contents`."""
    with EmbeddingReader(path) as reader, read_contents(reader, engine, password) as found:
        yield found


@contextmanager
def read_contents(
    reader: EmbeddingReader, engine: FileEngine, password: str | None
) -> Iterator[FoundContents]:
    """Read what an open PNG carries.

    Raises:
        WrongPasswordError: a password is needed, or it is wrong.
        DamagedError: nothing in it is intact, or it is no bundle.
    """
    bundles, covers, damaged = [], [], []
    first_error: ContainerError | None = None
    for number, embedding in enumerate(reader):
        try:
            bundles.append(_open_bundle(engine.read(embedding), password))
            covers.append(embedding)
        except WrongPasswordError:
            raise
        except ContainerError as error:
            first_error = first_error or error
            damaged.append(number)
    if not bundles:
        raise _likely_cause(reader, first_error)
    with scratch_folder() as scratch:
        contents = RestoredContents(bundles, covers, scratch)
        yield FoundContents(contents, covers, tuple(damaged), len(bundles) + len(damaged))


def _open_bundle(data: bytes, password: str | None) -> Bundle:
    return Bundle.from_bytes(_unsealed(data, password) if is_sealed(data) else data)


def _unsealed(data: bytes, password: str | None) -> bytes:
    if not password:
        raise WrongPasswordError("what it carries is encrypted", hint="add --password")
    return unseal(data, password)


def _likely_cause(reader: EmbeddingReader, error: ContainerError | None) -> ContainerError:
    """The error of a PNG in which nothing is intact: what probably happened to it."""
    header = reader.header
    hint = "restore from the original file, sent as a file and not as a picture"
    if header is not None:
        written = _embedding_size(header)
        if reader.size != written:
            return DamagedError(
                f"it is {reader.size[0]}x{reader.size[1]}, but {written[0]}x{written[1]} was "
                "written: it was resized or cropped",
                hint=hint,
            )
        if not reader.verify():
            return DamagedError("its pixels were altered: it was re-encoded or edited", hint=hint)
    if isinstance(error, UnsupportedVersionError):
        return error
    return DamagedError(str(error), hint=hint)


def _embedding_size(header: Header) -> tuple[int, int]:
    right, bottom = header.padding
    return (header.width + right) // header.scale, (header.height + bottom) // header.scale
