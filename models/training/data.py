"""Make models/data from FOLDER: the test images as they are, and 2,048 training images with their labels to calibrate with.

    python models/training/data.py --data FOLDER --out models/data
"""

import argparse
import os
import shutil

import numpy as np

import idx


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    for dataset in idx.DATASETS:
        source, target = os.path.join(args.data, dataset), os.path.join(args.out, dataset)
        os.makedirs(target, exist_ok=True)
        for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
            shutil.copyfile(os.path.join(source, name), os.path.join(target, name))
        images = idx.read(os.path.join(source, "train-images-idx3-ubyte.gz"))
        labels = idx.read(os.path.join(source, "train-labels-idx1-ubyte.gz"))
        order = np.random.RandomState(1).permutation(len(images))
        pick = np.concatenate([np.sort(order[:512]), np.sort(order[512:2048])])
        idx.write(os.path.join(target, "calibration-images-idx3-ubyte.gz"), images[pick])
        idx.write(os.path.join(target, "calibration-labels-idx1-ubyte.gz"), labels[pick])


if __name__ == "__main__":
    main()
