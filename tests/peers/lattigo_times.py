"""Times Lattigo (in the library that Orion brings) on what `cargo run --release -p hec-ckks --example peer` times here.

    pip install --no-deps orion-fhe==1.0.2 && python tests/peers/lattigo_times.py

One thread. Orion itself, which needs PyTorch, is not imported: its Lattigo 6 is a library of C functions. Prints for each
parameter set the milliseconds of processor time, the least of several runs, of a product (relinearization and rescaling
included), of a rotation, and of a linear map with eight diagonals, none of them the main one: eight rotations of one
ciphertext that share its digits ("hoisted"), eight products with plaintexts, and one division by the special primes. The
library has no call for hoisted rotations alone.
"""

import ctypes
import importlib.util
import os
import pathlib
import random
import time

os.environ["GOMAXPROCS"] = "1"

# Name, log2 of the ring degree, sizes of the chain and of the special primes, log2 of the scale: as in the example.
SETS = [
    ("2^13, 7 x 30 bits", 13, [30] * 6, [30], 30),
    ("2^14, 419 bits", 14, [50] + [40] * 8, [49], 40),
    ("2^15, 866 bits", 15, [50] + [40] * 18, [48] * 2, 40),
    ("2^14, 8 x 50 bits", 14, [50] * 6, [50] * 2, 45),
    ("2^15, 17 x 50 bits", 15, [50] * 13, [50] * 4, 45),
]
RUNS = 12

folder = pathlib.Path(next(iter(importlib.util.find_spec("orion").submodule_search_locations)))
lattigo = ctypes.CDLL(str(folder / "backend" / "lattigo" / "lattigo-linux.so"))


class Array(ctypes.Structure):
    _fields_ = [("data", ctypes.POINTER(ctypes.c_float)), ("length", ctypes.c_ulong)]


lattigo.Decode.restype = Array
lattigo.Encode.argtypes = [ctypes.POINTER(ctypes.c_float), ctypes.c_int, ctypes.c_int, ctypes.c_ulong]


def ints(values):
    return (ctypes.c_int * len(values))(*values), len(values)


def floats(values):
    return (ctypes.c_float * len(values))(*values), len(values)


def fastest(work):
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        result = work()
        times.append(1000 * (time.process_time() - start))
        lattigo.DeleteCiphertext(result)
    return min(times)


for name, log_n, chain, special, scale in SETS:
    lattigo.NewScheme(log_n, *ints(chain), *ints(special), scale, 2 ** (log_n + 1) // 3, b"standard", b"", b"none")
    for step in ["NewKeyGenerator", "GenerateSecretKey", "GeneratePublicKey", "GenerateRelinearizationKey"]:
        getattr(lattigo, step)()
    for step in ["GenerateEvaluationKeys", "NewEncoder", "NewEncryptor", "NewDecryptor", "NewEvaluator"]:
        getattr(lattigo, step)()
    slots, level = 2 ** (log_n - 1), len(chain) - 1
    values = [random.uniform(-1, 1) for _ in range(slots)]
    encrypt = lambda: lattigo.Encrypt(lattigo.Encode(*floats(values), level, 2**scale))
    a, b = encrypt(), encrypt()
    product = lambda: lattigo.Rescale(lattigo.MulRelinCiphertextNew(a, b))
    rotate = lambda: lattigo.RotateNew(a, 1)

    rotated = lattigo.Decode(lattigo.Decrypt(rotate()))
    assert all(abs(rotated.data[i] - values[(i + 1) % slots]) < 1e-3 for i in range(slots))
    squares = lattigo.Decode(lattigo.Decrypt(product()))
    assert all(abs(squares.data[i] - values[i] ** 2) < 1e-2 for i in range(slots))

    steps = list(range(1, 9))
    # A ratio whose logarithm is negative: no giant steps.
    transform = lattigo.GenerateLinearTransform(*ints(steps), *floats([0.5] * (8 * slots)), level, ctypes.c_float(0.1), b"none")
    for step in steps:
        lattigo.GenerateLinearTransformRotationKey(pow(5, step, 2 ** (log_n + 1)))
    lattigo.NewLinearTransformEvaluator()
    # The evaluator of rotations keeps keys of its own.
    map_of_eight = lambda: lattigo.EvaluateLinearTransform(transform, a)
    print(
        f"{name:20} multiply + relinearize + rescale {fastest(product):8.2f} ms   rotate {fastest(rotate):8.2f} ms"
        f"   map of 8 diagonals {fastest(map_of_eight):8.2f} ms",
        flush=True,
    )
    lattigo.DeleteScheme()
