"""How pictures get into the pixels of a PNG, and out again.

`base.py` is the contract of engines that take pictures, `file_engine.py` of those that take bytes.
Each engine is a package here and one row of :data:`ENGINES` or :data:`FILE_ENGINES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iicnet_cli.errors import UnsupportedVersionError, UsageError

if TYPE_CHECKING:
    from iicnet_cli.engines.base import Computing, Engine, EngineRequest
    from iicnet_cli.engines.file_engine import FileEngine

ENGINES = {"network": "iicnet_cli.engines.network.network_engine:NetworkEngine"}
"""Name of each engine, as the header has it, and where its class is. Classes are imported when they
are needed, because some load torch."""

FILE_ENGINES = {
    "lowbits": "iicnet_cli.engines.lowbits.lowbits_engine:LowBitsEngine",
    "jpegproof": "iicnet_cli.engines.jpegproof.jpegproof_engine:JpegProofEngine",
}
"""The same for the engines that carry files."""

DESTINATIONS = {
    "edits": "network",
    "file": "lowbits",
    "jpeg": "jpegproof",
    "signal": "jpegproof",
    "signal-high": "jpegproof",
    "telegram": "jpegproof",
    "telegram-large": "jpegproof",
    "whatsapp": "jpegproof",
    "x": "jpegproof",
}
"""Where a picture will go, in the words of ``--for``, and the engine that is best for it. A number
may follow ``jpeg``, as in ``jpeg:70``."""

_WITH_NUMBER = "jpeg"

DEFAULT_ENGINE = "network"
"""The engine of PNGs whose header names none."""


def engine_for(destination: str) -> str:
    """Name of the engine that is best for a destination.

    Raises:
        UsageError: there is no such destination.
    """
    name, colon, _ = destination.partition(":")
    if name not in DESTINATIONS or (colon and name != _WITH_NUMBER):
        raise UsageError(
            f"--for {destination}: nothing is known of it",
            hint=f"known are {', '.join(DESTINATIONS)}, and jpeg:QUALITY",
        )
    return DESTINATIONS[name]


def open_engine(request: EngineRequest, computing: Computing) -> Engine:
    """The engine that a request names, ready for its task.

    Raises:
        UnsupportedVersionError: there is no engine of that name.
        ModelError: its checkpoint is not here.
        UsageError: the checkpoint does not fit the request.
    """
    if request.engine not in ENGINES:
        raise UnsupportedVersionError(
            f"the engine '{request.engine}' is unknown here", hint="upgrade iicnet"
        )
    engine: type[Engine] = _load_class(ENGINES[request.engine])
    return engine.open(request, computing)


def open_file_engine(name: str) -> FileEngine:
    """The engine of that name, a key of :data:`FILE_ENGINES`."""
    engine: type[FileEngine] = _load_class(FILE_ENGINES[name])
    return engine()


def _load_class(place: str) -> Any:
    from importlib import import_module

    module, name = place.split(":")
    return getattr(import_module(module), name)
