"""Reading tables (text or Parquet) in chunks, in this order:

`dialect` detects the separator and the columns, `lines` splits a text file into chunks of whole lines, `cells` turns a
chunk into rows, `stamps` parses timestamps, `wallclock` undoes changes of the clocks, `timeline` assigns samples the
times at which they were taken, `values` drops values that are impossible at a wrist.
"""
