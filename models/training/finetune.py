"""Fine-tune a committed classical network until polynomials do in place of ReLU and max pooling, and export it.

    python models/training/finetune.py --data FOLDER --dataset mnist --model models/classical-mnist.onnx --out models/

The weights to start with are read from the ONNX file. FOLDER and the held-out images are as for train.py.
"""

import argparse
import json
import os
import time

import numpy as np
import onnx
import torch
from torch import nn

import idx
from nets import Classical, folded
from polynomial import export, finetune, sites, swap
from train import accuracy, augmented

# The settings that the committed models were made with; an option on the command line overrides one.
RECIPES = {
    "mnist": dict(augment=0.7),
    "fashion-mnist": dict(augment=0.35, stage_epochs=0, epochs=5, lr=4e-3, dropout=0.0),
}


def original(path, dropout=0.2):
    """The network in an ONNX file, batch norms folded as they are there."""
    net = folded(Classical())
    model = onnx.load(path)
    weights = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    net.load_state_dict({name: torch.tensor(weights[name]) for name in net.state_dict()})
    net.dropout = nn.Dropout(dropout)
    return net


def command(args):
    """The command line of this run with every setting spelled out, folders by what they hold."""
    model = "models/" + os.path.basename(args.model)
    said = dict(vars(args), data="DATA", out="models", model=model, work=None, threads=1)
    words = [f"--{k.replace('_', '-')} {v}" for k, v in said.items() if v is not None]
    return "python models/training/finetune.py " + " ".join(words)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--dataset", choices=sorted(idx.DATASETS), required=True)
    parser.add_argument("--model", required=True, help="a classical-DATASET.onnx")
    parser.add_argument("--out", required=True, help="folder for finetuned-DATASET.onnx")
    parser.add_argument("--work", help="folder for the weights (.pt) and the training summary; default: --out")
    parser.add_argument("--degree", type=int, default=2)
    parser.add_argument("--per", choices=["channel", "layer"], default="channel")
    parser.add_argument("--pool", choices=["average", "conv"], default="conv")
    parser.add_argument("--stage-epochs", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--holdout", type=int, default=5000)
    parser.add_argument("--augment", type=float)
    parser.add_argument("--distill", type=float, default=0.5)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--penalty", type=float, default=0.5)
    parser.add_argument("--weight-decay", type=float, default=0.02)
    parser.add_argument("--average", type=float, default=0.998)
    parser.add_argument("--threads", type=int, default=1)
    given, _ = parser.parse_known_args()
    parser.set_defaults(**RECIPES[given.dataset])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    work = args.work or args.out
    os.makedirs(work, exist_ok=True)
    name = f"finetuned-{args.dataset}"

    folder = os.path.join(args.data, args.dataset)
    x = torch.from_numpy(idx.pixels(idx.read(os.path.join(folder, "train-images-idx3-ubyte.gz"))))
    y = torch.from_numpy(idx.read(os.path.join(folder, "train-labels-idx1-ubyte.gz")).astype(np.int64))
    cut = len(y) - args.holdout
    held_x, held_y, x, y = x[cut:], y[cut:], x[:cut], y[:cut]

    teacher = original(args.model, args.dropout).to(memory_format=torch.channels_last).eval()
    samples = x[torch.randperm(len(x))[:512]].contiguous(memory_format=torch.channels_last)
    net = swap(teacher, samples, degree=args.degree, per=args.per, pool=args.pool, replaced=args.stage_epochs == 0)
    net = net.to(memory_format=torch.channels_last)
    print(json.dumps(dict(original_held_out=accuracy(teacher, held_x, held_y), sites=len(sites(net)))))

    def epoch():
        for pick in torch.randperm(len(y))[: len(y) // args.batch * args.batch].split(args.batch):
            bx = augmented(x[pick], args.dataset, args.augment, 0.0)
            yield bx.contiguous(memory_format=torch.channels_last), y[pick]

    clock = [time.time()]

    def after(line, net, mean):
        line["held_out"], line["held_out_average"] = accuracy(net, held_x, held_y), accuracy(mean, held_x, held_y)
        line["seconds"], clock[0] = round(time.time() - clock[0], 1), time.time()
        print(json.dumps(line), flush=True)

    best = finetune(
        net, epoch, args.epochs, samples=samples, stage_epochs=args.stage_epochs, teacher=teacher,
        distill=args.distill, lr=args.lr, weight_decay=args.weight_decay, penalty=args.penalty, average=args.average,
        steps_per_epoch=len(y) // args.batch, after=after,
    )
    weights = "moving average"
    if accuracy(net, held_x, held_y) > accuracy(best, held_x, held_y):
        best, weights = net, "last step"
    summary = dict(
        epochs=args.epochs + args.stage_epochs * (len(sites(net)) - 1), seed=args.seed, holdout=args.holdout,
        held_out_accuracy=accuracy(best, held_x, held_y), weights=weights, command=command(args),
        torch=torch.__version__,
    )
    torch.save(best.state_dict(), os.path.join(work, name + ".pt"))
    with open(os.path.join(work, name + ".training.json"), "w") as f:
        json.dump(summary, f, indent=1)
    print(json.dumps(summary))
    best = best.to(memory_format=torch.contiguous_format)
    export(
        best, torch.zeros(1, 1, 28, 28), os.path.join(args.out, name + ".onnx"),
        input_names=["image"], output_names=["logits"],
    )


if __name__ == "__main__":
    main()
