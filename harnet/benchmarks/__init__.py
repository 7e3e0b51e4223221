"""Public labelled data sets, raw download → labelled windows; one file each."""
