"""Which recordings a study may use, and a report of all of them.

policy.py        rules, and the flow table that they give
audit.py         one pass over what is known of the recordings: flow, recordings.csv, figures for the histograms
picture.py       a recording's days as rows of a small SVG
histogram.py     a histogram as a small SVG
quality_page.py  HTML pages and the folder that holds them
page.html.j2     their template
"""
