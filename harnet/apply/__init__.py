"""Applying a trained model to whole recordings: features and predictions, summarised per day and person.

inference.py       batched inference over the windows of many recordings
recordings.py      writes the results of each recording
embed.py           features, as Zarr
predict.py         classes, as Parquet
smoothing.py       temporal smoothing of classes by a hidden Markov model
summaries.py       summaries of person-days and people, weighted by wear time
summary_tables.py  person-day and person tables
"""
