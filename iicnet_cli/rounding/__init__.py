"""Rounding of an embedding to levels that carry bits, of which the network restores the least."""

from iicnet_cli.rounding.codes import CODED, CODES, Code, brought_out
from iicnet_cli.rounding.diffusion import Rounding, rounded
from iicnet_cli.rounding.helpers import Helpers
from iicnet_cli.rounding.nearest import NEIGHBOURS, Feedback, exact, exact_error
from iicnet_cli.rounding.trellis import AlongTrellis, along_trellis

__all__ = [
    "CODED",
    "CODES",
    "NEIGHBOURS",
    "AlongTrellis",
    "Code",
    "Feedback",
    "Helpers",
    "Rounding",
    "along_trellis",
    "brought_out",
    "exact",
    "exact_error",
    "rounded",
]
