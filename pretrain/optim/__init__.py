"""How the weights are updated: optimisers, the learning rate by step (schedules.py), the moving average (ema.py)."""
