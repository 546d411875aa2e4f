"""What `experiments.bounds_vs_samples` is made of."""
