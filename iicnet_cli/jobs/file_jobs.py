"""The jobs of the commands: embed, estimate, restore and evaluate, one output each."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iicnet_cli.errors import IICNetError, NotAnEmbeddingError
from iicnet_cli.jobs.job import Job
from iicnet_cli.media.files import named_after, names_folder
from iicnet_cli.media.kept_files import keeping
from iicnet_cli.options import NETWORK, EmbedOptions, RestoreOptions
from iicnet_cli.reports import EmbedReport, Estimate, RestoreReport

if TYPE_CHECKING:
    from iicnet_cli.api import Converter
    from iicnet_cli.evaluation import Row


@dataclass(frozen=True, kw_only=True)
class EmbedJob(Job[EmbedReport]):
    """One PNG; the fields are the arguments of :meth:`iicnet_cli.Converter.embed`."""

    output: Path
    task: str | None = None
    model: str | None = None
    options: EmbedOptions = field(default_factory=EmbedOptions)
    overwrite: bool = False

    def run(self, converter: Converter) -> EmbedReport:
        return converter.embed(
            self.inputs,
            self.output,
            task=self.task,
            model=self.model,
            options=self.options,
            overwrite=self.overwrite,
        )

    def record(self, report: Any) -> dict[str, Any]:
        return {
            **asdict(report),
            "output": str(report.output),
            "embed_psnr": report.embed_psnr,
            "restored_psnr": report.restored_psnr,
            "hidden_psnr": report.hidden_psnr,
        }

    def outputs(self) -> tuple[Path, ...]:
        return (self.output,)

    def is_complete(self) -> bool:
        """Whether the PNG has all its chunks and a header that names this task and model.

        A JPEG has no header; it got its name when it was complete.
        """
        from iicnet_cli.container.embedding_file import read_header

        if not self.output.is_file():
            return False
        if self.options.engine != NETWORK and self.output.suffix.lower() != ".png":
            return True
        try:
            header = read_header(self.output)
        except IICNetError:
            return False
        if header is None or self.task not in (None, header.task):
            return False
        return self.model is None or Path(self.model).name == Path(header.model).name


@dataclass(frozen=True, kw_only=True)
class EstimateJob(Job[Estimate]):
    """What one PNG would be; the fields are the arguments of `iicnet_cli.Converter.estimate`."""

    task: str | None = None
    model: str | None = None
    output: Path | None = None
    options: EmbedOptions = field(default_factory=EmbedOptions)

    def run(self, converter: Converter) -> Estimate:
        return converter.estimate(
            self.inputs,
            self.output,
            task=self.task,
            model=self.model,
            options=self.options,
        )

    def record(self, report: Any) -> dict[str, Any]:
        """The fields of an :class:`EmbedJob`, ``None`` where they are not known, and more."""
        unknown = {"output": None, "gained_psnr": None}
        return unknown | asdict(report) | {"hidden_psnr": report.hidden_psnr}


@dataclass(frozen=True, kw_only=True)
class RestoreJob(Job[RestoreReport]):
    """What one PNG holds.

    Attributes:
        kept: other inputs that have the name of the default output.

    The others are the arguments of :meth:`iicnet_cli.Converter.restore`.
    """

    output: Path | None = None
    folder: Path | None = None
    task: str | None = None
    model: str | None = None
    options: RestoreOptions = field(default_factory=RestoreOptions)
    overwrite: bool = False
    kept: tuple[Path, ...] = ()

    def run(self, converter: Converter) -> RestoreReport:
        with keeping(self.kept):
            return converter.restore(
                self.source,
                self.output,
                folder=self.folder,
                task=self.task,
                model=self.model,
                options=self.options,
                overwrite=self.overwrite,
            )

    def record(self, report: Any) -> dict[str, Any]:
        return asdict(report) | {"outputs": [str(path) for path in report.outputs]}

    def outputs(self) -> tuple[Path, ...]:
        """Where the header leads to; where it cannot tell, every default output that exists."""
        from iicnet_cli.container.embedding_file import read_header
        from iicnet_cli.tasks import task_named

        if self.output is not None:
            return (self.output,)
        png = self.source if self.folder is None else self.folder / self.source.name
        try:
            header = read_header(self.source)
        except NotAnEmbeddingError:
            header = None  # a JPEG, which has no header, but may hold something
        except IICNetError:
            return ()
        if header is not None and header.engine is None:
            return (task_named(self.task or header.task).default_output(png, header),)
        # What is carried as a file keeps its suffix, which no header tells.
        default = named_after(png, "-restored")
        beside = sorted(default.parent.iterdir()) if default.parent.is_dir() else []
        existing = [
            path
            for path in beside
            if path.name == default.name or (path.stem == default.name and not names_folder(path))
        ]
        return tuple(existing) or (default,)

    def is_complete(self) -> bool:
        """Whether the output exists: files and new folders get their names when complete."""
        outputs = self.outputs()
        return bool(outputs) and all(
            any(path.iterdir()) if path.is_dir() else path.is_file() for path in outputs
        )


@dataclass(frozen=True, kw_only=True)
class EvaluateJob(Job["Row"]):
    """The measurement of one PNG that is written, read back and thrown away.

    Attributes:
        name: for the table.
        task: name of the task.
        model: folder of the checkpoint.
        options: what to take of the inputs, and how.
    """

    name: str
    task: str
    model: Path
    options: EmbedOptions

    def run(self, converter: Converter) -> Row:
        from iicnet_cli.evaluation import measure
        from iicnet_cli.tasks.task import EvaluationItem

        item = EvaluationItem(self.name, self.inputs, self.options)
        return measure(item, self.task, self.model, converter)

    def record(self, report: Any) -> dict[str, Any]:
        return asdict(report)

    def state_of(self, path: Path) -> list[object]:
        """Its name and content, for the inputs may have been made anew; of a folder, its files."""
        try:
            if path.is_dir():
                files = sorted([file.name, file.stat().st_size] for file in path.iterdir())
                return [path.name, files]
            with path.open("rb") as file:
                return [path.name, hashlib.file_digest(file, "sha256").hexdigest()]
        except OSError:  # the work on it will say why
            return [path.name]
