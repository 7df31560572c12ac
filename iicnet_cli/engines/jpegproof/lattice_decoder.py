"""From a received picture, whose place is known, to the payload."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.jpegproof.cell_layout import CellLayout
from iicnet_cli.engines.jpegproof.coefficient_lattice import CoefficientLattice
from iicnet_cli.engines.jpegproof.dct_blocks import Floats
from iicnet_cli.engines.jpegproof.payload_codes import CHECK_BYTES, PayloadCodes
from iicnet_cli.engines.jpegproof.pseudorandom import random_bits
from iicnet_cli.engines.jpegproof.reception import Reception
from iicnet_cli.engines.jpegproof.small_version_code import from_message, small_version_codes
from iicnet_cli.errors import DamagedError

Labels = NDArray[np.int32]

_WHAT_HAPPENED = "the picture was changed more than can be restored"


def decode(reception: Reception, codes: PayloadCodes) -> bytes:
    """The payload.

    Raises:
        DamagedError: too much of it is lost.
    """
    labels = np.zeros(reception.scaled.shape, np.int32)
    flat = labels.reshape(-1)
    messages = []
    for stage, codewords in enumerate(codes.stages):
        likelihoods = stage_likelihoods(reception, codes.lattice, labels, stage).reshape(-1)
        for code in codewords:
            cells = code.cells.indices
            bits, message, holds = code.decode(likelihoods[cells])
            if not holds:
                raise DamagedError(_WHAT_HAPPENED)
            flat[cells] |= bits.astype(np.int32) << stage
            messages.append(message)
    message = np.concatenate(messages)
    size = codes.mark.payload_bytes
    payload = np.packbits(message ^ random_bits(len(message), 1))[: size + CHECK_BYTES].tobytes()
    data, check = payload[:size], payload[size:]
    if zlib.crc32(data).to_bytes(CHECK_BYTES, "big") != check:
        raise DamagedError(_WHAT_HAPPENED)
    return data


def decode_small_version(reception: Reception, layout: CellLayout) -> bytes | None:
    """The small version, or ``None`` if there is none or it is lost as well."""
    if not layout.has_small_version:
        return None
    try:
        codes = small_version_codes(layout)
    except ValueError:
        return None
    positions = reception.scaled.shape[2]
    for trusts_loss in (True, False):
        found = []
        for code in codes:
            blocks = np.divmod(code.cells.indices // positions, layout.columns)
            likelihoods = reception.strong_likelihoods(
                layout.control_bit, blocks, trusts_loss=trusts_loss
            )
            found.append(code.decode(likelihoods)[1])
        data = from_message(np.concatenate(found))
        if data is not None:
            return data
    return None


def stage_likelihoods(
    reception: Reception, lattice: CoefficientLattice, labels: Labels, stage: int
) -> Floats:
    """Log of P(0) / P(1) of a bit of all coefficients, (rows, columns, P).

    Args:
        reception: of the picture.
        lattice: of the picture.
        labels: (rows, columns, P), with all bits below ``stage``.
        stage: number of the bit.
    """
    found = np.zeros(labels.shape, np.float32)
    for position in np.flatnonzero(lattice.bits > stage).tolist():
        if stage:
            lower = labels[..., position]
            found[..., position] = reception.upper_likelihoods(position, lower, stage)
        else:
            found[..., position] = reception.likelihoods(position)
    return found
