"""A certificate for a network: its error on new examples is at most this, on real data.

  python -m experiments.certify --preset=perez_ortiz --data_dir=DIR --out=runs/certificate

A network is trained so that a PAC-Bayes or a compression bound says something of it, and the
bound is evaluated with every constant, the draws of the noise included.
"""

from experiments.certify.program import PROGRAM

__all__ = ["PROGRAM"]
