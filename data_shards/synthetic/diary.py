"""The activity of a synthetic person in each second of the recording: nights, bouts, exercise, non-wear.

The day is a Markov chain of bouts of sitting, household work and walking with log-normal durations, overlaid with
nights, brief awakenings, runs, and non-wear with the device on a table.
"""

from enum import IntEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from data_shards.synthetic.people import Purpose, SyntheticPerson, draws

DAY = 86_400
"""Seconds per day."""


class Activity(IntEnum):
    """Activity labels."""

    SLEEP = 0
    SITTING = 1
    HOUSEHOLD = 2
    WALKING = 3
    RUNNING = 4
    NOT_WORN = 5


MEDIAN_SECONDS = {Activity.SITTING: 660.0, Activity.HOUSEHOLD: 280.0, Activity.WALKING: 120.0}
"""Median length of a bout; with SPREAD, about 11 h of sitting, 4 h of household work and 1.5 h of walking per day."""
SPREAD = 1.0
"""Standard deviation of the logarithm of a bout's length: most bouts are short, a few very long."""
SHORTEST_BOUT, LONGEST_BOUT = 5.0, 3 * 3600.0
"""Limits of the length of a bout, in seconds."""
AFTER = {
    Activity.SITTING: (Activity.HOUSEHOLD, Activity.WALKING, 0.55),
    Activity.HOUSEHOLD: (Activity.SITTING, Activity.WALKING, 0.60),
    Activity.WALKING: (Activity.SITTING, Activity.HOUSEHOLD, 0.50),
}
"""Activity -> the two activities that may follow it, and the probability of the first."""


def diary(person: SyntheticPerson, seed: int, number: int, days: int) -> NDArray[np.uint8]:
    """(days * 86,400,) the `Activity` of each second from midnight of the person's first day."""
    doing = _bouts(person, draws(seed, number, Purpose.BOUTS), days)
    random = draws(seed, number, Purpose.EVENTS)
    for day in range(days):
        if random.random() < person.runs_per_day:
            start = (day * 24 + random.choice([7.5, 12.2, 17.8]) + random.normal(0, 0.4)) * 3600
            _lay(doing, Activity.RUNNING, start, random.uniform(1200, 2700))
    for onset, wake in _nights(person, draws(seed, number, Purpose.NIGHTS), days):
        _lay(doing, Activity.SLEEP, onset, wake - onset)
        for _ in range(random.poisson(1.0)):  # to the bathroom and back
            _lay(doing, Activity.HOUSEHOLD, random.uniform(onset, wake), random.uniform(120, 420))
        if person.takes_off_at_night and random.random() < 0.8:
            _lay(doing, Activity.NOT_WORN, onset - 900, wake - onset + 1800)
    for day in range(days):
        if random.random() < 0.5:  # a shower
            _lay(doing, Activity.NOT_WORN, (day * 24 + random.normal(7.6, 0.5)) * 3600, random.uniform(600, 1500))
        if random.random() < 0.2:  # contact sport, a bath, or forgotten
            _lay(doing, Activity.NOT_WORN, (day * 24 + random.uniform(9, 20)) * 3600, random.uniform(3600, 10800))
    if np.isfinite(person.stops_wearing):
        _lay(doing, Activity.NOT_WORN, person.stops_wearing * DAY, float(len(doing)))
    return doing


def bouts(doing: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Start second, length in seconds and activity of each run of one activity."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(doing)) + 1])
    return starts, np.diff(np.concatenate([starts, [len(doing)]])), doing[starts]


def _bouts(person: SyntheticPerson, random: np.random.Generator, days: int) -> NDArray[np.uint8]:
    doing = np.empty(days * DAY, np.uint8)
    now, activity = 0.0, Activity.SITTING
    while now < len(doing):
        seconds = MEDIAN_SECONDS[activity] * random.lognormal(0, SPREAD) * _mood(person, activity, now)
        seconds = min(max(seconds, SHORTEST_BOUT), LONGEST_BOUT)
        _lay(doing, activity, now, seconds)
        now += seconds
        first, second, probability = AFTER[activity]
        activity = first if random.random() < probability else second
    return doing


def _mood(person: SyntheticPerson, activity: Activity, now: float) -> float:
    """Factor that scales the usual length of a bout, by hour, day of the week and person."""
    hour, weekend = now / 3600 % 24, (int(now // DAY) + person.first_day) % 7 >= 5
    factor = 1.0
    if activity is Activity.SITTING:
        if hour >= 20 or hour < 5:  # in the evening
            factor *= 1.7
        if person.employed and not weekend and 9 <= hour < 17:  # at the desk
            factor *= 1.5
    elif activity is Activity.HOUSEHOLD and weekend:
        factor *= 1.4
    elif activity is Activity.WALKING:
        factor *= person.liveliness
    return factor


def _nights(person: SyntheticPerson, random: np.random.Generator, days: int) -> list[tuple[float, float]]:
    """(onset, wake) in seconds since the first midnight; the first night began before it."""
    nights = []
    for day in range(-1, days):
        free = person.employed and (day + person.first_day) % 7 in (4, 5)  # the nights after Friday and Saturday
        onset = 12 + person.sleep_onset + random.normal(0.7 * free, 0.5)
        hours = np.clip(random.normal(person.sleep_hours + 0.6 * free, 0.7), 4, 11)
        nights.append(((day * 24 + onset) * 3600, (day * 24 + onset + hours) * 3600))
    # A late night ends before the next begins.
    ends = [min(wake, following - 3600) for (_, wake), (following, _) in pairwise(nights)]
    return [(onset, wake) for (onset, _), wake in zip(nights, [*ends, nights[-1][1]], strict=True)]


def _lay(doing: NDArray[np.uint8], activity: Activity, start: float, seconds: float) -> None:
    """Overwrite an interval, clipped to the recording, with one activity."""
    doing[max(round(start), 0) : max(round(start + seconds), 0)] = activity
