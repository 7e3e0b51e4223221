"""Recordings of devices → calibrated 30 Hz signals in a cohort store.

ingest_options.py  what the user decides
walk.py            every file below some folders
identities.py      what recordings and participants are called
ingest_plan.py     which files there are, and which recordings they hold
gathering.py       the first pass, piece by piece: checked, summed up, resampled
survey.py          sums of the raw samples: still moments, clipping, ranges
checks.py          what makes a recording not usable at all
resampling.py      anti-aliased, to 30 Hz
scratch.py         the signal at 30 Hz until it can be calibrated
calibration.py     autocalibration (van Hees et al. 2014)
known_devices.py   calibrations of devices, for recordings that are too short for one
wear.py            non-wear as a mask
daylight.py        changes between summer and winter time
preparation.py     the second pass, hour by hour: calibrated, with wear and facts
ingest_summary.py what an ingest would do and did, for people and scripts
run.py             many files in parallel, one bad one stops nobody else
"""
