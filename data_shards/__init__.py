"""Device files → 30 Hz cohort store → shards and manifest → the deterministic stream.

    readers/     device files -> `Recording`, one module per device
    ingest/      `Recording` -> calibrated 30 Hz signal with wear detection and quality checks, added to a cohort store
    cohort/      the store: one Zarr group per recording, a metadata index, a ledger of failures
    quality/     which recordings a study uses, and a report with a plot of each
    shards/      cohort store -> person-hour blocks in tar shards with a manifest; verify, purge
    stream/      shards -> batches of windows, in an order that is a function of (manifest, seed, epoch, step)
    synthetic/   synthetic cohorts

Imports go one way: stream -> shards -> quality -> cohort, and ingest -> readers and cohort (`lint-imports` checks it).
"""
