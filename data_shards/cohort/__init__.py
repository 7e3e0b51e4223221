"""The cohort store: one Zarr group a recording.

store.py          add, open, list, remove; safe for many writers
info.py           what is known of a recording
index.py          all of that in few files, for 100,000 recordings
stored.py         the signal of one recording
integrity.py      checksums of a recording
verify_cohort.py  every byte of a store, read and compared
ledger.py         files that could not be ingested, with the reason
"""
