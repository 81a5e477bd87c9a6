"""Personalized speech enhancement with pVAD-gated cross-task distillation, for ESPnet."""

__version__ = "0.1.0"
