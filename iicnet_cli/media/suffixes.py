"""Which file suffixes belong to which kind of medium."""

from __future__ import annotations

STILL_SUFFIXES = frozenset(
    (
        ".png .apng .jpg .jpeg .jpe .jfif .mpo .webp .tif .tiff .avif .bmp .dib .gif .ppm "
        ".pgm .pbm .pnm .tga .jp2 .j2k .heic .heif .hif .ico .qoi .psd .jps .pns"
    ).split()
)
"""Suffixes of pictures, in lower case with the dot; some of these files can also be animated."""

VIDEO_SUFFIXES = frozenset(
    (
        ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .3g2 "
        ".ogv .y4m .vob .mxf .h264 .264 .h265 .265 .hevc .ivf .nut .dv .asf .avifs"
    ).split()
)
"""Suffixes of clips, in lower case with the dot."""

HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
"""Suffixes of pictures that can only be read when pillow-heif is installed."""

RAW_SUFFIXES = frozenset(
    (".cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .dng .raf .orf .rw2 .pef .srw .x3f .3fr").split()
)
"""Suffixes of undeveloped camera pictures, which are refused."""

VECTOR_SUFFIXES = frozenset({".svg", ".svgz", ".pdf", ".eps", ".ps", ".ai", ".wmf", ".emf"})
"""Suffixes of vector graphics, which are refused."""

HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1"})
"""Major brands in the ``ftyp`` box of HEIC pictures, whatever they are called."""
