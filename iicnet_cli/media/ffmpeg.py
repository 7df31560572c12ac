"""The bundled ffmpeg: where it is, how to start and stop it, what it says about a file."""

from __future__ import annotations

import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import IO

from iicnet_cli.errors import MediaError

_QUIET = ("-hide_banner", "-nostdin", "-nostats")

Part = tuple[int, int]  # of a file: its first byte, and the one after its last


@cache
def executable() -> str:
    """Path of ffmpeg.

    Raises:
        MediaError: imageio-ffmpeg is missing, or has no ffmpeg for this system.
    """
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise MediaError(
            "ffmpeg is missing", hint="pip install imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE"
        ) from error


@cache
def has_filter(name: str) -> bool:
    """Whether this build of ffmpeg has the filter ``name``."""
    text = subprocess.run(
        [executable(), "-hide_banner", "-filters"], capture_output=True, text=True, check=False
    ).stdout
    return re.search(rf"^ *\S+ +{re.escape(name)} ", text, re.MULTILINE) is not None


def input_options(path: Path, part: Part | None = None) -> list[str]:
    """``-i`` for a local file, whatever its name looks like; playlists may not open URLs.

    With ``part``, for the MP4 that those bytes of the file are.
    """
    if part is None:
        return ["-protocol_whitelist", "file", "-i", f"file:{path}"]
    url = f"subfile,,start,{part[0]},end,{part[1]},,:file:{path}"
    return ["-protocol_whitelist", "file,subfile", "-f", "mov", "-i", url]


def run(arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run ffmpeg to its end with output captured; never raises on its exit status."""
    command = [executable(), *_QUIET, *arguments]
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)


def start_reader(arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start ffmpeg with pipes on its stdout and stderr; log lines carry their level."""
    return subprocess.Popen(
        [executable(), *_QUIET, "-loglevel", "level+info", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def start_writer(arguments: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start ffmpeg with a pipe on its stdin; only errors go to ``log``."""
    return subprocess.Popen(
        [executable(), "-hide_banner", "-nostats", "-loglevel", "error", "-y", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=log,
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process whose output nobody wants any more, and close its stdin."""
    # Not terminate: ffmpeg then tries to write its last frames into a pipe that nobody reads.
    process.kill()
    process.wait()
    if process.stdin is not None:
        with suppress(OSError):  # what was still buffered has nobody to read it
            process.stdin.close()


def reason(log: str) -> str:
    """The most telling line of ffmpeg's log, without its prefixes."""
    lines = [_plain(line) for line in log.splitlines() if line.strip()]
    # Its last lines only repeat that the opening failed; the cause stands before them.
    general = ("Error opening input", "Conversion failed", "At least one output", "Input #")
    telling = [line for line in lines if not line.startswith(general)]
    return (telling or lines or ["unknown error"])[-1]


def _plain(line: str) -> str:
    return re.sub(r"^(\[[^\]]*\] *)+", "", line.strip()).rstrip(".")


@dataclass(frozen=True)
class Header:
    """What ``ffmpeg -i`` prints about the first video stream.

    Width and height are as stored, in pixels; rotation in degrees counter-clockwise; audio is the
    codec of the first sound track.
    """

    codec: str
    pixel_format: str
    colour: str
    matrix: str
    primaries: str
    transfer: str
    width: int
    height: int
    aspect: str
    rate: Fraction | None
    base_rate: Fraction | None
    rotation: int
    duration: float | None
    audio: str | None


def read_header(path: Path, part: Part | None = None) -> Header:
    """Parse what ``ffmpeg -i`` says (the bundled build has no ffprobe).

    Raises:
        MediaError: ffmpeg cannot read the file, or it has no video stream.
    """
    log = run(input_options(path, part)).stderr.decode("utf-8", "replace")
    if "Input #0" not in log:
        raise MediaError(
            f"{path.name}: not a clip that can be read ({reason(log)})",
            hint="give a video, an animation, or a folder of stills",
        )
    streams = re.split(r"^  Stream #", log, flags=re.MULTILINE)
    sounds = [re.match(r"[^\n]*?: Audio: (\w+)", text) for text in streams[1:]]
    audio = next((sound[1] for sound in sounds if sound), None)
    for text in streams[1:]:
        match = re.match(r"[^\n]*?: Video: ([^\n]*)", text)
        if match and "(attached pic)" not in match[1]:
            return _parse(match[1], text, log, audio, path)
    raise MediaError(f"{path.name}: has no video stream")


def _parse(line: str, stream: str, log: str, audio: str | None, path: Path) -> Header:
    # "h264 (High), yuv420p(tv, bt709, progressive), 64x48 [SAR 1:1 DAR 4:3], 25 fps, 25 tbr, ..."
    size = re.search(r", (\d+)x(\d+)(?=[,\s\[])", line)
    if size is None or "0" in size.groups():
        raise MediaError(f"{path.name}: its picture size is unknown")
    parts = re.split(r", (?![^(]*\))", line[: size.start()], maxsplit=1)
    pixel_format, _, colour = (parts[1] if len(parts) > 1 else "").partition("(")
    names = ("unknown", "unknown", "unknown")
    for item in re.split(r", *", colour.rstrip(")")):
        triple = item.split("/")
        if len(triple) == 3:
            names = (triple[0], triple[1], triple[2])
        elif re.match(r"bt|smpte|gbr|fcc|iec", item):
            names = (item, item, item)
    aspect = re.search(r"SAR (\d+:\d+)", line)
    angle = re.search(r"isplay ?[Mm]atrix: rotation of (-?[\d.]+)", stream)
    time = re.search(r"Duration: (\d+):(\d+):([\d.]+)", log)
    return Header(
        codec=re.split(r"[ ,(]", line, maxsplit=1)[0],
        pixel_format=pixel_format,
        colour=colour,
        matrix=names[0],
        primaries=names[1],
        transfer=names[2],
        width=int(size[1]),
        height=int(size[2]),
        aspect=aspect[1] if aspect else "1:1",
        rate=_rate(line, "fps"),
        base_rate=_rate(line, "tbr"),
        rotation=round(float(angle[1])) % 360 if angle else 0,
        duration=int(time[1]) * 3600 + int(time[2]) * 60 + float(time[3]) if time else None,
        audio=audio,
    )


def _rate(line: str, unit: str) -> Fraction | None:
    match = re.search(rf", ([\d.]+)(k?) {unit}\b", line)
    if match is None or float(match[1]) == 0:
        return None
    return Fraction(match[1]) * (1000 if match[2] else 1)


@dataclass(frozen=True)
class Packets:
    """Display times of all frames: sorted, in units of ``tick`` seconds; ``end`` is exclusive."""

    times: tuple[int, ...]
    end: int
    tick: Fraction


def read_packets(path: Path, part: Part | None = None) -> Packets | None:
    """Count the frames without decoding them (the whole file is read); None if that fails."""
    source = input_options(path, part)
    result = run(["-v", "error", *source, "-map", "0:V:0", "-c", "copy", "-f", "framecrc", "-"])
    text = result.stdout.decode("ascii", "replace")
    base = re.search(r"^#tb 0: (\d+)/(\d+)", text, re.MULTILINE)
    if result.returncode or base is None:
        return None
    times, ends = [], []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if line.startswith("#") or len(fields) < 6:
            continue
        flags = next((int(f[2:], 16) for f in fields[6:] if f.startswith("F=")), 0)
        if flags & 4:  # to be decoded but not shown: before the start of an edit list
            continue
        if not re.fullmatch(r"-?\d{1,18}", fields[2]):
            return None
        times.append(int(fields[2]))
        ends.append(int(fields[2]) + int(fields[3]))
    if not times:
        return None
    return Packets(tuple(sorted(times)), max(ends), Fraction(int(base[1]), int(base[2])))
