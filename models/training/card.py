"""Write the model card (.json) of an exported model: measures its accuracy on the test images and
the range of every layer over the training images with ONNX Runtime.

    python models/training/card.py --data FOLDER --model models/cryptonets-mnist.onnx --summary WORK/cryptonets-mnist.training.json

The .training.json is what train.py leaves beside the weights.
"""

import argparse
import json
import os
import re

import numpy as np
import onnx
import onnxruntime

import idx
from evaluate import logits, session

DESCRIPTIONS = {
    "cryptonets": (
        "CryptoNets (Gilad-Bachrach et al., ICML 2016) on {title}: convolution, square, average pooling, "
        "convolution, average pooling, dense, square, dense. No activation but squares."
    ),
    "classical": (
        "A small LeNet on {title}: two convolutions with ReLU and 3x3 max pooling of stride 2, then one dense layer."
    ),
    "mobilenet": (
        "A small network of the shape of MobileNetV2 on {title}: depthwise convolutions, ReLU6, residual sums, average pooling."
    ),
    "finetuned": (
        "The network of classical-{dataset} on {title}, fine-tuned: two convolutions, each with a polynomial of degree 2 for each "
        "channel and {pool} of stride 2, then one dense layer. Runs on encrypted data without approximation."
    ),
}
POOLS = {"conv": "a trained 3x3 weighted average of each channel", "average": "3x3 average pooling"}
TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}


def ranges(path, images):
    """Smallest and largest value of the input and of each node's output, by node name."""
    model = onnx.load(path)
    nodes = [(n.name, n.output[0]) for n in model.graph.node if n.op_type not in ("Constant", "Identity")]
    known = {o.name for o in model.graph.output}
    for _, tensor in nodes:
        if tensor not in known:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(tensor))
    run = session(model.SerializeToString())
    name = run.get_inputs()[0].name
    wanted = [tensor for _, tensor in nodes]
    low, high = np.full(len(nodes), np.inf), np.full(len(nodes), -np.inf)
    for i in range(0, len(images), 500):
        for k, value in enumerate(run.run(wanted, {name: idx.pixels(images[i : i + 500])})):
            low[k], high[k] = min(low[k], value.min()), max(high[k], value.max())
    result = {"input": [0.0, 1.0]}
    for (node, _), a, b in zip(nodes, low, high):
        result[node] = [round(float(a), 4), round(float(b), 4)]
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--summary", required=True)
    parser.add_argument("--note", default="", help="a sentence to add about how the weights were chosen")
    args = parser.parse_args()
    with open(args.summary) as f:
        summary = json.load(f)
    folder, file = os.path.split(args.model)
    name = os.path.splitext(file)[0]
    kind = name.split("-")[0]
    dataset = name.split("-", 1)[1]
    pool = next((said for name, said in POOLS.items() if f"--pool {name}" in summary["command"]), "")
    data = f"data/{dataset}"
    images = idx.read(os.path.join(folder, data, "t10k-images-idx3-ubyte.gz"))
    labels = idx.read(os.path.join(folder, data, "t10k-labels-idx1-ubyte.gz"))
    hits = int((logits(args.model, images).argmax(1) == labels).sum())
    train = idx.read(os.path.join(args.data, dataset, "train-images-idx3-ubyte.gz"))
    model = onnx.load(args.model)
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    card = {
        "name": name,
        "description": DESCRIPTIONS[kind].format(title=TITLES[dataset], dataset=dataset, pool=pool),
        "task": "classification",
        "labels": idx.DATASETS[dataset],
        "input": f"{data}/t10k-images-idx3-ubyte.gz",
        "input_labels": f"{data}/t10k-labels-idx1-ubyte.gz",
        "calibration": f"{data}/calibration-images-idx3-ubyte.gz",
        "calibration_labels": f"{data}/calibration-labels-idx1-ubyte.gz",
        "preprocessing": {"scale": 1 / 255, "mean": [0.0], "std": [1.0]},
        "accuracy": {
            "test": hits / len(labels),
            "images": len(labels),
            "measured_with": f"onnxruntime {onnxruntime.__version__}",
        },
        "ranges": ranges(args.model, train),
        "training": {
            "data": f"the first {len(train) - summary['holdout']} images of the {TITLES[dataset]} training set, "
            + ("randomly turned, sheared, scaled and shifted a little" if dataset == "mnist"
               else "randomly scaled and shifted a little" if kind == "finetuned" or "--mirror 0.0" in summary["command"]
               else "randomly mirrored left to right, scaled and shifted a little"),
            "selection": f"the last {summary['holdout']} training images were held out to choose between recipes and "
            f"between the last and the averaged weights ({summary['weights']} chosen, "
            f"{100 * summary['held_out_accuracy']:.2f} % on them)." + (" " + args.note if args.note else ""),
            "ranges": f"over all {len(train)} training images, unaugmented; names are those of the ONNX nodes",
            "epochs": summary["epochs"],
            "seed": summary["seed"],
            "command": summary["command"],
        },
        "exporter": f"torch {model.producer_version} TorchScript exporter, opset {opset}",
        "licence": "Apache-2.0",
    }
    with open(os.path.join(folder, name + ".json"), "w") as f:
        text = json.dumps(card, indent=2, ensure_ascii=False)
        text = re.sub(r"\[\s+([^\[\]]*?)\s+\]", lambda m: "[" + re.sub(r",\s+", ", ", m[1]) + "]", text)
        f.write(text + "\n")
    print(name, card["accuracy"], card["ranges"])


if __name__ == "__main__":
    main()
