"""Running the bundled ffmpeg program."""

from __future__ import annotations

import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from iicnet_cli.errors import MediaError
from iicnet_cli.pictures.limits import max_pixels

_QUIET = ("-hide_banner", "-nostdin", "-nostats")

# Files that only name other files or addresses (playlists, concat scripts, SDP) are not among them.
_DEMUXERS = (
    "3gp,3g2,aac,aiff,apng,asf,av1,avi,caf,dv,flac,flv,gif,gxf,h261,h263,h264,hevc,ivf,live_flv,"
    "m4a,m4v,matroska,mj2,mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,nut,nuv,obu,ogg,ogv,rawvideo,rm,"
    "smjpeg,vc1,vvc,wav,webm,webp,webp_anim,wtv,wv,y4m,yuv4mpegpipe"
)

ByteRange = tuple[int, int]
"""A part of a file: the offset of its first byte, and the offset after its last byte."""


@cache
def executable() -> str:
    """Return the path of ffmpeg.

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
    """Return whether this build of ffmpeg has the filter ``name``."""
    text = subprocess.run(
        [executable(), "-hide_banner", "-filters"], capture_output=True, text=True, check=False
    ).stdout
    return re.search(rf"^ *\S+ +{re.escape(name)} ", text, re.MULTILINE) is not None


@cache
def has_encoder(name: str) -> bool:
    """Return whether this build of ffmpeg has the encoder ``name``."""
    text = subprocess.run(
        [executable(), "-hide_banner", "-encoders"], capture_output=True, text=True, check=False
    ).stdout
    return re.search(rf"^ *\S+ +{re.escape(name)} ", text, re.MULTILINE) is not None


@dataclass(frozen=True)
class Source:
    """A local file as ffmpeg and its libraries open it; nothing else is opened because of it.

    Attributes:
        url: names the file, whatever characters its name has.
        demuxer: reads it; None to let the file decide.
        options: of the demuxer.
    """

    url: str
    demuxer: str | None
    options: dict[str, str]


def source_of(path: Path, byte_range: ByteRange | None = None) -> Source:
    """Return how to open a file; playlists and the like are not read at all.

    Args:
        path: the file.
        byte_range: the bytes of an MP4 inside the file; by default, the whole file is read.
    """
    if byte_range is None:
        options = {"protocol_whitelist": "file", "format_whitelist": _DEMUXERS}
        return Source(f"file:{path}", None, options)
    start, end = byte_range
    url = f"subfile,,start,{start},end,{end},,:file:{path}"
    return Source(url, "mov", {"protocol_whitelist": "file,subfile"})


def input_options(path: Path, byte_range: ByteRange | None = None) -> list[str]:
    """Return the options of the program that open a file as `source_of` does."""
    source = source_of(path, byte_range)
    options = [part for key, value in source.options.items() for part in (f"-{key}", value)]
    demuxer = [] if source.demuxer is None else ["-f", source.demuxer]
    return [*options, *demuxer, "-i", source.url]


def most_decoded_pixels() -> int:
    """Number of pixels that a decoder may give a frame, whatever the file says of its size.

    Decoders count what is cut off at the edges, too.
    """
    return min(2 * max_pixels(), 2**31 - 1)


def run(arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run ffmpeg to its end with its output captured; the caller checks the exit status."""
    command = [executable(), *_QUIET, *arguments]
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)


def start_reader(arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start ffmpeg with pipes on stdout and stderr; each line of its log carries its level."""
    return subprocess.Popen(
        [executable(), *_QUIET, "-loglevel", "level+info", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def start_writer(arguments: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start ffmpeg with a pipe on stdin; ``log`` receives its errors only."""
    return subprocess.Popen(
        [executable(), "-hide_banner", "-nostats", "-loglevel", "error", "-y", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=log,
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process whose output is no longer needed, and close its stdin."""
    # Not terminate: ffmpeg would then try to write its last frames into a pipe that nobody reads.
    process.kill()
    process.wait()
    if process.stdin is not None:
        with suppress(OSError):  # closing flushes the buffer into a broken pipe
            process.stdin.close()


def reason(log: str) -> str:
    """Return the line of ffmpeg's log that best explains a failure, without its prefixes."""
    lines = [_without_prefixes(line) for line in log.splitlines() if line.strip()]
    # The last lines only repeat that opening failed; the cause stands before them.
    general = ("Error opening input", "Conversion failed", "At least one output", "Input #")
    specific = [line for line in lines if not line.startswith(general)]
    return (specific or lines or ["unknown error"])[-1]


def _without_prefixes(line: str) -> str:
    return re.sub(r"^(\[[^\]]*\] *)+", "", line.strip()).rstrip(".")
