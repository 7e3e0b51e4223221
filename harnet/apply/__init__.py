"""A trained model over whole recordings: features and predictions, and what they add up to by day and person.

inference.py       windows of many recordings through a model, batch by batch
recordings.py      each recording into its own results
embed.py           features, as Zarr
predict.py         classes, as Parquet
smoothing.py       classes in time, by a hidden Markov model
summaries.py       person-days and people, weighted by wear
summary_tables.py  the tables of them
"""
