"""What a caller may ask for when embedding and when restoring."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from iicnet_cli.errors import UsageError

Precision = Literal["fp32", "tf32", "bf16"]
"""Arithmetic of the network: full precision, TF32 in convolutions (CUDA only), or bfloat16."""

MAX_EFFORT = 10
"""The highest effort."""
LAYER_EFFORT, SEARCH_EFFORT = 1, 2
"""The lowest efforts that include the enhancement layer, and the per-picture search."""

NETWORK = "network"
"""Name of the engine that the options for networks belong to."""

MAX_PSNR = 200.0
"""No PSNR that is asked for may be above this, dB."""
MAX_COUNT = 2**31 - 1
"""No number of frames that is asked for may be above this."""

TASK_FIELDS = frozenset({"start", "end", "step", "frames", "half", "layout", "zoom", "align"})
"""Fields of :class:`EmbedOptions` that only some tasks can use (:attr:`Task.takes`)."""


@dataclass(frozen=True)
class EmbedOptions:
    """What to take of the inputs, how to embed it, and what the result must be worth.

    Attributes:
        engine: how pictures get into the PNG; a key of ``engines.ENGINES`` or
            ``engines.FILE_ENGINES``.
        destination: where the picture will go, in the words of ``--for``; for engines that know
            more than one. Empty leaves it to the engine.
        start: first moment of a clip, in seconds.
        end: last moment of a clip, in seconds.
        step: take every n-th frame.
        frames: take at most this many frames.
        background: colour (R, G, B) that transparent pictures are composited on.
        half: a clip's embedding has half its width and height.
        layout: how one file holds a stereo pair; one of ``media.stereo_layouts.LAYOUTS``.
        zoom: dual view of one photo: magnification of its centre.
        align: predict each frame from the others by motion compensation.
        enhance: carry an enhancement layer in the low bits.
        effort: 0 to 10. 0 takes the network's own embedding; from 1 on, the enhancement layer is
            added; from 2 on, the embedding is first optimised through the frozen network, for
            longer at each step.
        target_embed_psnr: PSNR in dB that the search keeps the embedding at; by default, that of
            the network's own embedding.
        target_restored_psnr: PSNR in dB (of the mean squared error over all pictures) that the
            search keeps the restored pictures at while it improves the embedding.
        verify: read the written file back, restore it and measure it.
        min_psnr: write nothing if the embedding or the restored pictures' mean is below this, dB.
        with_ssim: measure SSIM and errors in flat areas, too, which takes longer.
        exact: engines that carry files: write nothing unless the hidden files fit byte for byte.
        attachments: the same: files that travel along byte for byte.
        password: the same: encrypt what is carried. It hides the content, not that there is any.

    Raises:
        UsageError: a number is out of its range, both targets are given, or a target is given
            with an effort that does not search.
    """

    engine: str = NETWORK
    destination: str = ""
    start: float | None = None
    end: float | None = None
    step: int = 1
    frames: int | None = None
    background: tuple[int, int, int] = (255, 255, 255)
    half: bool = False
    layout: str | None = None
    zoom: int | None = None
    align: bool = True
    enhance: bool = True
    effort: int = 1
    target_embed_psnr: float | None = None
    target_restored_psnr: float | None = None
    verify: bool = True
    min_psnr: float | None = None
    with_ssim: bool = False
    exact: bool = False
    attachments: tuple[Path, ...] = ()
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.effort <= MAX_EFFORT:
            raise UsageError(f"effort is 0 to {MAX_EFFORT}, not {self.effort}")
        self._check_ranges()
        if self.target_embed_psnr is not None and self.target_restored_psnr is not None:
            raise UsageError("only one of the two targets can be held")
        if self.engine == NETWORK:
            self._check_network()
        else:
            self._check_files()

    def _check_ranges(self) -> None:
        for name in ("target_embed_psnr", "target_restored_psnr", "min_psnr"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= MAX_PSNR:  # NaN is not, either
                option = name.replace("_", "-")
                raise UsageError(f"--{option} is 0 to {MAX_PSNR:.0f} dB, not {value}")
        for name in ("step", "frames", "zoom"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MAX_COUNT:
                raise UsageError(f"--{name} is 1 to {MAX_COUNT}, not {value}")
        if any(not 0 <= value <= 255 for value in self.background):
            raise UsageError(f"a colour has values from 0 to 255, not {self.background}")

    def _check_network(self) -> None:
        given = {"exact": self.exact, "attach": self.attachments, "password": self.password}
        for name in (name for name, value in given.items() if value):
            raise UsageError(f"--{name} needs an engine that carries files", hint="add --for file")
        if self.has_target and not self.searches:
            raise UsageError(
                "a target needs a search", hint=f"add --effort, {SEARCH_EFFORT} to {MAX_EFFORT}"
            )

    def _check_files(self) -> None:
        given = {
            "effort": self.effort != LAYER_EFFORT,
            "target-restored-psnr": self.target_restored_psnr is not None,
            "no-align": not self.align,
            "no-enhance": not self.enhance,
        }
        for name in (name for name, value in given.items() if value):
            raise UsageError(f"--{name} is for the network", hint="leave --for out")

    @property
    def has_target(self) -> bool:
        """Whether a PSNR is to be held."""
        return self.target_embed_psnr is not None or self.target_restored_psnr is not None

    @property
    def adds_layer(self) -> bool:
        """Whether an enhancement layer is wanted."""
        return self.enhance and self.effort >= LAYER_EFFORT

    @property
    def searches(self) -> bool:
        """Whether each embedding is optimised."""
        return self.effort >= SEARCH_EFFORT

    def given_for_tasks(self) -> list[str]:
        """Names of the fields in :data:`TASK_FIELDS` that differ from their defaults."""
        return [
            each.name
            for each in fields(self)
            if each.name in TASK_FIELDS and getattr(self, each.name) != each.default
        ]


@dataclass(frozen=True)
class RestoreOptions:
    """How to write what is restored.

    Attributes:
        layout: how one file is to hold a stereo pair; ``media.stereo_layouts.LAYOUTS`` or
            ``anaglyph``.
        password: opens what was encrypted.
    """

    layout: str | None = None
    password: str | None = field(default=None, repr=False)
