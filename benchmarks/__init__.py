"""lamina against the libraries that people use. `python -m benchmarks` measures and prints the table."""
