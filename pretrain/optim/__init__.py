"""Optimisers, learning-rate schedules (schedules.py) and the moving average of the weights (ema.py)."""
