"""Fine-tuning on labelled windows, tested on held-out people."""
