"""Photos, views and layers in one embedding: the original files if they fit, else the best quality
that does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from iicnet_cli.contents.part import (
    ContentsRequest,
    Part,
    attached_files,
    describe,
    read_files,
    size_of,
)
from iicnet_cli.contents.small_version import photos_small_version
from iicnet_cli.media.compact_stills import StillEncoder
from iicnet_cli.payload.bundle import Bundle, BundledFile, Role, bundle_size
from iicnet_cli.payload.bundle_description import description_file
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import cap_psnr

_LEAST_PSNR, _MOST_PSNR = 15.0, 60.0
"""Pictures that are not exact are encoded with between so many dB."""
_PSNR_STEP = 0.1
"""The quality of the worst picture is found to this many dB."""


def photo_part(request: ContentsRequest) -> Part:
    """Choose the contents of the only embedding of photos.

    Raises:
        QualityError: they do not fit: not as they are where that was asked for, or not at all.
        MediaError: a file cannot be read.
    """
    with closing(request.source.groups()) as groups:
        group = next(groups)
        pictures = group.pictures
        for _ in groups:
            raise AssertionError("photos make one group")
        description = describe(request, groups.description)
    fixed = [description_file(description)]
    cover, notes = request.cover_of(pictures[0]), request.cover_notes(pictures[0])
    request.check_cover(cover)
    room = request.capacity(cover)
    fixed += attached_files(request, fixed, room)
    small = photos_small_version(request, pictures, cover)
    originals = _all_originals(request, fixed, room)
    if originals is not None:
        exact = f"all {len(originals)} files are carried" if len(originals) > 1 else "carried"
        bundle = Bundle((*fixed, *originals))
        notes = (*notes, f"{exact} byte for byte")
        return Part(cover, bundle, description, notes, small_version=small)
    is_shown = request.task.cover(pictures[0], request.options).shape == pictures[0].shape
    choice = _Allocation(request, pictures, fixed, room, is_shown=is_shown)
    notes = (*notes, *choice.notes())
    bundle = Bundle((*fixed, *choice.files()))
    return Part(cover, bundle, description, notes, small_version=small)


def _all_originals(
    request: ContentsRequest, fixed: list[BundledFile], room: int
) -> list[BundledFile] | None:
    """All inputs as they are, or ``None`` if they do not fit.

    Raises:
        QualityError: the inputs cannot be cut down to the hidden pictures, they do not fit, and
            that was asked for.
    """
    source = request.source
    sizes = [(path.name, path.stat().st_size) for path in source.files]
    missing = size_of(fixed) + bundle_size(sizes) - bundle_size([]) - room
    if source.files and missing <= 0:
        numbers = {path: i for i, path in enumerate(source.picture_files) if path is not None}
        files = read_files(Role.ORIGINAL, list(source.files))
        return [
            BundledFile(file.role, file.name, file.data, numbers.get(path))
            for file, path in zip(files, source.files, strict=True)
        ]
    if request.options.exact and any(path is None for path in source.picture_files[1:]):
        raise request.missing_error(missing, "the inputs")
    return None


@dataclass(frozen=True)
class _Candidate:
    """One way to carry a picture.

    Attributes:
        file: how; ``None`` leaves it to the embedding, which shows it.
        psnr: of the restored picture in dB.
    """

    file: BundledFile | None
    psnr: float

    @property
    def size(self) -> int:
        """Bytes that it adds to a bundle."""
        if self.file is None:
            return 0
        return bundle_size([(self.file.name, len(self.file.data))]) - bundle_size([])


class _Allocation:
    """Divides the room so that the worst hidden picture is as good as it can be.

    The reference, which the embedding shows in any case, gets what the others cannot use; nothing
    where embeddings hold little.

    Args:
        request: what for.
        pictures: at their own sizes, the reference first.
        fixed: files that are carried in any case.
        room: bytes of the whole bundle.
        is_shown: whether the embedding shows the reference itself.
    """

    def __init__(
        self,
        request: ContentsRequest,
        pictures: Sequence[Pixels],
        fixed: list[BundledFile],
        room: int,
        *,
        is_shown: bool,
    ) -> None:
        self._request, self._is_shown = request, is_shown
        self._room = room - size_of(fixed)
        self._names = list(request.source.names)
        self._encoders = [StillEncoder(picture) for picture in pictures]
        self._originals = [
            read_files(Role.ORIGINAL, [path])[0] if path is not None else None
            for path in request.source.picture_files
        ]
        self._chosen = self._exact() or self._even()
        self._spend_rest()

    def files(self) -> list[BundledFile]:
        """The chosen files in the order of the pictures."""
        return [choice.file for choice in self._chosen if choice.file is not None]

    def notes(self) -> tuple[str, ...]:
        """How each picture is carried, in words."""
        return tuple(
            f"{name}: {_how(choice)}"
            for name, choice in zip(self._names, self._chosen, strict=True)
        )

    @property
    def _left(self) -> int:
        return self._room - sum(choice.size for choice in self._chosen)

    def _exact(self) -> list[_Candidate] | None:
        """The hidden pictures byte for byte, if they fit."""
        first = 1 if self._is_shown else 0
        files = self._originals[first:]
        if any(file is None for file in files) or not files:
            return None
        hidden = [self._original(i) for i in range(first, len(self._originals))]
        missing = sum(choice.size for choice in hidden if choice) - self._room
        if missing > 0:
            if self._request.options.exact:
                raise self._request.missing_error(missing, "the hidden files")
            return None
        shown = [_Candidate(None, self._request.embed_psnr)] if self._is_shown else []
        return [*shown, *(choice for choice in hidden if choice)]

    def _even(self) -> list[_Candidate]:
        """All pictures at the highest common quality that fits, about.

        The room is divided by a fast codec; a second time with what the best codec was better.
        """
        gains = [0.0] * len(self._encoders)
        last = len(self._encoders) - 1
        if last == int(self._is_shown):  # one picture has all the room
            shown = [self._within(0, 0)] if self._is_shown else []
            return [*shown, self._within(last, self._room - self._overhead(last))]
        for _ in range(2):
            budgets = self._budgets(gains)
            choices = [self._within(i, budget) for i, budget in enumerate(budgets)]
            for i, (choice, budget) in enumerate(zip(choices, budgets, strict=True)):
                if choice.file is not None and choice.psnr < math.inf:
                    gains[i] = choice.psnr - self._encoders[i].quality_without_avif(budget)
        return choices

    def _budgets(self, gains: list[float]) -> list[int]:
        """Bytes for the file of each picture; 0 leaves it to the embedding."""
        low, high = 0, round((_MOST_PSNR - _LEAST_PSNR) / _PSNR_STEP)
        best = self._sizes_at(_LEAST_PSNR, gains)
        missing = sum(best) - self._room
        if missing > 0:
            raise self._request.missing_error(missing, "the pictures")
        while low < high:
            middle = (low + high + 1) // 2
            sizes = self._sizes_at(_LEAST_PSNR + middle * _PSNR_STEP, gains)
            if sum(sizes) <= self._room:
                low, best = middle, sizes
            else:
                high = middle - 1
        return [max(0, size - self._overhead(i)) for i, size in enumerate(best)]

    def _sizes_at(self, least_psnr: float, gains: list[float]) -> list[int]:
        """Bytes that each picture adds to the bundle with this many dB, about."""
        sizes = []
        for i, encoder in enumerate(self._encoders):
            if i == 0 and self._is_shown:
                sizes.append(0)
                continue
            size = encoder.least_size(least_psnr - gains[i]) + self._overhead(i)
            original = self._original(i)
            sizes.append(min(size, original.size) if original else size)
        return sizes

    def _within(self, i: int, budget: int) -> _Candidate:
        """The best way to carry a picture in a file of so many bytes."""
        original = self._original(i)
        if original is not None and original.size <= budget + self._overhead(i):
            return original
        if i == 0 and self._is_shown and budget == 0:
            return _Candidate(None, self._request.embed_psnr)
        still = self._encoders[i].best(budget)
        if still is None:
            raise self._request.missing_error(None, "the pictures")
        return self._coded(i, still.data, still.suffix, still.psnr)

    def _overhead(self, i: int) -> int:
        return self._coded(i, b"", ".avif", 0).size

    def _spend_rest(self) -> None:
        """Make the worst pictures better, as far as there is room; the reference last."""
        order = sorted(range(len(self._chosen)), key=lambda i: self._chosen[i].psnr)
        spares_reference = self._is_shown and self._request.arrives_exact
        if self._is_shown:
            order = [i for i in order if i] + [0] * spares_reference
        for number, i in enumerate(order):
            old = self._chosen[i]
            shares = len(order) - number - (spares_reference and i > 0)
            room = self._left // max(1, shares) + old.size
            original = self._original(i)
            if original is not None and original.size <= room:
                self._chosen[i] = original
                continue
            if old.psnr == math.inf:
                continue
            still = self._encoders[i].best(room - self._overhead(i), thorough=True)
            if still is not None and still.psnr > old.psnr:
                self._chosen[i] = self._coded(i, still.data, still.suffix, still.psnr)

    def _original(self, i: int) -> _Candidate | None:
        file = self._originals[i]
        if file is None:
            return None
        return _Candidate(BundledFile(file.role, file.name, file.data, i), math.inf)

    def _coded(self, i: int, data: bytes, suffix: str, psnr: float) -> _Candidate:
        role = Role.REFERENCE if i == 0 and self._is_shown else Role.MEDIA
        name = f"{Path(self._names[i]).stem}{suffix}"
        return _Candidate(BundledFile(role, name, data, i), psnr)


def _how(choice: _Candidate) -> str:
    if choice.file is None:
        return "as the picture shows it"
    if choice.file.role is Role.ORIGINAL:
        return f"byte for byte, {len(choice.file.data)} bytes"
    kind = Path(choice.file.name).suffix[1:]
    return f"{kind}, {len(choice.file.data)} bytes, {cap_psnr(choice.psnr):.2f} dB"
