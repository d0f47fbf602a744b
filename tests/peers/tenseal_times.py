"""Times TenSEAL (Microsoft SEAL) on the operations that `cargo run --release -p hec-ckks --example peer` times here.

    pip install tenseal && python tests/peers/tenseal_times.py

One thread. Prints for each parameter set the milliseconds of processor time, the least of 15 runs, of a product of two
encrypted vectors (encoding aside: both are ciphertexts; relinearization and rescaling included, as TenSEAL does them), of
encryption with the public key (encoding included) and of decryption (decoding included), and the precision of a product in
bits.
"""

import math
import random
import time

import tenseal as ts

SETS = [
    ("2^13, 7 x 30 bits", 8192, [30] * 7, 2.0**30),
    ("2^14, 438 bits", 16384, [59] + [40] * 8 + [59], 2.0**40),
    ("2^15, 840 bits", 32768, [60] + [40] * 18 + [60], 2.0**40),
]


def fastest(work, runs):
    times = []
    for _ in range(runs):
        start = time.process_time()
        work()
        times.append(1000 * (time.process_time() - start))
    return min(times)


for name, degree, bits, scale in SETS:
    context = ts.context(ts.SCHEME_TYPE.CKKS, degree, coeff_mod_bit_sizes=bits, n_threads=1)
    context.global_scale = scale
    context.auto_rescale = True
    context.auto_relin = True
    context.auto_mod_switch = True
    values = [random.uniform(-1, 1) for _ in range(degree // 2)]
    a = ts.ckks_vector(context, values)
    b = ts.ckks_vector(context, values)
    product = a * b
    error = max(abs(x - v * v) for x, v in zip(product.decrypt(), values))
    runs = 15
    print(
        f"{name:20} multiply + relinearize + rescale {fastest(lambda: a * b, runs):8.2f} ms"
        f"   encrypt {fastest(lambda: ts.ckks_vector(context, values), runs):8.2f} ms"
        f"   decrypt {fastest(lambda: a.decrypt(), runs):8.2f} ms"
        f"   precision {-math.log2(error):5.1f} bits"
    )
