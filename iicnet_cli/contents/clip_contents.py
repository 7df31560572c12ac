"""A clip with its sound in as few embeddings as its quality allows.

The whole clip is encoded once to learn how many bytes it takes; then each part is encoded again
with the quantizer that fills its room.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from pathlib import Path

import numpy as np

from iicnet_cli.contents.clip_reduction import ReducedSource, Reduction, likely_reductions
from iicnet_cli.contents.part import (
    ALL_FRAMES,
    LEFT_OUT,
    ContentsRequest,
    Part,
    attached_files,
    describe,
    read_files,
    room_for,
    size_of,
    source_name,
)
from iicnet_cli.contents.quantizer_search import FIRST_CRF, QuantizerSearch
from iicnet_cli.contents.small_version import clip_small_version
from iicnet_cli.errors import QualityError
from iicnet_cli.media.clip_packets import (
    Packet,
    add_sound,
    cut_sound,
    joining_bytes,
    packets_of,
)
from iicnet_cli.media.compact_clips import (
    CompactCodec,
    codec_for,
    codec_note,
    encode_clip,
    psnr_of_half_colours,
    usual_codec,
)
from iicnet_cli.media.frame_spool import FrameSpool
from iicnet_cli.media.temporary import scratch_folder
from iicnet_cli.media.video_reader import open_frames
from iicnet_cli.payload.bundle import MAX_FILES, Bundle, BundledFile, Role
from iicnet_cli.payload.bundle_description import description_file
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.group import Group
from iicnet_cli.pictures.metrics import cap_psnr, mse_to_psnr, psnr, psnr_to_mse
from iicnet_cli.tasks.task import SourceDescription

DEFAULT_LEAST_PSNR = 36.0
"""A clip is cut into several embeddings if its frames would restore below this many dB in one."""
_DB_PER_OCTAVE, _MOST_DB_PER_OCTAVE = 2.3, 4.0
"""Twice the bytes restore a clip better by about so many dB, at low and at high rates."""
_HIGH_PSNR = 40.0
"""Rates are high if a clip restores with more than this many dB."""
_MORE_PARTS = 1.25
"""Where parts are too few, there are so many times more of them in the next try."""
_LEAST_GAIN = 0.3
"""More parts are made as long as they restore by so many dB better."""
_FEW_FRAMES = 9
"""A clip of at most so many frames without sound leaves out the frame that its embedding shows."""
_PACKET_SPREAD = 16
"""So many packets before and after a part tell how many bytes its frames take."""
_SOUND_SHARE = 0.08
"""Share of the room that sound may take."""
_LEAST_SOUND_RATE, _MOST_SOUND_RATE = 16_000, 96_000
"""The sound takes at least and at most so many bits a second."""
_MOST_SOUND_SHARE, _LOWEST_SOUND_RATE = 0.25, 6_000
"""Where the least rate of the sound is more than this share of the room, it is that share instead,
but never fewer bits a second than the second number."""


def clip_parts(request: ContentsRequest) -> Iterator[Part]:
    """Choose the contents of the embeddings of a clip.

    Raises:
        QualityError: the inputs do not fit as they are and that was asked for, or the attachments
            do not fit.
        MediaError: the clip cannot be read or encoded.
    """
    with scratch_folder() as folder:
        survey = _survey(request, folder)
        part = _original_part(request, survey)
        if request.arrives_exact:
            encoder = _ClipEncoder(request, survey, folder)
            yield from encoder.parts() if part is None else (part,)
            return
        part = part or _reduced_part(request, survey, folder)
        small = clip_small_version(request, len(survey.sizes), survey.cover)
        yield replace(part, small_version=small)


def _reduced_part(request: ContentsRequest, survey: _Survey, folder: Path) -> Part:
    """The whole clip in one embedding, at the size and frame rate that suit its room best.

    Raises:
        QualityError: it does not fit at all.
    """
    found: list[tuple[float, Part]] = []
    room = request.capacity(survey.cover)
    for reduction in likely_reductions(request.source, len(survey.sizes), room):
        source = ReducedSource(request.source, reduction)
        reduced = replace(request, source=source)
        is_smaller = reduction != Reduction(1.0, 1)
        known = _survey(reduced, folder) if is_smaller else survey
        encoder = _ClipEncoder(reduced, known, folder)
        try:
            part, quality = encoder.whole()
        except QualityError as error:
            failure = error
            continue
        quality = mse_to_psnr(psnr_to_mse(quality) + source.lost_mse())
        notes = (*request.cover_notes(survey.picture), source.note(), *part.notes)
        found.append((quality, replace(part, notes=notes, step=reduction.step)))
    if not found:
        raise failure
    return max(found, key=lambda each: each[0])[1]


@dataclass(frozen=True)
class _Survey:
    """What is known of a clip that has been read and encoded once.

    Attributes:
        description: of the clip.
        sizes: bytes of each frame at the quantizer of the survey.
        picture: the reference of the middle frame.
        cover: the cover of the whole clip, which shows it.
        psnr: of the encoded frames, their mean in dB; without the error of halved colours if the
            parts keep them whole.
        codec: that the parts are encoded with.
    """

    description: SourceDescription
    sizes: Sequence[int]
    picture: Pixels
    cover: Pixels
    psnr: float
    codec: CompactCodec

    def size_of(self, start: int, length: int) -> int:
        """About how many bytes a part takes on its own with the quantizer of the survey.

        Encoders put the bytes of many frames into one packet, so a part counts as a key frame and
        its share of the packets around it.
        """
        key, others = self.sizes[0], self.sizes[1:]
        around = others[max(0, start - _PACKET_SPREAD) : start + length + _PACKET_SPREAD]
        return key + (sum(around) * length // len(around) if around else 0)


def _survey(request: ContentsRequest, folder: Path) -> _Survey:
    source = request.source
    odd_size = bool(source.width * source.images % 2 or source.height % 2)
    codec = usual_codec(odd_size=odd_size)
    with closing(source.groups()) as groups:
        half_colours = psnr_of_half_colours(_joined(next(groups)))
    assert source.fps is not None
    target = folder / f"survey{codec.suffix}"
    seen = 0

    def frames() -> Iterator[Pixels]:
        nonlocal seen
        for group in groups:
            seen += 1
            request.tick(0.3 * (1 - 1 / (1 + seen / 50)))
            yield _joined(group)

    with closing(source.groups()) as groups:
        encode_clip(frames(), target, codec, FIRST_CRF, source.fps)
        description = groups.description
    picture, quality = None, []
    with closing(source.groups()) as groups, open_frames(target) as encoded:
        for i, (group, frame) in enumerate(zip(groups, encoded, strict=True)):
            quality.append(cap_psnr(psnr(frame, _joined(group))))
            if i == seen // 2:
                picture = group.pictures[0]
    assert picture is not None
    cover = request.cover_of(picture)
    request.check_cover(cover)
    sizes, mean = [packet.size for packet in packets_of(target)], float(np.mean(quality))
    room = max(1, request.capacity(cover))
    expected = mean + _MOST_DB_PER_OCTAVE * math.log2(room / max(1, sum(sizes)))
    expected = max(expected, _least_psnr(request))
    pixels = seen * frame.shape[0] * frame.shape[1]
    chosen = codec_for(expected, half_colours, pixels, odd_size=odd_size)
    if chosen.name != codec.name:
        mean = cap_psnr(mse_to_psnr(max(0.0, psnr_to_mse(mean) - psnr_to_mse(half_colours))))
    return _Survey(description, sizes, picture, cover, mean, chosen)


def _original_part(request: ContentsRequest, survey: _Survey) -> Part | None:
    """The inputs byte for byte, if they fit.

    Raises:
        QualityError: they do not, but that was asked for.
    """
    options, files = request.options, list(request.source.files)
    description = describe(request, survey.description)
    fixed = [description_file(description)]
    capacity = request.capacity(survey.cover)
    fixed += attached_files(request, [], capacity)  # a part has a smaller description
    is_few = len(files) + len(fixed) <= MAX_FILES
    missing = size_of(fixed) + sum(path.stat().st_size for path in files) - capacity
    if files and missing <= 0 and is_few:
        bundled = fixed + read_files(Role.ORIGINAL, files)
        missing = size_of(bundled) - capacity
        if missing <= 0:
            note = "the clip is carried byte for byte"
            return Part(survey.cover, Bundle(tuple(bundled)), description, (note,))
    if options.exact:
        raise request.missing_error(missing, "the inputs")
    return None


class _ClipEncoder:
    """Encodes the parts of a clip."""

    def __init__(self, request: ContentsRequest, survey: _Survey, folder: Path) -> None:
        self._request, self._survey, self._folder = request, survey, folder
        self._least_psnr = _least_psnr(request)
        self._attachments = read_files(Role.ATTACHMENT, list(request.options.attachments))
        self._sound_packets: Sequence[Packet] = ()

    def parts(self) -> Iterator[Part]:
        """The parts in order; as few as restore well enough."""
        frames, start = len(self._survey.sizes), 0
        length = math.ceil(frames / self._fewest_parts())
        with closing(self._request.source.groups()) as groups, FrameSpool() as pending:
            while start < frames:
                length = _even_length(frames - start, length)
                for group in islice(groups, max(0, length - len(pending))):
                    pending.add(_joined(group))
                part = self._next_part(pending, start, length)
                pending.drop(part.frames)
                start, length = start + part.frames, part.frames
                yield part

    def _next_part(self, pending: FrameSpool, start: int, length: int) -> Part:
        """As many of the pending frames, at most ``length``, as restore well enough."""
        best, before = None, -math.inf
        while True:
            with pending.select(range(length)) as spool:
                try:
                    shown = spool[length // 2][:, : self._request.source.width]
                    part, quality, is_full = self._encode_part(spool, start, shown)
                except QualityError:
                    if length == 1:
                        raise
                else:
                    if best is not None and quality < before + _LEAST_GAIN:
                        self._least_psnr = 0.0  # out of reach, also for the parts that follow
                        return best
                    if quality >= self._least_psnr or not is_full or length == 1:
                        return part
                    best, before = part, quality  # the survey was too hopeful
            shorter = max(1, min(length - 1, math.floor(length / _MORE_PARTS)))
            length = _even_length(len(self._survey.sizes) - start, shorter)

    def whole(self) -> tuple[Part, float]:
        """The whole clip as one part, and its mean PSNR in dB.

        Raises:
            QualityError: it does not fit.
        """
        with closing(self._request.source.groups()) as groups, FrameSpool() as spool:
            for group in groups:
                spool.add(_joined(group))
            part, quality, _ = self._encode_part(spool, 0, self._survey.picture)
        return part, quality

    def _fewest_parts(self) -> int:
        """How many embeddings the survey says that the clip needs."""
        survey = self._survey
        room = self._request.capacity(survey.cover) * (1 - _SOUND_SHARE)
        scale = 2 ** (_octaves(self._least_psnr) - _octaves(survey.psnr))
        frames = len(survey.sizes)
        for number in range(1, frames + 1):
            length = math.ceil(frames / number)
            largest = max(survey.size_of(i, length) for i in range(0, frames, length))
            if largest * scale <= room:
                return number
        return frames

    def _encode_part(
        self, spool: FrameSpool, start: int, picture: Pixels
    ) -> tuple[Part, float, bool]:
        """A part from a frame on, the mean PSNR of its frames in dB, and whether it is full.

        Args:
            spool: its frames.
            start: number of the first one.
            picture: what the embedding shows.
        """
        request, survey = self._request, self._survey
        times = survey.description.timestamps
        assert request.source.fps is not None
        own_times = None if times is None else times[start : start + len(spool)]
        own = replace(survey.description, frames=len(spool), timestamps=own_times)
        if len(spool) < len(survey.sizes):
            own = replace(own, options={**own.options, ALL_FRAMES: len(survey.sizes)})
        description = describe(request, own)
        cover = request.cover_of(picture)
        fixed = [description_file(description)]
        if start == 0:
            fixed += self._attachments
        name = source_name(list(description.sources), survey.codec.suffix)
        room = room_for(name, fixed, request.capacity(cover))
        sound, sound_note = self._sound(start, len(spool), room)
        hidden, hidden_times = spool, own_times
        leaves_out = sound is None and self._shows_a_frame(spool, cover)
        if leaves_out:
            shown = len(spool) // 2
            description = describe(request, replace(own, options={**own.options, LEFT_OUT: shown}))
            fixed[0] = description_file(description)
            room = room_for(name, fixed, request.capacity(cover))
            hidden, hidden_times = _without(spool, own_times, shown)
        video_room = room - self._bytes_of(sound, len(spool))
        share = survey.size_of(start, len(spool))
        if video_room <= 0:
            raise request.missing_error(1 - video_room, "sound and attachments")
        rate = request.source.fps
        search = QuantizerSearch(survey.codec, hidden, hidden_times, rate, self._folder)
        clip, is_full = search.fill(video_room, share)
        if clip is None:
            raise request.missing_error(search.smallest - video_room, "the clip")
        with open_frames(clip) as encoded:
            pairs = zip(encoded, hidden, strict=True)
            quality = [cap_psnr(psnr(frame, original)) for frame, original in pairs]
        if leaves_out:
            quality.append(request.embed_psnr)
        if sound is not None:
            joined = self._folder / f"joined{survey.codec.suffix}"
            add_sound(clip, sound, joined)
            clip = joined
        media = BundledFile(Role.MEDIA, name, clip.read_bytes())
        request.tick(0.3 + 0.7 * (start + len(spool)) / len(survey.sizes))
        notes = (f"{survey.codec.name}{sound_note}", *codec_note(survey.codec))
        part = Part(cover, Bundle((*fixed, media)), description, notes)
        return part, float(np.mean(quality)), is_full

    def _shows_a_frame(self, spool: FrameSpool, cover: Pixels) -> bool:
        """Whether the frame that the embedding shows is better left out of the clip.

        The embedding is a near copy of it already. In a clip of few frames, the others restore
        noticeably better with its share of the bytes.
        """
        if not self._request.arrives_exact:
            return False
        is_short = 2 <= len(spool) <= _FEW_FRAMES and self._survey.codec.is_thorough
        is_whole = len(spool) == len(self._survey.sizes)
        return is_short and is_whole and cover.shape == spool[0].shape

    def _sound(self, start: int, frames: int, room: int) -> tuple[Path | None, str]:
        """The sound of a part as a file, and how it is coded in words.

        The sound is encoded once, at the rate that suits the first part, and its packets are dealt
        out, so that those of all parts together are the whole sound.
        """
        begin, end = self._time_of(start), self._time_of(start + frames)
        is_webm = self._survey.codec.suffix == ".webm"
        suffix = ".webm" if is_webm else ".m4a"
        whole = self._folder / f"whole-sound{suffix}"
        if start == 0:
            rate = _sound_rate(8 * room / (end - begin))
            seconds = self._time_of(len(self._survey.sizes))
            has_sound = self._request.source.write_sound(whole, 0.0, seconds, rate)
            self._sound_packets = packets_of(whole, "audio") if has_sound else ()
        ends = list(accumulate(float(packet.duration) for packet in self._sound_packets))
        first = bisect_left(ends, begin)
        is_last = start + frames == len(self._survey.sizes)
        stop = len(ends) if is_last else bisect_left(ends, end)
        if first == stop:
            return None, ""
        target = self._folder / f"sound{suffix}"
        cut_sound(whole, target, first, stop)
        return target, f" and {'Opus' if is_webm else 'AAC'}"

    def _bytes_of(self, sound: Path | None, frames: int) -> int:
        """How many bytes, at most, the sound adds to a clip of so many frames."""
        if sound is None:
            return 0
        return sound.stat().st_size + joining_bytes(sound, frames)

    def _time_of(self, frame: int) -> float:
        """Seconds from the beginning of the clip to a frame; to its end for the one after all."""
        fps, times = self._request.source.fps, self._survey.description.timestamps
        assert fps is not None
        if times is None:
            return float(frame / fps)
        if frame < len(times):
            return times[frame] - times[0]
        return times[-1] - times[0] + float(1 / fps)


def _sound_rate(bits_a_second: float) -> int:
    """Bits a second of the sound, of those that there are for it and the pictures together."""
    least = min(_LEAST_SOUND_RATE, _MOST_SOUND_SHARE * bits_a_second)
    rate = max(least, min(_MOST_SOUND_RATE, _SOUND_SHARE * bits_a_second))
    return max(_LOWEST_SOUND_RATE, round(rate))


def _without(
    spool: FrameSpool, times: Sequence[float] | None, left_out: int
) -> tuple[FrameSpool, Sequence[float] | None]:
    """The frames of a spool and their times without one of them."""
    kept = [i for i in range(len(spool)) if i != left_out]
    return spool.select(kept), None if times is None else [times[i] for i in kept]


def _least_psnr(request: ContentsRequest) -> float:
    """The floor of quality in dB."""
    least = request.options.min_psnr
    return DEFAULT_LEAST_PSNR if least is None else least


def _octaves(psnr: float) -> float:
    """How often the bytes of a clip double, about, until it restores with so many dB."""
    low, high = min(psnr, _HIGH_PSNR), max(0.0, psnr - _HIGH_PSNR)
    return low / _DB_PER_OCTAVE + high / _MOST_DB_PER_OCTAVE


def _even_length(frames: int, most: int) -> int:
    """Frames of each part if so many are divided evenly, at most ``most`` to each."""
    return math.ceil(frames / math.ceil(frames / most))


def _joined(group: Group) -> Pixels:
    """The pictures of a moment side by side."""
    return group.images[0] if len(group.images) == 1 else np.concatenate(group.images, axis=1)
