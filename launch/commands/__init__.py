"""One sub-command of `harnet` a file; each defines a dataclass named `Command` whose `run()` does the work."""
