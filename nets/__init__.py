"""Networks and how they learn: arrays in, arrays out; no files, no flags, no bounds."""
