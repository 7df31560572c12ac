"""What the converter reports to its caller: results, estimates and progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from statistics import fmean

EXACT_PSNR = 100.0
"""Reports give equal pictures this many dB."""


class Stage(StrEnum):
    """What a call is doing."""

    OPENING = "opening"
    EMBEDDING = "embedding"
    ENCODING = "encoding"
    ENHANCING = "enhancing"
    SEARCHING = "searching"
    VERIFYING = "verifying"
    RESTORING = "restoring"
    PACKING = "packing"


@dataclass(frozen=True)
class Forecast:
    """How long a call will take, measured on small windows of its first group.

    Attributes:
        groups: number of groups.
        seconds: for all of them, verifying included.
        seconds_without_effort: likewise with an effort of 0; ``None`` if that is the effort.
    """

    groups: int
    seconds: float
    seconds_without_effort: float | None = None


@dataclass(frozen=True)
class Progress:
    """How far a call is.

    Each call begins with the stage ``OPENING``. If much is to be embedded, it comes again with a
    forecast when the inputs are open.

    Attributes:
        stage: what is being done.
        done: groups that are done, a fraction of the current one included.
        total: number of groups, if it is known.
        gained_psnr: dB that the search has gained so far on the current group; ``None`` in all
            other stages.
        forecast: how long the call will take; ``None`` in all other stages, and for short work.
        group: number of the current group, from 0 on: all before it are done.
    """

    stage: Stage
    done: float
    total: int | None
    gained_psnr: float | None = None
    forecast: Forecast | None = None
    group: int = 0


ProgressListener = Callable[[Progress], None]
"""Called with the progress of a call, by several threads in turn while a clip is embedded."""


def ignore_progress(progress: Progress) -> None:
    """Do nothing with the progress of a call."""


@dataclass(frozen=True)
class PictureQuality:
    """Quality of one picture of a group, compared with its original; the mean over all groups.

    Attributes:
        name: of the picture.
        psnr: in dB.
        ssim: -1..1; ``None`` unless it was asked for.
        flat_error: the largest error in flat areas, in 8-bit steps
            (:func:`~iicnet_cli.pictures.metrics.flat_error`), the largest of all groups; ``None``
            unless SSIM was asked for.
    """

    name: str
    psnr: float
    ssim: float | None = None
    flat_error: float | None = None

    @property
    def is_exact(self) -> bool:
        """Whether the picture is equal to its original."""
        return self.psnr >= EXACT_PSNR


def _mean_psnr(pictures: tuple[PictureQuality, ...]) -> float | None:
    return fmean(picture.psnr for picture in pictures) if pictures else None


@dataclass(frozen=True)
class CarriedFile:
    """A file that an embedding carries.

    Attributes:
        role: ``description``, ``media``, ``original``, ``reference``, ``attachment``, or ``small
            version``.
        name: of the file; empty for the description.
        bytes: its size.
    """

    role: str
    name: str
    bytes: int


@dataclass(frozen=True)
class EmbedReport:
    """What :meth:`Converter.embed` wrote, measured on that very file.

    Attributes:
        output: the PNG.
        task: name of the task.
        model: name of the checkpoint.
        embeddings: pictures in the PNG; more than one make it an animated PNG.
        images: pictures (photos, frames) that it holds.
        width: of the restored pictures, in pixels.
        height: of the restored pictures, in pixels.
        bytes: size of the PNG.
        seconds: time taken, verification included.
        embedding: quality of the PNG compared with the reference pictures; ``None`` if it was not
            verified.
        restored: quality of the restored pictures compared with the originals (fitted to the common
            size), the reference first; empty if they were not verified.
        notes: what was changed while reading the inputs, what could not be embedded, and which
            target was missed, in words.
        guessed: whether the task was guessed from the inputs.
        gained_psnr: dB that the search gained, on restored pictures or, with a target for those,
            on the embedding; ``None`` without a search.
        carried: the files in the PNG, if its engine carries files.
        survived: the simulated channels after which everything came back from the written file;
            empty if its engine promises nothing, or if it was not verified.
        survives_crop: whether everything came back from three quarters of the area, simulated, and
            with a square pasted over the file; ``None`` if its engine promises nothing, or if it
            was not verified.
    """

    output: Path
    task: str
    model: str
    embeddings: int
    images: int
    width: int
    height: int
    bytes: int
    seconds: float
    embedding: PictureQuality | None = None
    restored: tuple[PictureQuality, ...] = ()
    notes: tuple[str, ...] = ()
    guessed: bool = False
    gained_psnr: float | None = None
    carried: tuple[CarriedFile, ...] = ()
    survived: tuple[str, ...] = ()
    survives_crop: bool | None = None

    @property
    def embed_psnr(self) -> float | None:
        """PSNR in dB of the PNG compared with the reference."""
        return self.embedding.psnr if self.embedding else None

    @property
    def restored_psnr(self) -> float | None:
        """Mean PSNR in dB of all restored pictures, the reference included, as in the paper."""
        return _mean_psnr(self.restored)

    @property
    def hidden_psnr(self) -> float | None:
        """Mean PSNR in dB of the restored pictures without the reference."""
        return _mean_psnr(self.restored[1:])


@dataclass(frozen=True)
class RestoreReport:
    """What :meth:`Converter.restore` wrote.

    Attributes:
        outputs: files, or folders of frames.
        task: name of the task; empty if only the small version came back from a file that does not
            say it elsewhere.
        model: name of the checkpoint.
        images: pictures restored.
        altered: True when the pixels are not those that were written; ``None`` when it cannot be
            told, because the header was stripped.
        found_by: ``header``, ``mark`` or ``request``.
        seconds: time taken.
        notes: what could not be restored, or not be kept in the outputs, in words.
        missing: whether pictures of the PNG are missing; ``altered`` is True then.
        only_small_version: whether nothing but the small version of what was hidden came back; the
            notes say why.
    """

    outputs: tuple[Path, ...]
    task: str
    model: str
    images: int
    altered: bool | None
    found_by: str
    seconds: float
    notes: tuple[str, ...] = ()
    missing: bool = False
    only_small_version: bool = False


@dataclass(frozen=True)
class Estimate:
    """What :meth:`Converter.embed` would write, estimated from small windows of the first group.

    Of engines that carry files everything is made, so all of it is known.

    Attributes:
        task: name of the task.
        model: name of the checkpoint.
        images: pictures (photos, frames) that it will hold; ``None`` if not known beforehand.
        width: of the restored pictures, in pixels.
        height: of the restored pictures, in pixels.
        embeddings: PNG frames, one for each group; ``None`` if not known beforehand.
        tiles: number of tiles that each embedding is computed in.
        bytes: approximate size of the file; of one embedding if ``embeddings`` is not known.
        seconds: approximate time, reading back, restoring and comparing included; for one embedding
            if ``embeddings`` is not known.
        embed_psnr: in dB, of the embedding before any search.
        restored_psnr: in dB, mean over all pictures, before any search.
        notes: what is changed while reading the inputs, and what cannot be embedded, in words.
        guessed: whether the task was guessed from the inputs.
        embedding: as of :class:`EmbedReport`, where it is known.
        restored: likewise.
        carried: likewise.
        survived: likewise.
        survives_crop: likewise.
    """

    task: str
    model: str
    images: int | None
    width: int
    height: int
    embeddings: int | None
    tiles: int
    bytes: int
    seconds: float
    embed_psnr: float
    restored_psnr: float
    notes: tuple[str, ...] = ()
    guessed: bool = False
    embedding: PictureQuality | None = None
    restored: tuple[PictureQuality, ...] = ()
    carried: tuple[CarriedFile, ...] = ()
    survived: tuple[str, ...] = ()
    survives_crop: bool | None = None

    @property
    def hidden_psnr(self) -> float | None:
        """As of :class:`EmbedReport`, where it is known."""
        return _mean_psnr(self.restored[1:])
