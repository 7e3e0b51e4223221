"""Recordings of devices → calibrated 30 Hz signals in a cohort store.

sources.py       which files there are, and which recordings they hold
survey.py        one pass over the raw samples: still moments, clipping, ranges
checks.py        what makes a recording not usable at all
calibration.py   autocalibration (van Hees et al. 2014)
resampling.py    anti-aliased, to 30 Hz
wear.py          non-wear as a mask
daylight.py      changes between summer and winter time
preparation.py   the steps above in their order
run.py           many files in parallel, one bad one stops nobody else
"""
