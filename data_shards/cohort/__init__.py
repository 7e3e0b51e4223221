"""The cohort store: one Zarr group per recording.

store.py          add, open, list, remove; safe for concurrent writers
info.py           metadata of a recording
index.py          metadata of all recordings in few files, for 100,000 recordings
stored.py         the signal of one recording
integrity.py      checksums of a recording
verify_cohort.py  verifies every byte of a store
ledger.py         files that could not be ingested, with the reason
"""
