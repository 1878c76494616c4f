"""Training: data, the compiled step, the loop."""
