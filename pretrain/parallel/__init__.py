"""Many processes and the device: distributed.py (process group), batchnorm.py (synchronised), compilation.py."""
