"""Results of `harnet evaluate`, and the run behind the weights, as one HTML page that needs nothing else."""
