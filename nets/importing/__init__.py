"""Networks of other frameworks: read as JAX functions, and JAX functions as graphs."""
