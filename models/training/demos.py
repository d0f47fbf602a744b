"""Train four small networks of other shapes than those in models/, and write them with samples and answers as fixtures.

    python models/training/demos.py --out tests/fixtures/demos

For each NAME: NAME.onnx, NAME.calibration.npz and NAME.test.npz (an array for each input, by its name), what
ONNX Runtime answers to the latter in NAME.OUTPUT.npy for each output, and the classes in NAME.labels.npy. The
handwritten digits (8x8, 1797 of them) are those that scikit-learn ships; the waves are made here.
"""

import argparse
import inspect
import os
import zipfile

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

CALIBRATION, TEST = 256, 128


class Residual(nn.Module):
    """Two residual blocks, batch norm before SiLU, so that an exporter can fold some of the norms and not others."""

    def __init__(self, channels=6):
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, stride=2, padding=1)  # channels x 4 x 4
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(4))
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(3))
        self.silu = nn.SiLU()
        self.pool = nn.AvgPool2d(2)
        self.dense = nn.Linear(channels * 4, 10)

    def forward(self, image):
        x = self.stem(image)
        y = self.convs[0](self.silu(self.norms[0](x)))
        x = x + self.convs[1](self.silu(self.norms[1](y)))
        x = x + self.convs[2](self.silu(self.norms[2](x)))
        return self.dense(torch.flatten(self.pool(self.silu(self.norms[3](x))), 1))


class TwoInputs(nn.Module):
    """A small image, and the ink in each of its quadrants."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, stride=2, padding=1)
        self.tabular = nn.Linear(4, 8)
        self.hidden = nn.Linear(6 * 16 + 8, 24)
        self.dense = nn.Linear(24, 10)

    def forward(self, image, ink):
        x = torch.flatten(F.relu(self.conv(image)), 1)
        x = torch.cat([x, torch.tanh(self.tabular(ink))], 1)
        return self.dense(F.relu(self.hidden(x)))


class TwoOutputs(nn.Module):
    """The digit, and where its ink has its horizontal centre (-1 to 1)."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 32)
        self.digit = nn.Linear(32, 10)
        self.middle = nn.Linear(32, 8)
        self.centre = nn.Linear(8, 1)

    def forward(self, image):
        x = F.relu(self.hidden(torch.flatten(image, 1)))
        return self.digit(x), self.centre(F.gelu(self.middle(x)))


class Waves(nn.Module):
    """Sine, square or sawtooth: a convolutional network in one dimension."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(1, 6, 7, stride=2, padding=3)
        self.conv2 = nn.Conv1d(6, 8, 5, padding=2)
        self.dense = nn.Linear(8 * 4, 3)

    def forward(self, series):
        x = F.max_pool1d(F.relu(self.conv1(series)), 2)
        x = F.avg_pool1d(F.relu(self.conv2(x)), 4)
        return self.dense(torch.flatten(x, 1))


def digits(random):
    data = load_digits()
    order = random.permutation(len(data.target))
    images = (data.images[order] / 16).astype(np.float32)[:, None]
    return images, data.target[order].astype(np.int64)


def ink(images):
    """The mean of each quadrant."""
    return images.reshape(-1, 2, 4, 2, 4).mean((2, 4)).reshape(-1, 4).astype(np.float32)


def centre(images):
    """The horizontal centre of mass."""
    columns = images.sum((1, 2))
    return ((columns * np.linspace(-1, 1, 8)).sum(1) / columns.sum(1)).astype(np.float32)[:, None]


def waves(random, count=2400, length=64, noise=0.25):
    """A period of 12 to 30 samples, any phase, an amplitude of 0.7 to 1.3, and noise."""
    kind = random.integers(0, 3, count)
    time = np.arange(length) / random.uniform(12, 30, (count, 1)) + random.uniform(0, 1, (count, 1))
    sine = np.sin(2 * np.pi * time)
    shapes = np.stack([sine, np.sign(sine), 2 * (time % 1) - 1])[kind, np.arange(count)]
    series = shapes * random.uniform(0.7, 1.3, (count, 1)) + random.normal(0, noise, (count, length))
    return (series / 2).astype(np.float32)[:, None], kind.astype(np.int64)


def fit(net, inputs, loss, epochs, seed, lr=1e-2, batch=64):
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.02)
    count = len(inputs[0])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * (count // batch))
    net.train()
    for _ in range(epochs):
        for pick in torch.randperm(count)[: count // batch * batch].split(batch):
            optimizer.zero_grad()
            loss(net(*(value[pick] for value in inputs)), pick).backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def write(net, names, outputs, sample, path, dynamo):
    """Export; what exporters note about the machine they run on is taken out."""
    settings = dict(input_names=names, output_names=outputs, opset_version=18 if dynamo else 17)
    if dynamo:
        batch = torch.export.Dim("batch")
        settings.update(dynamo=True, dynamic_shapes=tuple({0: batch} for _ in names), verbose=False)
        two = tuple(torch.cat([value, value]) for value in sample)
        torch.onnx.export(net, two, **settings).save(path)
    else:
        settings["dynamic_axes"] = {name: {0: "batch"} for name in (*names, *outputs)}
        extra = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
        torch.onnx.export(net, sample, path, **settings, **extra)
    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output,
                 *model.graph.value_info, *model.graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    onnx.save(model, path)


def save(path, **arrays):
    """A compressed .npz whose bytes depend on the arrays only."""
    np.savez_compressed(path, **arrays)
    with zipfile.ZipFile(path) as old:
        parts = [(name, old.read(name)) for name in old.namelist()]
    with zipfile.ZipFile(path, "w") as new:
        for name, data in parts:
            new.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, 9)


def make(name, net, inputs, labels, outputs, loss, epochs, folder, dynamo):
    """Train on all but the last TEST samples, of which the first CALIBRATION are for calibration."""
    values = [torch.from_numpy(value) for value in inputs.values()]
    cut = len(labels) - TEST
    fit(net, [value[:cut] for value in values], loss, epochs, seed=1)
    path = os.path.join(folder, name + ".onnx")
    write(net, list(inputs), outputs, tuple(value[:1] for value in values), path, dynamo)
    save(os.path.join(folder, name + ".calibration.npz"), **{k: v[:CALIBRATION] for k, v in inputs.items()})
    test = {k: v[cut:] for k, v in inputs.items()}
    save(os.path.join(folder, name + ".test.npz"), **test)
    np.save(os.path.join(folder, name + ".labels.npy"), labels[cut:])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    answers = session.run(outputs, test)
    for output, answer in zip(outputs, answers):
        np.save(os.path.join(folder, f"{name}.{output}.npy"), answer)
    ops = {}
    for node in onnx.load(path).graph.node:
        ops[node.op_type] = ops.get(node.op_type, 0) + 1
    said = ", ".join(op if n == 1 else f"{op} {n}" for op, n in sorted(ops.items()) if op != "Constant")
    right = 100 * (answers[0].argmax(1) == labels[cut:]).mean()
    size = os.path.getsize(path) / 1000
    exporter = "dynamo" if dynamo else "legacy"
    print(f"| `{name}` | {', '.join(inputs)} | {', '.join(outputs)} | {right:.1f} % | {size:.0f} | {exporter} | {said} |")
    return answers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.makedirs(args.out, exist_ok=True)
    images, labels = digits(np.random.default_rng(1))
    classes, centres = torch.from_numpy(labels), torch.from_numpy(centre(images))
    series, kinds = waves(np.random.default_rng(2))
    shapes = torch.from_numpy(kinds)

    def right(outputs, pick):
        return F.cross_entropy(outputs, classes[pick])

    def both(outputs, pick):
        return F.cross_entropy(outputs[0], classes[pick]) + 10 * F.mse_loss(outputs[1], centres[pick])

    print("| model | inputs | outputs | accuracy | kB | exporter | operators |\n|---|---|---|---|---|---|---|")
    torch.manual_seed(1)
    make("residual", Residual(), dict(image=images), labels, ["logits"], right, 30, args.out, False)
    make("two-inputs", TwoInputs(), dict(image=images, ink=ink(images)), labels, ["logits"], right, 30, args.out, True)
    found = make("two-outputs", TwoOutputs(), dict(image=images), labels, ["logits", "centre"], both, 30, args.out, False)
    make("waves", Waves(), dict(series=series), kinds, ["logits"],
         lambda outputs, pick: F.cross_entropy(outputs, shapes[pick]), 30, args.out, True)
    wrong = np.sqrt(np.mean((found[1] - centre(images)[-TEST:]) ** 2))
    print(f"\n`centre` of `two-outputs` is off by {wrong:.3f} (root mean square; the values have a standard deviation of "
          f"{centre(images)[-TEST:].std():.3f}). Accuracies over {TEST} samples that were not trained on.")


if __name__ == "__main__":
    main()
