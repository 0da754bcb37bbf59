"""Engines: builders and artifacts on disk."""
