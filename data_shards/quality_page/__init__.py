"""The quality report of a cohort store: a flow table, a table of all recordings, and a page with a picture of each.

audit.py       one pass over what is known of the recordings: flow, recordings.csv, figures for the histograms
picture.py     a recording's days as rows of a small SVG
histogram.py   a histogram as a small SVG
page.py        HTML pages and the folder that holds them
page.html.j2   their template
"""
