"""Train the three tabular models on scikit-learn's own data and export them with skl2onnx.

    python models/training/tabular.py --out models

Each is a pipeline with its scaler inside: what goes in are the features as they are measured. Beside each model: its card, and
`data/tabular/NAME.{train,test}.npz` with the features (`input`) and the targets (`labels` for classes), and for the fixtures what
scikit-learn itself answers to the test samples (`predicted`).
"""

import argparse
import json
import os

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

MODELS = {
    "breast-cancer": (
        load_breast_cancer,
        lambda: make_pipeline(
            StandardScaler(),
            MLPClassifier(hidden_layer_sizes=(16,), activation="relu", alpha=0.3, max_iter=2000, random_state=1),
        ),
        "Breast cancer (Wisconsin, diagnostic): malignant or benign, from 30 measurements of cell nuclei. A scaler and a network with 16 hidden ReLU.",
    ),
    "diabetes": (
        load_diabetes,
        lambda: make_pipeline(
            StandardScaler(),
            MLPRegressor(hidden_layer_sizes=(12,), activation="relu", solver="lbfgs", alpha=1000.0, max_iter=5000, random_state=1),
        ),
        "Diabetes: progression after a year, from 10 measurements. A scaler and a network with 12 hidden ReLU.",
    ),
    "digits": (
        load_digits,
        lambda: make_pipeline(MinMaxScaler(), LogisticRegression(C=0.3, max_iter=2000)),
        "Handwritten digits of 8x8 pixels: a scaler and a logistic regression.",
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    data = os.path.join(args.out, "data", "tabular")
    os.makedirs(data, exist_ok=True)
    for name, (load, pipeline, description) in MODELS.items():
        bunch = load()
        x, y = bunch.data.astype(np.float32), bunch.target
        classes = name != "diabetes"
        x, xt, y, yt = train_test_split(x, y, test_size=0.3, random_state=1, stratify=y if classes else None)
        model = pipeline().fit(x, y)
        options = {id(model): {"zipmap": False}} if classes else None
        onnx = to_onnx(model, x[:1], options=options, target_opset={"": 17, "ai.onnx.ml": 3})
        with open(os.path.join(args.out, f"{name}.onnx"), "wb") as f:
            f.write(onnx.SerializeToString())
        target = "labels" if classes else "target"
        kind = np.uint8 if classes else np.float32
        np.savez(os.path.join(data, f"{name}.train.npz"), input=x, **{target: y.astype(kind)})
        predicted = model.predict(xt).astype(kind if classes else np.float64)
        np.savez(os.path.join(data, f"{name}.test.npz"), input=xt, predicted=predicted, **{target: yt.astype(kind)})
        card = {
            "name": name,
            "description": description,
            "task": "classification" if classes else "regression",
            "input": f"data/tabular/{name}.test.npz",
            "calibration": f"data/tabular/{name}.train.npz",
        }
        if classes:
            card["labels"] = [str(c) for c in bunch.target_names]
            card["input_labels"] = card["input"]
            card["calibration_labels"] = card["calibration"]
            card["accuracy"] = {
                "test": float(model.score(xt, yt)),
                "images": len(yt),
                "measured_with": "scikit-learn",
            }
        with open(os.path.join(args.out, f"{name}.json"), "w") as f:
            json.dump(card, f, indent=2)
            f.write("\n")
        print(name, model.score(x, y), model.score(xt, yt), len(yt))


if __name__ == "__main__":
    main()
