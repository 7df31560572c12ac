"""Clips in few bytes: the codec that this ffmpeg has for them, and encoding.

The files are for players: 4:2:0 and 10 or 8 bits, which browsers show, with Opus or AAC beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from iicnet_cli.errors import MediaError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.temporary import scratch_folder
from iicnet_cli.media.video_encodings import TICKS_PER_SECOND, Encoding, yuv_filters
from iicnet_cli.media.video_reader import open_frames
from iicnet_cli.media.video_writer import open_writer
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import psnr


@dataclass(frozen=True)
class CompactCodec:
    """A codec for clips, and the file that it is kept in.

    Attributes:
        name: as people know it, with the sampling of its colours.
        encoder: ffmpeg's name of the encoder.
        pixel_format: ffmpeg's name of the format that it gets.
        options: ffmpeg's options; ``{crf}`` stands for the quantizer, ``{rate}`` for bits a second.
        suffix: of the file, with the dot.
        max_crf: the quantizer of the lowest quality; the highest quality has 1.
        crf_step: the smallest difference between two quantizers.
        crf_per_octave: quantizers between two qualities of which one takes twice the bytes, about.
        top_rate: bits a pixel at quantizer 0, if the encoder is told a rate instead of a quantizer.
        slack: share of the wanted bytes that a file may lack, as far as its quantizers allow.
        is_thorough: whether it takes its time, for clips of few pixels.
    """

    name: str
    encoder: str
    pixel_format: str
    options: tuple[str, ...]
    suffix: str
    max_crf: float
    crf_step: float
    crf_per_octave: float
    top_rate: float = 0.0
    slack: float = 0.01
    is_thorough: bool = False

    def encoding(self, crf: float, pixels_per_second: float) -> Encoding:
        """How ffmpeg encodes a clip with a quantizer."""
        rate = self.top_rate * pixels_per_second / 2 ** (crf / self.crf_per_octave)
        values = {"{crf}": f"{crf:g}", "{rate}": f"{rate:.0f}"}
        options = [re.sub(r"\{\w+\}", lambda m: values[m[0]], option) for option in self.options]
        timed: tuple[str, ...] = ()
        if self.suffix == ".mp4":
            timed = ("-video_track_timescale", str(TICKS_PER_SECOND))
        return Encoding(
            yuv_filters(self.pixel_format),
            ("-c:v", self.encoder, *options, "-fflags", "+bitexact"),
            timed_options=timed,
        )


_CODECS = (
    # Temporal filtering makes key frames smoother than the source, which costs their PSNR.
    CompactCodec(
        "AV1 4:2:0",
        "libsvtav1",
        "yuv420p10le",
        ("-preset", "4", "-svtav1-params", "crf={crf}:enable-tf=0"),
        ".webm",
        max_crf=63,
        crf_step=0.25,
        crf_per_octave=8.2,
    ),
    CompactCodec(
        "AV1 4:2:0",
        "libaom-av1",
        "yuv420p10le",
        ("-cpu-used", "6", "-row-mt", "1", "-crf", "{crf}"),
        ".webm",
        max_crf=63,
        crf_step=1,
        crf_per_octave=8.2,
    ),
    CompactCodec(
        "VP9 4:2:0",
        "libvpx-vp9",
        "yuv420p",
        ("-crf", "{crf}", "-b:v", "0", "-row-mt", "1", "-cpu-used", "3"),
        ".webm",
        max_crf=63,
        crf_step=1,
        crf_per_octave=9,
    ),
    CompactCodec(
        "H.264 4:2:0",
        "libx264",
        "yuv420p",
        ("-preset", "slower", "-tune", "psnr", "-crf", "{crf}", "-movflags", "+faststart"),
        ".mp4",
        max_crf=51,
        crf_step=0.25,
        crf_per_octave=6,
    ),
)
"""The best codec first, as measured on examples/media/city.mp4."""
_H264_ODD = replace(_CODECS[-1], name="H.264 4:4:4", pixel_format="yuv444p")
"""libx264 refuses odd sides in 4:2:0, the other encoders take them."""


def _full_colour(speed: int, *, is_thorough: bool = False) -> CompactCodec:
    # Quantizers of libaom are far apart at high rates, so it is told a rate. Adaptive quantizers
    # and temporal filtering cost PSNR.
    tuning = "deltaq-mode=0:arnr-strength=0:arnr-maxframes=0"
    return CompactCodec(
        "AV1 4:4:4",
        "libaom-av1",
        "yuv444p10le",
        ("-cpu-used", str(speed), "-row-mt", "1", "-b:v", "{rate}", "-aom-params", tuning),
        ".webm",
        max_crf=80,
        crf_step=0.25,
        crf_per_octave=8.2,
        top_rate=24,
        slack=0.03,
        is_thorough=is_thorough,
    )


_FULL_COLOUR, _SHORT_FULL_COLOUR = _full_colour(6), _full_colour(5, is_thorough=True)
"""For clips that cannot do with colours of half the resolution, such as drawings and screens; and
for short ones, which take little time."""
_COLOUR_HEADROOM, _SHORT_COLOUR_HEADROOM = 8.0, 15.0
"""Colours are kept whole if halving their resolution would leave less than so many dB more than the
clip is to restore with; of long clips, and of short ones, for which time matters less."""
SHORT_CLIP = 4_000_000
"""A clip of at most so many pixels in all of its frames is short."""


def codec_for(
    expected_psnr: float, half_colours_psnr: float, pixels: int, *, odd_size: bool = False
) -> CompactCodec:
    """The best codec that this ffmpeg has for a clip.

    Args:
        expected_psnr: with which it will restore, in dB.
        half_colours_psnr: of its frames when nothing but the resolution of their colours is halved.
        pixels: in all of its frames together.
        odd_size: as of :func:`usual_codec`.

    Raises:
        MediaError: it has no codec.
    """
    is_short = pixels <= SHORT_CLIP
    headroom = _SHORT_COLOUR_HEADROOM if is_short else _COLOUR_HEADROOM
    full = _SHORT_FULL_COLOUR if is_short else _FULL_COLOUR
    loses = half_colours_psnr < expected_psnr + headroom
    if loses and ffmpeg.has_encoder(full.encoder):
        return full
    return usual_codec(odd_size=odd_size)


def psnr_of_half_colours(frame: Pixels) -> float:
    """PSNR in dB of a frame (H, W, 3) after its colours were stored at half the resolution."""
    with scratch_folder() as folder:
        target = folder / "colours.mkv"
        lossless = Encoding(yuv_filters("yuv420p10le"), ("-c:v", "ffv1", "-f", "matroska"))
        height, width = frame.shape[:2]
        with open_writer(target, width, height, Fraction(1), encoding=lossless) as writer:
            writer.add(frame)
        with open_frames(target) as frames:
            return psnr(next(frames), frame)


def usual_codec(*, odd_size: bool = False) -> CompactCodec:
    """The best codec that this ffmpeg has for clips with colours of half the resolution.

    Args:
        odd_size: width or height is odd; H.264 then keeps all colours, for it cannot halve them.

    Raises:
        MediaError: it has none.
    """
    for codec in _CODECS:
        if ffmpeg.has_encoder(codec.encoder):
            return _H264_ODD if odd_size and codec.encoder == _H264_ODD.encoder else codec
    raise MediaError(
        "this ffmpeg encodes neither AV1 nor VP9 nor H.264",
        hint="pip install imageio-ffmpeg, and unset IMAGEIO_FFMPEG_EXE",
    )


def codec_note(codec: CompactCodec) -> tuple[str, ...]:
    """What to say of a codec that is not the best one."""
    if codec.name.startswith("AV1"):
        return ()
    name = codec.name.split()[0]
    return (f"this ffmpeg has no AV1 encoder: {name} takes more bytes for the same quality",)


def encode_clip(
    frames: Iterable[Pixels],
    target: Path,
    codec: CompactCodec,
    crf: float,
    fps: Fraction,
    timestamps: Sequence[float] | None = None,
) -> None:
    """Encode a clip without sound.

    Args:
        frames: (H, W, 3) uint8 of one size, one or more.
        target: the file to write; it is replaced.
        codec: its suffix must be the target's.
        crf: the quantizer, 1 to ``codec.max_crf``.
        fps: frames a second.
        timestamps: seconds of every frame, increasing, for a variable rate.

    Raises:
        MediaError: ffmpeg fails.
    """
    remaining = iter(frames)
    first = next(remaining)
    height, width = first.shape[:2]
    with open_writer(
        target,
        width,
        height,
        fps,
        timestamps=timestamps,
        encoding=codec.encoding(crf, width * height * float(fps)),
        overwrite=True,
    ) as writer:
        writer.add(first)
        for frame in remaining:
            writer.add(frame)
