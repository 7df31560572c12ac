"""``iicnet check``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iicnet_cli.cli.common_options import DebugOption, JsonOption
from iicnet_cli.cli.console import command, input_paths, naming, print_json
from iicnet_cli.errors import ExitCode

if TYPE_CHECKING:
    from iicnet_cli.simulated_delivery import Delivery


@command
def check(
    picture: Annotated[
        Path, typer.Argument(help="What embed wrote; - is stdin.", metavar="PICTURE")
    ],
    destination: Annotated[
        str | None,
        typer.Option(
            "--for",
            help="Only this service, or jpeg:QUALITY, as of embed.",
            metavar="DESTINATION",
        ),
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print what would come back from a picture after each messenger or site, simulated.

    Nothing is sent. What the services do is taken from their source or documentation, where there
    is any, and they change it without notice.

    The exit status is 0 if everything comes back from at least one of them, 1 if from none, also
    if its small version does, and 3 if the picture holds nothing as it is.
    """
    from iicnet_cli.engines.jpegproof.profiles import SERVICES, find_profile
    from iicnet_cli.simulated_delivery import check_picture

    profiles = SERVICES if destination is None else (find_profile(destination),)
    with naming(picture), input_paths([picture]) as (path,):
        deliveries = check_picture(path, [profile.channel for profile in profiles])
    if as_json:
        services = [
            asdict(delivery) | {"simulated": profile.summary, "source": profile.source}
            for profile, delivery in zip(profiles, deliveries, strict=True)
        ]
        print_json({"file": str(picture), "services": services})
    else:
        for profile, delivery in zip(profiles, deliveries, strict=True):
            typer.echo(f"{profile.name}, simulated as {profile.summary}: {_outcome(delivery)}")
    if not any(delivery.restored for delivery in deliveries):
        raise typer.Exit(ExitCode.FAILURE)


def _outcome(delivery: Delivery) -> str:
    """What came back, in words."""
    if not delivery.restored:
        what = "small version only" if delivery.small_version else "lost"
        return f"{what} ({delivery.reason})"
    size = f"{delivery.width}x{delivery.height}"
    quality = "" if delivery.psnr is None else f", {delivery.psnr:.1f} dB beside what was sent"
    return f"everything comes back; the picture arrives as {size}{quality}"
