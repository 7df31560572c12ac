"""iicnet: several pictures in one ordinary-looking PNG, and back.

>>> from iicnet_cli import EmbedOptions
>>> EmbedOptions(step=2).effort
1
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, which takes a while to load: Ctrl-C is not answered before

__version__ = "0.1.0"

if TYPE_CHECKING:
    from typing import Any

    from iicnet_cli.api import Converter
    from iicnet_cli.errors import (
        ContainerError,
        DamagedError,
        DeviceError,
        ExitCode,
        IICNetError,
        MediaError,
        ModelError,
        NotAnEmbeddingError,
        OutputExistsError,
        QualityError,
        TrainingError,
        UnsupportedVersionError,
        UsageError,
    )
    from iicnet_cli.memory_images import embedding_info
    from iicnet_cli.options import EmbedOptions, RestoreOptions
    from iicnet_cli.reports import (
        EmbedReport,
        Estimate,
        Forecast,
        PictureQuality,
        Progress,
        RestoreReport,
        Stage,
    )

__all__ = [
    "ContainerError",
    "Converter",
    "DamagedError",
    "DeviceError",
    "EmbedOptions",
    "EmbedReport",
    "Estimate",
    "ExitCode",
    "Forecast",
    "IICNetError",
    "MediaError",
    "ModelError",
    "NotAnEmbeddingError",
    "OutputExistsError",
    "PictureQuality",
    "Progress",
    "QualityError",
    "RestoreOptions",
    "RestoreReport",
    "Stage",
    "TrainingError",
    "UnsupportedVersionError",
    "UsageError",
    "__version__",
    "embedding_info",
]

_MODULES = {
    "Converter": "api",
    "EmbedOptions": "options",
    "EmbedReport": "reports",
    "Estimate": "reports",
    "Forecast": "reports",
    "PictureQuality": "reports",
    "Progress": "reports",
    "RestoreOptions": "options",
    "RestoreReport": "reports",
    "Stage": "reports",
    "embedding_info": "memory_images",
}


def __getattr__(name: str) -> Any:
    # Importing the package must stay fast: the command line does it before it knows its command.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
