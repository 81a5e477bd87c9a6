"""Ordinary helpers: progress, locks, the checkout, safe reading of YAML and tensors."""
