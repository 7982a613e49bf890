"""What computes networks here: torch, or OpenVINO and onnxruntime, which only this room imports."""
