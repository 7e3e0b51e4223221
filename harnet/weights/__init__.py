"""Weights in and out: the bundle that is published, and the check of everything that is read."""
