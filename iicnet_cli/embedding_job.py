"""One PNG that an engine for pictures is to make."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from iicnet_cli import __version__
from iicnet_cli.container.header import MAX_HEADER_BYTES, Header
from iicnet_cli.engines.base import EncodingRequest, Engine, SideInfo
from iicnet_cli.errors import UsageError
from iicnet_cli.pictures.metrics import SSIM_WINDOW
from iicnet_cli.tasks import Task
from iicnet_cli.tasks.task import PictureSource, SourceDescription


@dataclass(frozen=True)
class EmbeddingJob:
    """What is embedded, and how.

    Attributes:
        task: gives and takes the pictures.
        engine: embeds them.
        source: the pictures.
        request: what the engine needs to know besides.
        guessed: whether the task was not named.
    """

    task: Task
    engine: Engine
    source: PictureSource
    request: EncodingRequest
    guessed: bool

    def lost_sound(self) -> tuple[str, ...]:
        """That no engine for pictures carries sound, where there is some."""
        return ("sound is not carried in the picture",) if self.source.has_sound else ()

    def header(self, description: SourceDescription, encoded: list[SideInfo]) -> Header:
        """The header of the PNG when all of its groups have been encoded."""
        source = self.source
        engine_fields = asdict(self.engine.header(source.height, source.width, encoded))
        header = Header.for_writing(
            task=self.task.name,
            width=source.width,
            height=source.height,
            software=f"iicnet {__version__}",
            **description.header_fields(),
            **engine_fields,
        )
        if len(header.to_json()) <= MAX_HEADER_BYTES:
            return header
        # The marks have these as well; the names and times of the frames are nowhere else.
        return header.model_copy(update={"motion": None, "static_regions": None})

    def check_ssim_size(self) -> None:
        """Refuse pictures that are too small for the SSIM that was asked for.

        Raises:
            UsageError: they are.
        """
        if not self.request.options.with_ssim:
            return
        if min(self.source.width, self.source.height) < SSIM_WINDOW * self.engine.scale:
            raise UsageError(f"SSIM needs pictures of {SSIM_WINDOW} pixels or more to each side")
