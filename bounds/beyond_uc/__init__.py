"""Claims beyond uniform convergence: what coupled runs and unlabelled data support."""
