"""One training run, from its first step to its last, however often it is stopped.

training.py    a run from its configuration to its last checkpoint
build.py       puts it together; headline.py: what it says of itself first
loop.py        the order of things: steps, held-out loss, checkpoints, the end
step.py        forward, backward and clipping of one global batch; update.py: the update, or its refusal
background.py  checkpoints are written while training goes on
lock.py        one run at a time in a run folder
state.py       what a checkpoint holds; checkpoint.py: how it is written and found
stopping.py    early stopping; signals.py: stopping when asked to; agreement.py: all processes at the same step
log.py         log.jsonl and TensorBoard; meters.py, flops.py: speed; tracking.py: experiment trackers
trace.py       a trace of some steps; garbage.py: when Python's collector runs
probe.py       a classifier on the features while training
provenance.py  where the run's data and code came from
not_finite.py  the report of a loss that is not finite; memory.py: of memory that does not suffice
"""
