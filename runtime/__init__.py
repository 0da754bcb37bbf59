"""The runtime: devices, kernels and sessions. It never imports torch or onnx."""
