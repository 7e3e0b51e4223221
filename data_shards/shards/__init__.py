"""Cohort store → tar shards of person-hour blocks, with a manifest.

shard_plan.py     which hours go into which shard
split.py          who is held out
signal_hours.py   a recording, hour by hour
block.py          one person-hour as bytes, and back
tar.py            tar members that are the same on every machine
writer.py         writes the shards, in parts or alone, again after any kill
shard_summary.py  what writing came to, for people and scripts
manifest.py       where every block is, and what is known of it
location.py       of a shard folder: a path or a URL
shard_rows.py     the manifest's rows of one shard
verify_shards.py  every byte against the manifest
purge.py          people who withdrew, out of the shards
proof.py          that no byte of theirs is left
"""
