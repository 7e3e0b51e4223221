"""File names inside a bundle."""

MODEL = "model.safetensors"
CONFIG = "config.json"
CARD = "README.md"
HUBCONF = "hubconf.py"
SUMS = "SHA256SUMS"
