"""Batches: from the stream of shards to tensors on the device.

loading.py   this process's part of every global batch, by loader processes
prefetch.py  the next batch is made ready while this one is computed
heldout.py   the loss on people who are never trained on
"""
