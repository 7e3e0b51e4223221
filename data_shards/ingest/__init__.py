"""Device recordings → calibrated 30 Hz signals in a cohort store.

ingest_options.py  user options
walk.py            lists every file below some folders
identities.py      names of recordings and participants
ingest_plan.py     which files there are, and which recordings they contain
gathering.py       first pass, chunk by chunk: checks, statistics, resampling
survey.py          sums over the raw samples, for stillness, clipping and units
checks.py          what makes a recording unusable
resampling.py      anti-aliased resampling to 30 Hz
scratch.py         buffer of the 30 Hz signal until it can be calibrated
calibration.py     autocalibration (van Hees et al. 2014)
known_devices.py   calibrations of devices, for recordings that are too short for one
wear.py            non-wear detection
daylight.py        changes between summer and winter time
preparation.py     second pass, hour by hour: calibration, wear and metadata
ingest_summary.py  summary of a dry run and of an ingest, as text and JSON
run.py             many files in parallel; a bad file does not stop the others
"""
