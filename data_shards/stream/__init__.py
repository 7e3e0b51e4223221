"""Shards → batches of windows, in an order that is a pure function of (manifest, seed, epoch, step).

shared_manifest.py   the manifest, once a node
node_cache.py        arrays that all processes of a node map
keyed.py             random numbers by key
expectation.py       how often an hour should be drawn
plan.py, planner.py  the visits of an epoch, and which lane delivers them
window_sampling.py   which windows of a visited hour
lane.py              one lane: groups of windows, shuffled
reader.py            lanes -> batches
shard_files.py       blocks, read and checked
storage.py           bytes of a local folder ...
remote.py            ... or of an object store, with block_cache.py
damage.py            blocks that are skipped, and when that is too many
third_party.py       the same shards for stock webdataset
"""
