"""A certificate for a network: its error on new examples is at most this, on real data.

  python -m experiments.certify --preset=perez_ortiz --data_dir=DIR --out=runs/certificate
  python -m experiments.certify --data=SET.npz --width=64 --depth=1 --out=runs/own
  python -m experiments.certify --route=surrogate --network=NET.onnx --data=SET.npz \\
      --unlabelled=POINTS.npz --out=runs/given

A network is trained so that a PAC-Bayes or a compression bound says something of it, and the
bound is evaluated with every constant, the draws of the noise included. A network that is given is
certified through another one and points without labels.
"""

from experiments.certify.program import PROGRAM

__all__ = ["PROGRAM"]
