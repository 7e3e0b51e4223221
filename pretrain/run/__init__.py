"""One training run, from its first step to its last, however often it is stopped and resumed.

training.py    runs a configuration to its last checkpoint
build.py       builds a run from its configuration; headline.py: what is printed first
loop.py        the training loop: steps, held-out loss, checkpoints
step.py        forward, backward and clipping of a global batch; update.py: the update, skipped if not finite
background.py  checkpoints are written in the background
lock.py        one run at a time in a run folder
state.py       what a checkpoint holds; checkpoint.py: how it is written and found
stopping.py    early stopping; signals.py: stop requests; agreement.py: the same decisions on all ranks
log.py         log.jsonl and TensorBoard; meters.py, flops.py: speed; tracking.py: experiment trackers
trace.py       profiler trace of some steps; garbage.py: when Python's garbage collector runs
probe.py       a classifier on the features while training
provenance.py  where the run's data and code came from
not_finite.py  the report of a loss that is not finite; memory.py: running out of memory
"""
