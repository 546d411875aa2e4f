"""All bounds on networks that are already trained: yours, or those of a run folder.

python -m experiments.evaluate --weights=net.safetensors --data=set.npz --out=runs/net
python -m experiments.evaluate --weights='runs/mnist/weights/*' --out=runs/bounds
python -m experiments.evaluate --list
"""

from experiments.evaluate.program import PROGRAM

__all__ = ["PROGRAM"]
