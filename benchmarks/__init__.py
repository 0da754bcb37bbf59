"""Measurement of speed and accuracy beside PyTorch."""
