"""How pictures get into the pixels of a PNG, and out again.

`base.py` is the contract. Each engine is a package here and one row of :data:`ENGINES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iicnet_cli.errors import UnsupportedVersionError

if TYPE_CHECKING:
    from iicnet_cli.engines.base import Computing, Engine, EngineRequest

ENGINES = {"network": "iicnet_cli.engines.network.network_engine:NetworkEngine"}
"""Name of each engine, as the header has it, and where its class is. Classes are imported when they
are needed, because some load torch."""

DEFAULT_ENGINE = "network"
"""The engine of PNGs whose header names none."""


def open_engine(request: EngineRequest, computing: Computing) -> Engine:
    """The engine that a request names, ready for its task.

    Raises:
        UnsupportedVersionError: there is no engine of that name.
        ModelError: its checkpoint is not here.
        UsageError: the checkpoint does not fit the request.
    """
    from importlib import import_module

    if request.engine not in ENGINES:
        raise UnsupportedVersionError(
            f"the engine '{request.engine}' is unknown here", hint="upgrade iicnet"
        )
    module, name = ENGINES[request.engine].split(":")
    engine: type[Engine] = getattr(import_module(module), name)
    return engine.open(request, computing)
