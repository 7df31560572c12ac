"""The contract of an engine: how groups of pictures get into the pixels of a PNG, and out again.

::

    groups of pictures --encode_group--> embeddings --container--> PNG
    PNG --container--> embeddings --decode_group--> groups of pictures

The converter reads groups from a task and gives them to an engine one by one. An engine decides how
many pictures go into one embedding (:attr:`Engine.images_per_group`): the network takes a fixed
number K; an engine that stores a whole clip in one picture takes all of them. It owns the pixels
of the embedding and what they carry, and fills in the fields of the header that are needed to
decode them. It knows nothing of files and tasks.

An engine is a package beside this file and one row in ``engines.ENGINES``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Self

from iicnet_cli.container.header import Header
from iicnet_cli.options import EmbedOptions, Precision
from iicnet_cli.payload.mark import ClipPlace
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.group import Group
from iicnet_cli.reports import Stage


class Alteration(StrEnum):
    """What may happen to a picture on its way to whoever restores it."""

    METADATA_STRIPPED = "stripped metadata"
    CROP = "a crop"
    PASTE = "a sticker"
    NOISE = "mild noise"
    JPEG = "JPEG"
    RESIZE = "resizing"


EncodingProgress = Callable[[Stage, float, float | None], None]
"""Called with the stage, the share 0..1 of it that is done for this group, and, by a search, the
dB gained so far."""


def ignore_encoding(stage: Stage, share: float, gained_psnr: float | None = None) -> None:
    """Do nothing with the progress of an engine."""


@dataclass(frozen=True)
class EngineRequest:
    """Which engine is needed, and with what.

    Attributes:
        engine: name of the engine, a key of ``engines.ENGINES``.
        task: name of the task.
        images: pictures in a group, if the inputs decide that.
        half: the embedding of a clip is to have half its width and height.
        model: name or folder of a checkpoint; ``None`` leaves it to the engine.
    """

    engine: str
    task: str
    images: int | None = None
    half: bool = False
    model: str | None = None


@dataclass(frozen=True)
class Computing:
    """Where and how networks compute.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        memory: bytes that the tensors of one tile may take; ``None`` for the default.
        compiled: compile networks before their first use.
        precision: arithmetic of the networks.
    """

    device: str = "auto"
    memory: int | None = None
    compiled: bool = False
    precision: Precision = "fp32"


@dataclass(frozen=True)
class EncodingRequest:
    """What an engine has to know besides the pictures.

    Attributes:
        task: name of the task, for the in-pixel mark.
        fps: frames per second, for the in-pixel mark; ``None`` for photos.
        predicts: whether the pictures of a group show one scene, so that each may be predicted
            from the others.
        options: what the user asked for.
        place: of the group in a clip of several; ``None`` for the only one.
    """

    task: str
    fps: Fraction | None = None
    predicts: bool = False
    options: EmbedOptions = field(default_factory=EmbedOptions)
    place: ClipPlace | None = None


@dataclass(frozen=True)
class SideInfo:
    """What the header repeats of one embedding's mark, in case pixels are damaged.

    Attributes:
        motion: bytes of the motion field, or empty.
        static_region: bytes of the static region, or empty.
    """

    motion: bytes = b""
    static_region: bytes = b""


@dataclass(frozen=True)
class EncodedGroup:
    """One embedding.

    Attributes:
        pixels: (H_e, W_e, C_e) uint8 with C_e = 1 or 3.
        side_info: what the header repeats of its mark.
        gained_psnr: dB that the search gained; ``None`` without a search.
        notes: what could not be embedded, in words.
    """

    pixels: Pixels
    side_info: SideInfo = SideInfo()
    gained_psnr: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineHeader:
    """The fields of :class:`Header` that an engine fills in.

    Every engine but the network sets ``engine`` to its name.
    """

    model: str
    weights_sha256: str
    images: int
    padding: tuple[int, int] = (0, 0)
    scale: int = 1
    precision: str = "fp32"
    engine: str | None = None
    static_regions: list[str] | None = None
    motion: list[str] | None = None


@dataclass(frozen=True)
class EncodingEstimate:
    """What one embedding would cost and be worth.

    Attributes:
        tiles: number of tiles that the network's passes are cut into; 1 without a network.
        seconds: to embed, write, read back and restore.
        bytes: of the PNG.
        embed_psnr: of the embedding before any search, in dB.
        restored_psnr: mean over all pictures, in dB.
        notes: what could not be embedded, in words.
    """

    tiles: int
    seconds: float
    bytes: int
    embed_psnr: float
    restored_psnr: float
    notes: tuple[str, ...] = ()


class Engine(ABC):
    """Puts groups of pictures into embeddings, and restores them.

    Attributes:
        images_per_group: number of pictures that one embedding holds; ``None`` if it takes all
            pictures of a source, however many.
        model: name of the checkpoint, or of the codec.
        weights_sha256: hash of the weights; empty for an engine without any. A converter keeps one
            engine for each model and weights, so these two decide all that an engine does.
        scale: pixels of a picture to one pixel of the embedding, on each axis.
    """

    images_per_group: int | None
    model: str
    weights_sha256: str = ""
    scale: int = 1

    @classmethod
    @abstractmethod
    def open(cls, request: EngineRequest, computing: Computing) -> Self:
        """Make an engine ready for a task.

        Raises:
            ModelError: the checkpoint is not here.
            UsageError: the checkpoint does not fit the request.
        """

    @abstractmethod
    def survives(self) -> frozenset[Alteration]:
        """Alterations of the PNG after which what is left of it can still be restored."""

    @abstractmethod
    def capacity(self, shape: tuple[int, ...]) -> int:
        """Bytes that the pixels of an embedding of this shape, (H, W, C), can carry at most."""

    @abstractmethod
    def reference(self, images: Pixels) -> Pixels:
        """What the embedding of (K, H, W, C) should look like: (H_e, W_e, C_e) uint8."""

    def groups_at_once(self, height: int, width: int, options: EmbedOptions) -> int:
        """How many groups of pictures of this size are best encoded at once, each by a thread."""
        return 1

    def groups_decoded_at_once(self, height: int, width: int) -> int:
        """How many groups of pictures of this size are best decoded at once, each by a thread."""
        return 1

    @abstractmethod
    def encode_group(
        self,
        group: Group,
        request: EncodingRequest,
        progress: EncodingProgress = ignore_encoding,
    ) -> EncodedGroup:
        """Embed one group.

        Args:
            group: its pictures, 8-bit sRGB.
            request: what else has to be known.
            progress: called while it works; it may raise to end the work.
        """

    @abstractmethod
    def header(self, height: int, width: int, encoded: Sequence[SideInfo]) -> EngineHeader:
        """The fields of the header that belong to the engine.

        Args:
            height: of the pictures, without padding.
            width: likewise.
            encoded: the side info of every embedding, in order.
        """

    @abstractmethod
    def decode_group(
        self,
        embedding: Pixels,
        header: Header,
        index: int,
        tick: Callable[[float], None] = lambda share: None,
    ) -> Group:
        """Restore one group.

        Args:
            embedding: (H_e, W_e) or (H_e, W_e, 3) uint8, as read.
            header: of the PNG; made up from the mark when the chunk was lost.
            index: number of the embedding in the PNG, from 0 on.
            tick: called with the share 0..1 that is done.

        Raises:
            DamagedError: the embedding cannot be one of this engine.
        """

    def notes_on_restoring(self, embedding: Pixels) -> tuple[str, ...]:
        """What of an embedding cannot be restored on this machine, in words."""
        return ()

    @abstractmethod
    def estimate_group(self, group: Group, request: EncodingRequest) -> EncodingEstimate:
        """What :meth:`encode_group` would cost and give, from parts of the pictures."""
