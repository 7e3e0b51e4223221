"""Batches: from the stream of shards to tensors on the device.

loading.py   the local batches of this rank, from loader processes
prefetch.py  the next batch is loaded while this one is computed
heldout.py   the loss on held-out people
"""
