"""From a PyTorch checkpoint to ONNX graphs."""
