"""A trained model over whole recordings: features and predictions, and what they add up to by day and person.

inference.py   windows of many recordings through a model, batch by batch
embed.py       features of a recording, as Zarr
predict.py     classes of a recording, as Parquet
smoothing.py   classes in time, by a hidden Markov model
summaries.py   person-days and people, weighted by wear
tables.py      the tables of them
"""
