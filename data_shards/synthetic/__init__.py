"""A cohort made by formula that behaves like free living: for load tests, and for demonstrations without data.

    synth_options.py  how many days or hours, and of which seed
    people.py         who a person is: habits, hand, device
    diary.py          what that person does in every second
    motion.py         what a device on the wrist measures meanwhile, at 30 Hz
    record.py         one person -> one recording as the store holds it
    make.py           people -> cohort store

Nothing in it was fitted to a recording of a person. Where a number has a source it stands beside it; the others are
typical values that were chosen so that a plotted day looks like one, and no result about people may rest on them.

Every draw is keyed by (seed, person, purpose): person 7 is the same whether ten or ten thousand people are made, and
by however many processes.
"""
