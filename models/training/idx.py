"""Gzip IDX files (the format of MNIST and Fashion-MNIST) to and from numpy arrays."""

import gzip
import struct

import numpy as np

DATASETS = {
    "mnist": [str(d) for d in range(10)],
    "fashion-mnist": [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ],
}


def read(path):
    """The uint8 array in a gzip IDX file."""
    with gzip.open(path, "rb") as f:
        data = f.read()
    zero, kind, rank = struct.unpack(">HBB", data[:4])
    if zero != 0 or kind != 8:
        raise ValueError(f"{path}: not an IDX file of unsigned bytes")
    shape = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def write(path, array):
    """Write a uint8 array; the same array gives the same bytes (gzip time stamp 0, no file name)."""
    array = np.ascontiguousarray(array, np.uint8)
    data = struct.pack(">HBB", 0, 8, array.ndim)
    data += struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    with open(path, "wb") as raw:
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=9, mtime=0) as f:
            f.write(data)


def pixels(images):
    """uint8 [N,28,28] -> float32 [N,1,28,28] in [0,1], the input of every model here."""
    return (images.astype(np.float32) * np.float32(1 / 255))[:, None]
