"""Distributed training and the device.

distributed.py       the process group and its collectives
flight_recorder.py   the last NCCL collectives, dumped after a timeout
srun_environment.py  from Slurm's variables to torch's
arithmetic.py        fast or deterministic arithmetic
batchnorm.py         synchronised batch normalisation
compilation.py       torch.compile with a fallback
"""
