"""Train one of the networks of nets.py and export it to ONNX.

    python models/training/train.py --data FOLDER --dataset mnist --model cryptonets --out models/

FOLDER has mnist/ and fashion-mnist/ with the four gzip IDX files of each. The last --holdout
images of the training set are never trained on: recipes and weights (raw or averaged) are chosen
by the accuracy on them. The test set is read only by evaluate.py.
"""

import argparse
import copy
import json
import math
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

import idx
from export import export
from nets import NETS

# The settings that the committed models were made with; an option on the command line overrides one.
RECIPES = {
    ("mnist", "cryptonets"): dict(epochs=25, augment=0.4, wall=6.0),
    ("mnist", "classical"): dict(epochs=12, augment=0.7, wall=4.0),
    ("fashion-mnist", "cryptonets"): dict(epochs=30, augment=0.35, mirror=0.0, wall=6.0),
    ("fashion-mnist", "classical"): dict(epochs=12, augment=0.5, mirror=0.0, wall=6.0, lr=4e-3),
    ("fashion-mnist", "mobilenet"): dict(epochs=4, augment=0.2, mirror=0.0, lr=1e-2),
}


def augmented(x, dataset, strength, mirror):
    """Small random changes of a batch, the same kind for every image but drawn for each."""
    n = x.shape[0]
    if dataset == "mnist":
        turn = (torch.rand(n) * 2 - 1) * math.radians(12) * strength
        scale = 1 + (torch.rand(n, 2) * 2 - 1) * 0.12 * strength
        shear = (torch.rand(n) * 2 - 1) * 0.15 * strength
        shift = (torch.rand(n, 2) * 2 - 1) * (2 / 14) * strength
        cos, sin = torch.cos(turn), torch.sin(turn)
    else:
        flip = 1 - 2 * (torch.rand(n) < mirror).float()
        scale = 1 + (torch.rand(n, 2) * 2 - 1) * 0.06 * strength
        scale[:, 0] *= flip
        shear = torch.zeros(n)
        shift = (torch.rand(n, 2) * 2 - 1) * (1.5 / 14) * strength
        cos, sin = torch.ones(n), torch.zeros(n)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = cos * scale[:, 0]
    theta[:, 0, 1] = (shear - sin) * scale[:, 1]
    theta[:, 1, 0] = sin * scale[:, 0]
    theta[:, 1, 1] = cos * scale[:, 1]
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def command(args):
    """The command line of this run with every setting spelled out, folders by what they hold."""
    said = dict(vars(args), data="DATA", out="models", work=None, threads=1)
    words = [f"--{k.replace('_', '-')} {v}" for k, v in said.items() if v is not None]
    return "python models/training/train.py " + " ".join(words)


def accuracy(net, x, y):
    net.eval()
    with torch.no_grad():
        hits = sum((net(a).argmax(1) == b).sum().item() for a, b in zip(x.split(1000), y.split(1000)))
    return hits / len(y)


def train(args, log):
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    folder = os.path.join(args.data, args.dataset)
    x = torch.from_numpy(idx.pixels(idx.read(os.path.join(folder, "train-images-idx3-ubyte.gz"))))
    y = torch.from_numpy(idx.read(os.path.join(folder, "train-labels-idx1-ubyte.gz")).astype(np.int64))
    cut = len(y) - args.holdout
    held_x, held_y, x, y = x[cut:], y[cut:], x[:cut], y[:cut]

    net = NETS[args.model]()
    layout = torch.contiguous_format if args.model == "cryptonets" else torch.channels_last  # the faster
    net = net.to(memory_format=layout)
    average = copy.deepcopy(net)
    decay = [p for p in net.parameters() if p.ndim > 1]
    rest = [p for p in net.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": args.weight_decay}, {"params": rest, "weight_decay": 0.0}], lr=args.lr
    )
    steps = args.epochs * (len(y) // args.batch)
    warm = min(500, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda s: (s + 1) / warm if s < warm else 0.5 * (1 + math.cos(math.pi * (s - warm) / (steps - warm))),
    )
    step = 0
    history = []
    for epoch in range(args.epochs):
        start = time.time()
        net.train()
        total = 0.0
        for pick in torch.randperm(len(y))[: len(y) // args.batch * args.batch].split(args.batch):
            bx, by = augmented(x[pick], args.dataset, args.augment, args.mirror), y[pick]
            bx = bx.contiguous(memory_format=layout)
            logits, pre = net.features(bx)
            loss = F.cross_entropy(logits, by, label_smoothing=args.smoothing)
            # Encrypted arithmetic works in a fixed range, so large values cost precision:
            # a soft wall before the non-linear layers and at the logits.
            penalty = sum(F.relu(p.abs() - args.wall).square().mean() for p in pre)
            penalty = penalty + 0.05 * F.relu(logits.abs() - 15).square().mean()
            total += loss.item()
            optimizer.zero_grad()
            (loss + args.penalty * penalty).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            step += 1
            keep = min(args.average, (1 + step) / (10 + step))
            with torch.no_grad():
                for a, b in zip(average.state_dict().values(), net.state_dict().values()):
                    if a.dtype.is_floating_point:
                        a.lerp_(b, 1 - keep)
                    else:
                        a.copy_(b)
        row = dict(
            epoch=epoch + 1,
            loss=round(total * args.batch / len(y), 4),
            held_out=accuracy(net, held_x, held_y),
            held_out_average=accuracy(average, held_x, held_y),
            seconds=round(time.time() - start, 1),
        )
        history.append(row)
        print(json.dumps(row), file=log, flush=True)
    best = average if history[-1]["held_out_average"] >= history[-1]["held_out"] else net
    return best, dict(
        epochs=args.epochs,
        seed=args.seed,
        holdout=args.holdout,
        held_out_accuracy=accuracy(best, held_x, held_y),
        weights="moving average" if best is average else "last step",
        command=command(args),
        torch=torch.__version__,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--dataset", choices=sorted(idx.DATASETS), required=True)
    parser.add_argument("--model", choices=sorted(NETS), required=True)
    parser.add_argument("--out", required=True, help="folder for MODEL-DATASET.onnx")
    parser.add_argument("--work", help="folder for the weights (.pt) and the training summary; default: --out")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--holdout", type=int, default=5000)
    parser.add_argument("--augment", type=float, default=1.0)
    parser.add_argument("--mirror", type=float, default=0.5, help="how many Fashion-MNIST images to mirror")
    parser.add_argument("--smoothing", type=float, default=0.05)
    parser.add_argument("--weight-decay", type=float, default=0.02)
    parser.add_argument("--penalty", type=float, default=0.2)
    parser.add_argument("--wall", type=float, default=4.0)
    parser.add_argument("--average", type=float, default=0.998)
    parser.add_argument("--threads", type=int, default=1)
    given, _ = parser.parse_known_args()
    parser.set_defaults(**RECIPES[given.dataset, given.model])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    work = args.work or args.out
    os.makedirs(work, exist_ok=True)
    name = f"{args.model}-{args.dataset}"
    net, summary = train(args, sys.stdout)
    torch.save(net.state_dict(), os.path.join(work, name + ".pt"))
    with open(os.path.join(work, name + ".training.json"), "w") as f:
        json.dump(summary, f, indent=1)
    print(json.dumps(summary))
    export(net, os.path.join(args.out, name + ".onnx"))


if __name__ == "__main__":
    main()
