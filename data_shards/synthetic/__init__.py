"""A synthetic cohort that resembles free-living recordings, for load tests and for demonstrations without data.

    synth_options.py  number of days or hours, and the seed
    people.py         a person: habits, hand, device
    diary.py          the person's activity in each second
    motion.py         the signal of a wrist-worn device, at 30 Hz
    record.py         one person -> one recording as stored
    make.py           people -> cohort store

Nothing was fitted to recordings of people. Numbers from a source cite it; the others are typical values chosen so
that a plotted day looks realistic. Do not draw conclusions about people from them.

Every draw is keyed by (seed, person, purpose): person 7 is the same for any number of people and processes.
"""
