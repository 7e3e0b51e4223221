"""Public labelled data sets, raw download -> labelled windows; one file each, and the table of them in `registry`."""
