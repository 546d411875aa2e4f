"""What `experiments.uc_failure` is made of."""
