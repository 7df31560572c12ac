"""One tree of exceptions; each class carries the exit status that the command line ends with."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit statuses of ``iicnet``; they are part of the public interface."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_EMBEDDING = 3
    NO_MODEL = 4
    INTERRUPTED = 130


class IICNetError(Exception):
    """Base of every error that iicnet raises on purpose.

    The message is one line that says what is wrong; ``hint`` says what to do about it.
    """

    exit_code: ExitCode = ExitCode.FAILURE

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(IICNetError):
    """The request itself is wrong: a bad option, a wrong number of inputs, mismatched sizes."""

    exit_code = ExitCode.USAGE


class MediaError(IICNetError):
    """An input cannot be read as the medium it should be, or an output cannot be written."""


class OutputExistsError(IICNetError):
    """An output exists already and overwriting was not asked for."""


class QualityError(IICNetError):
    """The result is below the quality that was asked for (``--min-psnr``)."""


class TrainingError(IICNetError):
    """Training cannot go on: diverged, no usable data, or a run folder that does not fit."""


class DeviceError(IICNetError):
    """The machine cannot do what was asked of it."""


class ContainerError(IICNetError):
    """The file is not an iicnet PNG, or it is damaged."""

    exit_code = ExitCode.NOT_EMBEDDING


class NotAnEmbeddingError(ContainerError):
    """No header and no in-pixel mark was found."""


class DamagedError(ContainerError):
    """It was an iicnet PNG, but its content cannot be used any more."""


class UnsupportedVersionError(ContainerError):
    """The file was written by a newer major version of the format."""


class ModelError(IICNetError):
    """A checkpoint is unknown, incomplete, or not the one that a file was made with."""

    exit_code = ExitCode.NO_MODEL
