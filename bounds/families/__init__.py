"""The bounds and measures, a family a file; each ends with its own `BOUNDS`."""
