"""Does a bound explain generalization? Every bound, every trial, one card."""
