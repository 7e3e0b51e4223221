"""Does it transfer? Protocols, arms and scores on labelled data sets, tested on held-out people.

`protocols` what is trained and on whom · `splits` people into folds · `handcrafted` features of the forest · `arms` the
ways to classify · `trials` the unit of work · `suite` all of them, resumable · `scores` intervals and paired
differences · `result_tables` JSON and CSV · `attribution` which samples of a window support a class.
"""
