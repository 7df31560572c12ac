"""How ffmpeg encodes each kind of clip file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

TICKS_PER_SECOND = 90_000
"""Frame times of clips with a variable rate are written in units of 1/90000 s."""


@dataclass(frozen=True)
class Encoding:
    """How frames become a file of one kind.

    Attributes:
        filters: ffmpeg filter chain from 8-bit RGB to what the encoder takes.
        options: ffmpeg's options for encoder and container.
        keeps_times: frames can be unevenly spaced in time.
        max_fps: highest frame rate that players keep; None if there is no limit.
        timed_options: further options for clips with a variable rate.
        note: what users have to know of it, in words.
    """

    filters: str
    options: tuple[str, ...]
    keeps_times: bool = True
    max_fps: Fraction | None = None
    timed_options: tuple[str, ...] = ()
    note: str = ""


def encoding_for(suffix: str, *, odd_size: bool = False) -> Encoding:
    """Return how to encode a file with a suffix of :data:`ENCODINGS`.

    Args:
        suffix: in lower case, with the dot.
        odd_size: width or height is odd; H.264 then needs 4:4:4 instead of 4:2:0.
    """
    if odd_size and suffix in _H264_CONTAINERS:
        note = "an odd width or height needs H.264 4:4:4 here, which many players do not play"
        return replace(_h264(suffix, "yuv444p"), note=note)
    return ENCODINGS[suffix]


def time_expression(times: Sequence[float]) -> str:
    """Return an expression for ffmpeg's ``setpts`` that gives frame N the time ``times[N]``.

    The expression is a balanced tree of conditions, so that it neither nests deeply nor takes long
    to evaluate for long clips.

    Args:
        times: seconds, increasing; the expression counts from the first one in ticks of 1/90000 s.
    """
    ticks = [str(round((time - times[0]) * TICKS_PER_SECOND)) for time in times] or ["0"]

    def tree(low: int, high: int) -> str:
        if high - low == 1:
            return ticks[low]
        middle = (low + high) // 2
        return f"if(lt(N,{middle}),{tree(low, middle)},{tree(middle, high)})"

    return tree(0, len(ticks))


_H264_CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".m4v": "mp4"}


def yuv_filters(pixel_format: str) -> str:
    """Return the filters from RGB to a YUV format, in the colours of BT.709."""
    tags = "color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
    quality = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
    scale = f"scale=out_color_matrix=bt709:out_range=tv:{quality}"
    return f"{scale},format={pixel_format},setparams={tags}"


def _ffv1(container: str, *, keeps_times: bool) -> Encoding:
    options = ("-c:v", "ffv1", "-level", "3", "-g", "1", "-slicecrc", "1", "-f", container)
    return Encoding("format=bgr0", options, keeps_times=keeps_times)


def _h264(suffix: str, pixel_format: str) -> Encoding:
    coder = ("-c:v", "libx264", "-crf", "14", "-preset", "medium", "-movflags", "+faststart")
    return Encoding(
        yuv_filters(pixel_format),
        (*coder, "-f", _H264_CONTAINERS[suffix]),
        timed_options=("-video_track_timescale", str(TICKS_PER_SECOND)),
    )


ENCODINGS = {
    ".mkv": _ffv1("matroska", keeps_times=True),
    ".avi": _ffv1("avi", keeps_times=False),
    **{suffix: _h264(suffix, "yuv420p") for suffix in _H264_CONTAINERS},
    ".webm": Encoding(
        yuv_filters("yuv420p"),
        ("-c:v", "libvpx-vp9", "-crf", "18", "-b:v", "0", "-row-mt", "1", "-f", "webm"),
    ),
    ".webp": Encoding(
        "format=bgra",
        # Not libwebp_anim: it merges frames that are equal.
        ("-c:v", "libwebp", "-lossless", "1", "-loop", "0", "-f", "webp"),
    ),
    ".gif": Encoding(
        "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1",
        ("-loop", "0", "-f", "gif"),
        max_fps=Fraction(50),
    ),
    **dict.fromkeys(
        (".png", ".apng"),
        Encoding("format=rgb24", ("-c:v", "apng", "-plays", "0", "-f", "apng")),
    ),
}
"""How clips are written, by suffix in lower case; H.264 with even sides."""
