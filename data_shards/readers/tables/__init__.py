"""How tables are read, whatever holds them (text, Parquet), in pieces and from first to last:

`dialect` finds the separator and the columns, `lines` cuts a text file into pieces of whole lines, `cells` turns a
piece into rows, `stamps` reads what time a cell says, `wallclock` undoes changes of the clocks, `timeline` puts
samples where they were taken, `values` leaves out what no wrist does.
"""
