"""Cohort store → tar shards of person-hour blocks, with a manifest.

shard_plan.py     which hours go into which shard
split.py          who is held out
signal_hours.py   a recording, hour by hour
block.py          one person-hour as bytes, and back
tar.py            tar members that are the same on every machine
writer.py         writes the shards, in parts or at once; resumable after a kill
shard_summary.py  summary of what was written, as text and JSON
manifest.py       location and metadata of every block
location.py       location of a shard folder: a path or a URL
shard_rows.py     the manifest's rows of one shard
verify_shards.py  verifies every byte against the manifest
purge.py          removes people who withdrew from the shards
proof.py          proves that none of their data are left
"""
