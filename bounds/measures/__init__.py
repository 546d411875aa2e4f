"""Measuring: the half that touches networks; a concept a file, each with its own `MEASURES`."""
