"""How long embedding will take, from small windows of the first group."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace

from iicnet_cli.engines.base import EncodingEstimate, EncodingRequest, Engine
from iicnet_cli.reports import Forecast
from iicnet_cli.tasks.task import PictureSource

FORECAST_PIXELS = {False: 6_000_000, True: 300_000}
"""Without and with a search: a forecast is made for groups of at least this many pixels in all. It
takes a few hundredths of the time that these take."""


def groups_at_once(engine: Engine, source: PictureSource, request: EncodingRequest) -> int:
    """How many groups are encoded at the same time."""
    at_once = engine.groups_at_once(source.height, source.width, request.options)
    return at_once if source.total is None else min(at_once, source.total)


def estimate_first_group(
    engine: Engine, source: PictureSource, request: EncodingRequest
) -> tuple[EncodingEstimate, float]:
    """What the first group would cost and give, and the seconds that all groups would take.

    If the number of groups is not known, these are the seconds of one.
    """
    from iicnet_cli.engines.parallel import share_cores

    with closing(source.groups()) as groups:
        group = next(groups)
    at_once = groups_at_once(engine, source, request)
    with share_cores(at_once):
        estimate = engine.estimate_group(group, request)
    return estimate, estimate.seconds * math.ceil((source.total or 1) / at_once)


def forecast(engine: Engine, source: PictureSource, request: EncodingRequest) -> Forecast | None:
    """How long all groups will take; ``None`` if they are too few to be worth the time to find out.

    The number of groups must be known.
    """
    options = request.options
    pixels = source.width * source.height * (source.total or 0)
    if pixels < FORECAST_PIXELS[options.searches]:
        return None
    _, seconds = estimate_first_group(engine, source, request)
    quick = None
    if options.adds_layer or options.searches:
        least = replace(options, effort=0, target_embed_psnr=None, target_restored_psnr=None)
        _, quick = estimate_first_group(engine, source, replace(request, options=least))
    return Forecast(source.total or 1, seconds, quick)
