"""What ffmpeg says about a video file: its streams and the times of its frames.

The bundled build has no ffprobe, so the text that ffmpeg prints is parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from iicnet_cli.errors import MediaError
from iicnet_cli.media import ffmpeg
from iicnet_cli.media.ffmpeg import ByteRange
from iicnet_cli.pictures.limits import max_pixels, max_pixels_text

_DISCARD_FLAG = 4
"""Packets with this flag are decoded but not shown, such as those before an edit list starts."""


_PLAYLISTS = {"hls", "concat", "dash", "imf"}
"""Demuxers of files that name other files, to which a stranger's must not lead."""


@dataclass(frozen=True)
class VideoStream:
    """The first video stream of a file, as ffmpeg describes it.

    Attributes:
        codec: ffmpeg's name of the codec.
        pixel_format: ffmpeg's name of the pixel format.
        matrix: YUV matrix, such as "bt709"; "unknown" if the file does not name it.
        primaries: colour primaries, such as "bt2020", or "unknown".
        transfer: transfer characteristics, such as "smpte2084", or "unknown".
        interlaced: the frames consist of fields.
        width: pixels as stored, before rotation.
        height: pixels as stored, before rotation.
        pixel_aspect: width and height of a pixel, such as "1:1".
        frame_rate: mean frames a second, to two decimals; None if unknown.
        base_rate: ffmpeg's guess at the smallest rate that fits all frame times; None if unknown.
        rotation: degrees counter-clockwise from stored to displayed frames.
        duration: seconds of the whole file; None if unknown.
        audio_codec: ffmpeg's name of the codec of the first sound track; None without sound.
        has_alpha_track: transparency is stored beside the pictures, as in VP8 and VP9.
    """

    codec: str
    pixel_format: str
    matrix: str
    primaries: str
    transfer: str
    interlaced: bool
    width: int
    height: int
    pixel_aspect: str
    frame_rate: Fraction | None
    base_rate: Fraction | None
    rotation: int
    duration: float | None
    audio_codec: str | None
    has_alpha_track: bool = False

    @property
    def is_hdr(self) -> bool:
        """Whether the transfer is PQ or HLG."""
        return self.transfer in ("smpte2084", "arib-std-b67")

    @property
    def is_wide_gamut(self) -> bool:
        """Whether the colours go beyond BT.709."""
        return self.primaries == "bt2020" or self.is_hdr

    @property
    def has_alpha(self) -> bool:
        """Whether transparency is stored, in the pixel format or beside it."""
        return (
            self.has_alpha_track
            or re.match(r"yuva|rgba|bgra|argb|abgr|gbrap|ya\d", self.pixel_format) is not None
        )


@dataclass(frozen=True)
class PacketTimes:
    """When the frames of a file are displayed.

    Attributes:
        starts: display time of every frame in units of ``time_base``, sorted.
        end: time at which the last frame ends, in the same unit.
        time_base: seconds.
    """

    starts: tuple[int, ...]
    end: int
    time_base: Fraction


def read_video_stream(path: Path, byte_range: ByteRange | None = None) -> VideoStream:
    """Describe the first video stream of a file.

    Args:
        path: the file.
        byte_range: as of `ffmpeg.input_options`.

    Raises:
        MediaError: ffmpeg cannot read the file, it has no video stream, or it is a playlist.
    """
    log = ffmpeg.run(ffmpeg.input_options(path, byte_range)).stderr.decode("utf-8", "replace")
    if "Input #0" not in log:
        raise MediaError(
            f"{path.name}: not a clip that can be read ({ffmpeg.reason(log)})",
            hint="give a video, an animation, or a folder of stills",
        )
    demuxer = re.search(r"^Input #0, ([\w,]+), from", log, re.MULTILINE)
    if demuxer and demuxer[1] in _PLAYLISTS:
        raise MediaError(
            f"{path.name}: is a playlist, not a clip", hint="give the clip that it names"
        )
    streams = re.split(r"^  Stream #", log, flags=re.MULTILINE)[1:]
    sounds = [re.match(r"[^\n]*?: Audio: (\w+)", text) for text in streams]
    audio_codec = next((sound[1] for sound in sounds if sound), None)
    for text in streams:
        match = re.match(r"[^\n]*?: Video: ([^\n]*)", text)
        if match and "(attached pic)" not in match[1]:
            return _parse_stream(
                match[1],
                rotation=_parse_rotation(text),
                duration=_parse_duration(log),
                audio_codec=audio_codec,
                name=path.name,
                has_alpha_track=re.search(r"^ +alpha_mode +: 1$", text, re.M) is not None,
            )
    raise MediaError(f"{path.name}: has no video stream")


def read_packet_times(path: Path, byte_range: ByteRange | None = None) -> PacketTimes | None:
    """List the display times of all frames without decoding them; the whole file is read.

    Args:
        path: the file.
        byte_range: as of `ffmpeg.input_options`.

    Returns:
        The times, or None if ffmpeg fails or does not know them.
    """
    source = ffmpeg.input_options(path, byte_range)
    result = ffmpeg.run(
        ["-v", "error", *source, "-map", "0:V:0", "-c", "copy", "-f", "framecrc", "-"]
    )
    text = result.stdout.decode("ascii", "replace")
    base = re.search(r"^#tb 0: (\d+)/(\d+)", text, re.MULTILINE)
    if result.returncode or base is None:
        return None
    starts, ends = [], []
    for line in text.splitlines():
        # stream, decoding time, display time, duration, size, checksum, F=flags, ...
        fields = [field.strip() for field in line.split(",")]
        if line.startswith("#") or len(fields) < 6:
            continue
        flags = next((int(f[2:], 16) for f in fields[6:] if f.startswith("F=")), 0)
        if flags & _DISCARD_FLAG:
            continue
        if not re.fullmatch(r"-?\d{1,18}", fields[2]):
            return None
        starts.append(int(fields[2]))
        ends.append(int(fields[2]) + int(fields[3]))
    if not starts:
        return None
    return PacketTimes(tuple(sorted(starts)), max(ends), Fraction(int(base[1]), int(base[2])))


def _parse_stream(
    line: str,
    *,
    rotation: int,
    duration: float | None,
    audio_codec: str | None,
    name: str,
    has_alpha_track: bool,
) -> VideoStream:
    # "h264 (High), yuv420p(tv, bt709, progressive), 64x48 [SAR 1:1 DAR 4:3], 25 fps, 25 tbr, ..."
    size = re.search(r", (\d+)x(\d+)(?=[,\s\[])", line)
    if size is None or "0" in size.groups():
        raise MediaError(f"{name}: its picture size is unknown")
    if int(size[1]) * int(size[2]) > max_pixels():
        raise MediaError(
            f"{name}: {size[1]}x{size[2]} is more than {max_pixels_text()}",
            hint="make it smaller first, or raise the limit with --max-pixels",
        )
    parts = re.split(r", (?![^(]*\))", line[: size.start()], maxsplit=1)
    pixel_format, _, tags = (parts[1] if len(parts) > 1 else "").partition("(")
    matrix, primaries, transfer = _parse_colour_tags(tags)
    aspect = re.search(r"SAR (\d+:\d+)", line)
    return VideoStream(
        codec=re.split(r"[ ,(]", line, maxsplit=1)[0],
        pixel_format=pixel_format,
        matrix=matrix,
        primaries=primaries,
        transfer=transfer,
        interlaced=" first" in tags,
        width=int(size[1]),
        height=int(size[2]),
        pixel_aspect=aspect[1] if aspect else "1:1",
        frame_rate=_parse_rate(line, "fps"),
        base_rate=_parse_rate(line, "tbr"),
        rotation=rotation,
        duration=duration,
        audio_codec=audio_codec,
        has_alpha_track=has_alpha_track,
    )


def _parse_colour_tags(tags: str) -> tuple[str, str, str]:
    """Return matrix, primaries and transfer; ffmpeg prints one name if all three are equal."""
    names = ("unknown", "unknown", "unknown")
    for item in re.split(r", *", tags.rstrip(")")):
        triple = item.split("/")
        if len(triple) == 3:
            names = (triple[0], triple[1], triple[2])
        elif re.match(r"bt|smpte|gbr|fcc|iec", item):
            names = (item, item, item)
    return names


def _parse_rate(line: str, unit: str) -> Fraction | None:
    match = re.search(rf", ([\d.]+)(k?) {unit}\b", line)
    if match is None or float(match[1]) == 0:
        return None
    return Fraction(match[1]) * (1000 if match[2] else 1)


def _parse_rotation(stream: str) -> int:
    angle = re.search(r"isplay ?[Mm]atrix: rotation of (-?[\d.]+)", stream)
    return round(float(angle[1])) % 360 if angle else 0


def _parse_duration(log: str) -> float | None:
    time = re.search(r"Duration: (\d+):(\d+):([\d.]+)", log)
    return int(time[1]) * 3600 + int(time[2]) * 60 + float(time[3]) if time else None
