"""The sub-commands of `harnet`, one per file; each defines a dataclass `Command` whose `run()` does the work."""
