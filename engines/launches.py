"""What models of a frame's time on a GPU take for an engine's launches."""

from __future__ import annotations

TRUNK_KERNELS = 95
"""Kernels of the HD trunk in FP16 as the pinned TensorRT for RTX compiles it; a test builds it and counts them."""

LAUNCH_US = 1.0
"""Least time of a kernel that waits for the one before it in a CUDA graph: an assumption (docs/roofline.md)."""
