"""Shards → batches of windows, in an order that is a pure function of (manifest, seed, epoch, step).

shared_manifest.py   the manifest, converted once per node
node_cache.py        arrays that all processes of a node memory-map
keyed.py             keyed random numbers
expectation.py       expected number of windows drawn from each hour
plan.py, planner.py  the visits of an epoch, and which lane delivers them
window_sampling.py   which windows of a visited hour
lane.py              one lane: groups of windows, shuffled
reader.py            lanes -> batches
shard_files.py       reads and verifies blocks
storage.py           bytes of a local folder ...
remote.py            ... or of an object store, with block_cache.py
damage.py            counts damaged blocks that are skipped, with a limit
third_party.py       the same shards for stock webdataset
"""
