"""Transforms of a batch of windows on the training device; one file each, with draws and application separate.

`draw_*(keys, ...)` gives the draws of each window from its key alone (see `window_random.py`), and `apply` functions
are pure: batch and draws in, batch out. No loop over windows anywhere. Shapes: N windows, 3 axes, T samples.
"""
