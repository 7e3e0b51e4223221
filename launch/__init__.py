"""The command line, and launching work on Slurm."""
