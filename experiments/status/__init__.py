"""How far is a run folder? Asked from another shell.

python -m experiments.status runs/paper
"""
