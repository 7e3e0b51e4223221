"""Batches: from the stream of shards to tensors on the device.

loading.py   the local batches of this rank, from loader processes
heldout.py   the loss on held-out people
"""
