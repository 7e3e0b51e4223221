"""Loading and saving weights: the published bundle, and the checks on everything that is read."""
