"""Device files → 30 Hz cohort store → shards and manifest → the deterministic stream.

    readers/     device files -> `Recording`, one file a device
    ingest/      `Recording` -> calibrated 30 Hz signal with wear and checks, put into a cohort store
    cohort/      the store: a Zarr group a recording, an index of what is known of them, a ledger of failures
    quality/     which recordings a study may use, and the report with a picture of each
    shards/      cohort store -> person-hour blocks in tar shards with a manifest; verify, purge
    stream/      shards -> batches of windows, in an order that is a function of (manifest, seed, epoch, step)
    synthetic/   a cohort made by formula

Imports go one way: stream -> shards -> quality -> cohort, and ingest -> readers and cohort (`lint-imports` checks it).
"""
