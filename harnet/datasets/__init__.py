"""Public labelled data sets: from raw download to labelled windows. One file per data set, listed in `registry`."""
