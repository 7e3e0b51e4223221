"""Which recordings a study uses, and a report of all of them.

policy.py        exclusion rules, and the resulting flow table
audit.py         one pass over the recordings' metadata: flow, recordings.csv, data for the histograms
picture.py       a recording's days as rows of a small SVG
histogram.py     a histogram as a small SVG
quality_page.py  HTML pages and the folder that holds them
page.html.j2     their template
"""
