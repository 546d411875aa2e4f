"""What `experiments.certify` is made of."""
