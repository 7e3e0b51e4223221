"""Validation of numbers in configuration dataclasses."""

from collections.abc import Mapping

from harnet.errors import HarnetError


def at_least(least: float, section: str, values: Mapping[str, float]) -> None:
    """Raise HarnetError, naming section and option, unless every value is a number of at least `least`."""
    for name, value in values.items():
        if not value >= least:
            raise HarnetError(f"{section}.{name} is {value}; it must be at least {least}")
