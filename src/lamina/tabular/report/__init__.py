"""The report on a model of a table: figures as PNG and SVG, and one HTML page that needs nothing else."""
