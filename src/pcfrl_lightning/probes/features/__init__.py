"""Frozen features: extraction, storage, hand-made ones."""
