"""Running exported models: numpy, onnxruntime, soxr and soundfile, nothing else.

Neither torch nor ESPnet is imported here; `espnet_pse_kd.export` writes the files that
these classes read.
"""
