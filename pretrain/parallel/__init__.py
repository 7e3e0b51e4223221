"""Many processes and the device.

distributed.py       the process group, and what all processes agree on
flight_recorder.py   what was asked of NCCL last, after a time-out
srun_environment.py  from Slurm's variables to torch's
arithmetic.py        fast, or with the same bits every time
batchnorm.py         synchronised batch normalisation
compilation.py       torch.compile with a way back
"""
