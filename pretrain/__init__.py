"""Self-supervised training of the encoder: transforms on the device, objectives, the loop, checkpoints."""
