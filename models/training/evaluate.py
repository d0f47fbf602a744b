"""Accuracy of the committed models with ONNX Runtime, on the committed test images.

    python models/training/evaluate.py models/*.onnx
"""

import argparse
import json
import os

import numpy as np
import onnxruntime

import idx


def session(path_or_bytes):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path_or_bytes, options, providers=["CPUExecutionProvider"])


def logits(path, images):
    run = session(path)
    name = run.get_inputs()[0].name
    return np.concatenate(
        [run.run(None, {name: idx.pixels(images[i : i + 500])})[0] for i in range(0, len(images), 500)]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help=".onnx files with a model card (.json) beside them")
    args = parser.parse_args()
    print("| model | test images | accuracy | kB |\n| --- | --- | --- | --- |")
    for path in args.models:
        with open(os.path.splitext(path)[0] + ".json") as f:
            card = json.load(f)
        folder = os.path.dirname(path)
        images = idx.read(os.path.join(folder, card["input"]))
        labels = idx.read(os.path.join(folder, card["input_labels"]))
        hits = (logits(path, images).argmax(1) == labels).mean()
        size = os.path.getsize(path) / 1000
        print(f"| `{os.path.basename(path)}` | {len(labels)} | {100 * hits:.2f} % | {size:.0f} |")
    print(f"\nMeasured with onnxruntime {onnxruntime.__version__}.")


if __name__ == "__main__":
    main()
