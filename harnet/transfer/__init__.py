"""Fine-tuning on labelled windows, with people held out."""
