"""What is wrong with a dataset: checks, one module a family, over rows that were read once, chunk by chunk."""
