"""Run an exported ONNX model on the CPU with onnxruntime and numpy only: neither torch nor harnet is needed.

harnet export results/model --out shipped --formats onnx
python examples/onnx_on_cpu.py shipped windows.npy
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import onnxruntime


def main() -> None:
    """Classify windows, or compute their features, and print the elapsed time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("windows", type=Path, help=".npy file, (N, 3, L) float in g at 30 Hz")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    config = json.loads((options.weights / "config.json").read_text())
    windows = np.load(options.windows).astype(np.float32)
    expected = config["window_seconds"] * config["sampling_rate"]
    if windows.ndim != 3 or windows.shape[1:] != (3, expected):
        raise SystemExit(f"{options.windows}: shape {windows.shape}, expected (N, 3, {expected})")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(options.weights / "model.onnx", settings, providers=["CPUExecutionProvider"])
    start = time.perf_counter()
    (output,) = session.run(None, {"windows": windows})
    seconds = time.perf_counter() - start
    if config["classes"]:
        names, counts = np.unique(np.array(config["classes"])[output.argmax(axis=1)], return_counts=True)
        print(", ".join(f"{name} {count}" for name, count in zip(names.tolist(), counts.tolist(), strict=True)))
    else:
        print(f"features {output.shape}")
    print(f"{len(windows)} windows in {1000 * seconds:.0f} ms on {options.threads} thread(s)")


if __name__ == "__main__":
    main()
