"""Constants shared by the cohort store, the shards and the training stream."""

RATE = 30
"""Samples per second of everything after ingest, on the absolute grid t = k / 30 with k an integer since 1970."""

COUNTS_PER_G = 4096
"""Stored int16 counts per g: ±8 g fit, and one count (0.24 mg) is below the noise of every supported device."""

MISSING = -32768
"""Stored on all three axes where the device recorded nothing. Measured values are clipped to ±32767."""

LONGEST_NAME = 155
"""Maximum length of a recording's name: it is the folder of a tar member, which POSIX ustar limits."""

SECONDS_PER_HOUR = 3600
"""Seconds in an hour, the unit in which recordings are stored."""

SAMPLES_PER_HOUR = 108_000
"""Samples of one axis in a stored hour: RATE * SECONDS_PER_HOUR."""

assert SAMPLES_PER_HOUR == RATE * SECONDS_PER_HOUR
