"""Trains the fashion-mnist pair: large teachers, then by distillation a base and a pool of tiny savers (needs PyTorch)."""
