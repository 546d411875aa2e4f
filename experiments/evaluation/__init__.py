"""What `experiments.evaluate` is made of: networks that anyone has saved."""
