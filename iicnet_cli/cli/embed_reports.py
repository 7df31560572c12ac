"""What ``iicnet embed`` prints of its results."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import typer

from iicnet_cli.cli.console import counted, decibels, say
from iicnet_cli.reports import EXACT_PSNR, EmbedReport, Estimate


def print_estimate(estimate: Estimate, source: Path | None, *, searches: bool) -> None:
    """Print what a dry run found.

    Args:
        estimate: what it found.
        source: the input, named in a batch.
        searches: whether a search will make it better.
    """
    is_known = estimate.embeddings is not None
    count = "" if estimate.embeddings == 1 else f", {estimate.embeddings or '?'} embeddings"
    each = "" if is_known else " for each embedding"
    tiles = f" in {estimate.tiles} tiles" if estimate.tiles > 1 else ""
    which = "" if source is None else f"{source}: "
    typer.echo(
        f"{which}{estimate.width}x{estimate.height}{tiles} with {estimate.model}{count}, about "
        f"{estimate.bytes / 1e6:.1f} MB, {_duration(estimate.seconds)}{each}"
    )
    gain = ", without what the search gains" if searches else ""
    is_exact = estimate.restored_psnr >= EXACT_PSNR
    restored = "exactly" if is_exact else f"about {estimate.restored_psnr:.1f} dB{gain}"
    typer.echo(f"embedding about {estimate.embed_psnr:.1f} dB, restored {restored}")


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def print_guess(task: str, guessed: bool, notes: tuple[str, ...], *, quiet: bool) -> None:
    """Say which task was guessed, and the notes."""
    if guessed:
        say(f"task: {task}, guessed from the inputs (--task decides)", quiet=quiet)
    for note in notes:
        say(f"note: {note}", quiet=quiet)


def print_report(report: EmbedReport, *, quiet: bool, verbose: bool) -> None:
    """Say what was written and what it is worth."""
    from iicnet_cli.tasks import task_named

    print_guess(report.task, report.guessed, report.notes, quiet=quiet)
    what = counted(report.images, task_named(report.task).pictures)
    animated = f", animated PNG of {report.embeddings} pictures" if report.embeddings > 1 else ""
    say(
        f"{report.output}: {what} {report.width}x{report.height} with {report.model}"
        f"{animated}, {report.bytes / 1e6:.2f} MB, {report.seconds:.1f} s",
        quiet=quiet,
    )
    if report.embedding:
        say(f"embedding {decibels(report.embedding)}, {_restored(report)}", quiet=quiet)
    if report.survived:
        say(f"simulated: everything came back after {', '.join(report.survived)}", quiet=quiet)
    if report.gained_psnr is not None:
        say(f"the search gained {report.gained_psnr:.2f} dB", quiet=quiet)
    if verbose:
        for picture in report.restored:
            say(f"  {picture.name}: {decibels(picture)}")
        for file in report.carried:
            if file.name:
                say(f"  {file.role} {file.name}: {file.bytes} bytes")


def _restored(report: EmbedReport) -> str:
    """What the restored pictures are worth; exact ones are counted, no mean can tell of them."""
    near = [picture.psnr for picture in report.restored if not picture.is_exact]
    exact = len(report.restored) - len(near)
    if not near:
        return "restored exactly"
    words = f"restored {fmean(near):.2f} dB"
    if exact:
        words += f", {exact} of {len(report.restored)} exactly"
    elif report.hidden_psnr is not None:
        words += f", without the reference {report.hidden_psnr:.2f} dB"
    # Only of files are all pictures listed one by one.
    is_listed = report.carried and len(near) > 1
    return f"{words}, the worst {min(near):.2f} dB" if is_listed else words
