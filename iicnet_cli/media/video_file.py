"""Video files, and the clips inside motion photos, read by ffmpeg."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from iicnet_cli.media import ffmpeg
from iicnet_cli.media.clip_probe import (
    HLG,
    PQ,
    UNSPECIFIED,
    ClipFacts,
    VideoStream,
    read_clip_facts,
)
from iicnet_cli.media.colour import Colour
from iicnet_cli.media.ffmpeg import ByteRange
from iicnet_cli.media.ffmpeg_frames import decode_frames
from iicnet_cli.media.frame_source import FrameSource, VideoInfo
from iicnet_cli.media.frame_times import (
    DECLARED_RATE_ERROR,
    TIME_TOLERANCE,
    FrameSelection,
    exact_rate,
    is_uneven,
    simple_rate,
)

_SEEK_MARGIN = 10
"""ffmpeg seeks to this many seconds before the start: more than the usual distance of keyframes."""

_EXACT_SCALING = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
"""Options of ffmpeg's scaler that convert colours without shortcuts."""


_TRANSFERS = {PQ: "smpte2084", HLG: "arib-std-b67"}
"""ffmpeg's names of the transfer characteristics of HDR."""


class VideoFile:
    """A video file or a motion photo.

    Attributes:
        path: the file.
        byte_range: where the clip is inside a motion photo; None for a video file.
    """

    def __init__(self, path: Path, byte_range: ByteRange | None = None) -> None:
        """Take a file; nothing is read yet."""
        self.path = path
        self.byte_range = byte_range

    @cached_property
    def facts(self) -> ClipFacts:
        """What the file says of itself; the frames of files of up to 2 GB are counted for it.

        Raises:
            MediaError: the file cannot be read, or it has no video stream.
        """
        return read_clip_facts(self.path, self.byte_range)

    @cached_property
    def info(self) -> VideoInfo:
        """Facts about the clip.

        Raises:
            MediaError: as `facts`.
        """
        stream = self.facts.stream
        timing = _timing(self.facts)
        width, height = stream.width, stream.height
        if stream.rotation in (90, 270):
            width, height = height, width
        origin = ["motion photo: its clip is used, not its still"] if self.byte_range else []
        return VideoInfo(
            width=width,
            height=height,
            fps=timing.fps,
            frames=timing.frames,
            duration=timing.duration,
            rotation=stream.rotation,
            has_audio=self.facts.audio_codec is not None,
            hdr=stream.is_hdr,
            variable_rate=timing.variable_rate,
            codec=stream.codec,
            notes=(*origin, *_conversion_notes(stream)),
            stereo=stream.stereo,
        )

    def open(self, selection: FrameSelection, background: Colour) -> FrameSource:
        """Start reading frames; see `frame_source.Clip`. Transparency is ignored, and noted."""
        info = self.info
        selection.check(info.duration)
        seek = seek_position(selection.start)
        stream = self.facts.stream
        filters = _rgb_filters(stream)
        if selection.step > 1:
            filters = f"select='not(mod(n,{selection.step}))',{filters}"
        limits = [
            f"{key}={max(0.0, time - seek - TIME_TOLERANCE):.6f}"
            for key, time in (("start", selection.start), ("end", selection.end))
            if time is not None
        ]
        if limits:
            filters = f"trim={':'.join(limits)},{filters}"
        notes = list(info.notes)
        frames = decode_frames(
            self.input_options(seek),
            filters,
            selection.frames,
            self.path.name,
            (stream.width, stream.height),
            notes,
        )
        return FrameSource(info, frames, notes)

    def input_options(self, seek: int) -> list[str]:
        """Return ffmpeg's options that open the clip at ``seek`` seconds."""
        options = ["-ss", str(seek)] if seek else []
        return options + ffmpeg.input_options(self.path, self.byte_range)


def seek_position(start: float | None) -> int:
    """Return the second to which ffmpeg seeks before it cuts exactly at ``start`` seconds.

    It is well before the start: seeking alone can lose frames (in .ts it ends at the next
    keyframe), and ffmpeg counts durations from the first frame that it finds.
    """
    return max(0, math.floor(start or 0) - _SEEK_MARGIN)


@dataclass(frozen=True)
class _Timing:
    fps: Fraction
    frames: int | None
    duration: float | None
    variable_rate: bool


def _timing(facts: ClipFacts) -> _Timing:
    """Derive rate, count and duration from the packets, or else from what the file declares."""
    stream, times = facts.stream, facts.times
    frames, duration = None, facts.duration
    rates = stream.frame_rate, stream.base_rate
    variable = bool(rates[0] and rates[1] and abs(rates[0] - rates[1]) > DECLARED_RATE_ERROR)
    measured, uncertainty = None, Fraction(0)
    if times is not None:
        time_base = times.time_base
        frames = len(times.starts)
        span = times.starts[-1] - times.starts[0]
        resolution = float(time_base)
        variable = is_uneven([start * resolution for start in times.starts], resolution)
        spacing = Fraction(span, max(frames - 1, 1))
        last = times.end - times.starts[-1] or spacing
        if span and not variable:
            measured = 1 / (spacing * time_base)
            uncertainty = measured / span
            last = max(last, spacing)
        duration = float((span + last) * time_base) or duration
    if variable and frames and duration:
        fps = simple_rate(frames / duration)
    else:
        fps = exact_rate(stream.frame_rate or stream.base_rate, measured, uncertainty)
    return _Timing(fps, frames, duration, variable)


def _can_tone_map() -> bool:
    return ffmpeg.has_filter("zscale") and ffmpeg.has_filter("tonemap")


def _conversion_notes(stream: VideoStream) -> list[str]:
    notes = []
    if stream.rotation:
        notes.append(f"turned upright by {stream.rotation} degrees as its metadata says")
    if stream.is_hdr and _can_tone_map():
        notes.append("HDR tone-mapped to the standard range")
    elif stream.is_hdr:
        notes.append("HDR converted plainly, without tone mapping: colours look pale")
    elif stream.is_wide_gamut and _can_tone_map():
        notes.append("BT.2020 colours converted to BT.709")
    if stream.pixel_aspect != 1:
        aspect = f"{stream.pixel_aspect.numerator}:{stream.pixel_aspect.denominator}"
        notes.append(f"its pixels are not square ({aspect}); they are kept as stored")
    if stream.has_alpha:
        notes.append("its transparency is ignored")
    if stream.interlaced:
        notes.append("interlaced: fields are not separated")
    return notes


def _rgb_filters(stream: VideoStream) -> str:
    """Return the filters that convert the stored colours to full-range 8-bit RGB."""
    if stream.is_wide_gamut and _can_tone_map():
        transfer = _TRANSFERS.get(stream.transfer, "bt2020-10")
        tags = f"setparams=color_primaries=bt2020:color_trc={transfer}:colorspace=bt2020nc"
        if stream.width % 2 or stream.height % 2:
            # zscale takes no odd side of a picture whose colours have half the resolution.
            tags += f",scale={_EXACT_SCALING},format=yuv444p16le"
        linear = "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709"
        tone_map = ",tonemap=tonemap=hable:desat=0" if stream.is_hdr else ""
        return f"{tags},{linear}{tone_map},zscale=t=bt709:r=full,format=gbrp,format=rgb24"
    matrix = "auto"
    if stream.matrix == UNSPECIFIED and not stream.is_rgb:
        # ffmpeg takes BT.601 for all untagged video; players do so for standard definition only.
        matrix = "bt709" if stream.width >= 1280 or stream.height > 576 else matrix
    return f"scale=in_color_matrix={matrix}:{_EXACT_SCALING},format=rgb24"
