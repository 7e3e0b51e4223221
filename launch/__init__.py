"""The command line, and how work is launched."""
