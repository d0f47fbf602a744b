//! How far the kernels are from what the machine's multipliers can do, and where the time of a product goes.
//!
//! A butterfly takes four instructions of the multiplying units, a multiply-add of residues two. The second table replays the
//! kernels of a product with relinearization and rescaling on polynomials of the same sizes in the same order, with a clock
//! between them. One thread, processor time: medians of ratios above, the least of 15 runs below.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "an example")]

use std::hint::black_box;

use hec_ckks::arithmetic::Modulus;
use hec_ckks::kernels::{self, BaseConversion};
use hec_ckks::ntt::NttTable;
use hec_ir::parameters::{PrimeSearch, Ring};
use rustix::time::{ClockId, clock_gettime};

/// Dependent products, and rounds of multiply-adds, that take a few microseconds.
const CHAIN: usize = 5000;
const ROUNDS: usize = 2000;

fn main() {
    let Some((adds, _)) = kernels::fused_multiply_adds(ROUNDS) else {
        println!("no vector instructions");
        return;
    };
    // The clock's rate changes from one moment to the next, so every kernel is timed between the two things it is compared with.
    let compare = |runs: usize, work: &mut dyn FnMut()| {
        let ratios = (0..runs).map(|_| {
            let cycle = time(&mut || {
                let x = (0..CHAIN).fold(black_box(3u64), |x, _| x.wrapping_mul(x));
                black_box(x);
            });
            let took = time(work);
            let peak = time(&mut || {
                black_box(kernels::fused_multiply_adds(ROUNDS));
            });
            (3.0 * CHAIN as f64 * took / cycle, adds as f64 * took / peak)
        });
        let (mut cycles, mut peak): (Vec<f64>, Vec<f64>) = ratios.unzip();
        [&mut cycles, &mut peak].map(|x| {
            x.sort_by(f64::total_cmp);
            x[x.len() / 2]
        })
    };
    let [cycles, _] = compare(1000, &mut || {
        black_box(kernels::fused_multiply_adds(ROUNDS));
    });
    println!(
        "fused multiply-adds of floats per cycle (a third of a dependent integer product): {:.2}",
        adds as f64 / cycles
    );
    let line = |name: &str, items: usize, instructions: f64, work: &mut dyn FnMut()| {
        let [cycles, peak] = compare(1000, work);
        let share = 100.0 * items as f64 * instructions / peak;
        println!("{name:44} {:5.2} per cycle, {share:3.0} % of the limit", items as f64 / cycles);
    };
    for log_n in [13, 14, 15] {
        let q = moduli(log_n, &[50])[0];
        let (table, mut a) = (NttTable::new(q, Ring::standard(log_n)), residues(q, 1 << log_n));
        let butterflies = (log_n as usize) << (log_n - 1);
        line(&format!("butterflies, forward, 2^{log_n}"), butterflies, 4.0, &mut || table.forward(&mut a));
        line(&format!("butterflies, inverse, 2^{log_n}"), butterflies, 4.0, &mut || table.inverse(&mut a));
    }
    for bits in [40, 50] {
        let (n, q) = (1 << 10, moduli(13, &[bits])[0]);
        let x = vec![residues(q, n); 9];
        let terms: Vec<(&[u64], [&[u64]; 2])> = x.iter().map(|x| (&x[..], [&x[..]; 2])).collect();
        let mut sums = [residues(q, n), residues(q, n)];
        let mut work = || kernels::mul_add_many(q, sums.each_mut().map(|x| &mut x[..]), &terms);
        line(&format!("digits times keys, multiply-adds, {bits} bits"), 2 * 9 * n, 2.0, &mut work);
    }
    for from in [2, 4] {
        let all = moduli(13, &[50; 5][..from + 1]);
        let (n, conversion) = (1 << 10, BaseConversion::new(&all[..from], &all[from..]));
        let x: Vec<Vec<u64>> = all[..from].iter().map(|&q| residues(q, n)).collect();
        let x: Vec<&[u64]> = x.iter().map(|x| &x[..]).collect();
        let (quotients, mut out) = (vec![1; n], vec![0; n]);
        let mut work = || conversion.combine(0, &x, &quotients, &mut out);
        line(&format!("change of base from {from} primes, multiply-adds"), (from + 1) * n, 2.0, &mut work);
    }
    println!();
    let chain = |base: u32, limbs: usize| [vec![base], vec![40; limbs]].concat();
    for (name, log_n, moduli, special) in [
        ("2^13, 7 x 30 bits", 13, vec![30; 6], vec![30]),
        ("2^14, 419 bits", 14, chain(50, 8), vec![49]),
        ("2^15, 866 bits", 15, chain(50, 18), vec![48; 2]),
        ("2^14, 8 x 50 bits", 14, vec![50; 6], vec![50; 2]),
        ("2^15, 17 x 50 bits", 15, vec![50; 13], vec![50; 4]),
    ] {
        let product = Product::new(log_n, &moduli, &special);
        let runs = (0..15).map(|_| product.run());
        let phases = runs.min_by(|a, b| a.iter().sum::<f64>().total_cmp(&b.iter().sum())).expect("a run");
        let total: f64 = phases.iter().sum();
        print!("{name:20} {:7.2} ms", 1e-6 * total);
        PHASES.iter().zip(phases).for_each(|(name, time)| print!("   {name} {:4.1} %", 100.0 * time / total));
        println!();
    }
}

const PHASES: [&str; 6] =
    ["products", "inverse NTT", "change of base", "forward NTT", "digits times keys", "quotients"];

struct Product {
    moduli: Vec<Modulus>,
    tables: Vec<NttTable>,
    /// Limbs of the chain.
    chain: usize,
    /// First limb, number of limbs, and the conversion to all others.
    digits: Vec<(usize, usize, BaseConversion)>,
    down: BaseConversion,
    /// By limb, a pair for each digit.
    keys: Vec<Vec<[Vec<u64>; 2]>>,
}

impl Product {
    fn new(log_n: u32, chain: &[u32], special: &[u32]) -> Self {
        let moduli = moduli(log_n, &[chain, special].concat());
        let (alpha, chain) = (special.len(), chain.len());
        let digit = |first: usize| {
            let count = alpha.min(chain - first);
            let others = [&moduli[..first], &moduli[first + count..]].concat();
            (first, count, BaseConversion::new(&moduli[first..first + count], &others))
        };
        let digits: Vec<_> = (0..chain).step_by(alpha).map(digit).collect();
        let limb = |&q: &Modulus| digits.iter().map(|_| [(); 2].map(|()| residues(q, 1 << log_n))).collect();
        let keys = moduli.iter().map(limb).collect();
        let down = BaseConversion::new(&moduli[chain - 1..], &moduli[..chain - 1]);
        let tables = moduli.iter().map(|&q| NttTable::new(q, Ring::standard(log_n))).collect();
        Self { tables, chain, down, keys, digits, moduli }
    }

    /// Nanoseconds of each phase.
    fn run(&self) -> [f64; PHASES.len()] {
        let n = self.tables[0].ring().degree();
        let operand: Vec<Vec<u64>> = self.moduli.iter().map(|&q| residues(q, n)).collect();
        let mut sums: [Vec<Vec<u64>>; 2] = [operand.clone(), operand.clone()];
        let (mut high, mut scaled, mut quotients) =
            (operand.clone(), operand.clone(), vec![vec![1; n]; self.digits.len()]);
        let mut buffers = vec![vec![1; n]; self.digits.len()];
        let mut results = [operand.clone(), operand.clone()];
        let mut times = [0.0; PHASES.len()];
        let mut last = now();
        let mut lap = |phase: usize| {
            let time = now();
            times[phase] += time - std::mem::replace(&mut last, time);
        };
        let [sums0, sums1] = &mut sums;
        for (i, x) in operand.iter().enumerate().take(self.chain) {
            let q = self.moduli[i];
            kernels::tensor_product(q, [&mut sums0[i], &mut sums1[i], &mut high[i]], [x, x], [x, x]);
            [&mut sums0[i], &mut sums1[i]].into_iter().for_each(|sum| kernels::mul_scalar_assign(q, sum, 12_345));
        }
        lap(0);
        for ((first, count, up), quotients) in self.digits.iter().zip(&mut quotients) {
            for i in *first..first + count {
                scaled[i].copy_from_slice(&high[i]);
                self.tables[i].inverse(&mut scaled[i]);
            }
            lap(1);
            let mut limbs: Vec<&mut [u64]> = scaled[*first..first + count].iter_mut().map(|x| &mut x[..]).collect();
            up.scale(&mut limbs, quotients);
            lap(2);
        }
        for (i, (sum0, sum1)) in sums0.iter_mut().zip(sums1).enumerate() {
            for (((first, count, up), quotients), out) in self.digits.iter().zip(&quotients).zip(&mut buffers) {
                if (*first..first + count).contains(&i) {
                    continue;
                }
                let limbs: Vec<&[u64]> = scaled[*first..first + count].iter().map(|x| &x[..]).collect();
                up.combine(if i < *first { i } else { i - count }, &limbs, quotients, out);
                lap(2);
                self.tables[i].forward(out);
                lap(3);
            }
            let terms =
                self.digits.iter().zip(&buffers).zip(&self.keys[i]).map(|(((first, count, _), digit), [b, a])| {
                    let own = (*first..first + count).contains(&i);
                    (if own { &high[i][..] } else { &digit[..] }, [&b[..], &a[..]])
                });
            kernels::mul_add_many(self.moduli[i], [sum0, sum1], &terms.collect::<Vec<_>>());
            lap(4);
        }
        for (sum, result) in sums.iter_mut().zip(&mut results) {
            let (kept, dropped) = sum.split_at_mut(self.chain - 1);
            dropped.iter_mut().zip(&self.tables[self.chain - 1..]).for_each(|(limb, table)| table.inverse(limb));
            lap(1);
            let mut limbs: Vec<&mut [u64]> = dropped.iter_mut().map(|x| &mut x[..]).collect();
            self.down.scale(&mut limbs, &mut quotients[0]);
            let limbs: Vec<&[u64]> = dropped.iter().map(|x| &x[..]).collect();
            lap(2);
            for (i, (out, kept)) in result.iter_mut().zip(kept).enumerate() {
                self.down.combine(i, &limbs, &quotients[0], out);
                lap(2);
                self.tables[i].forward(out);
                lap(3);
                kernels::mul_scalar_sub_assign(self.moduli[i], out, kept, 12_345);
                lap(5);
            }
        }
        black_box(results);
        times
    }
}

fn moduli(log_n: u32, bits: &[u32]) -> Vec<Modulus> {
    let mut search = PrimeSearch::new(log_n);
    bits.iter().map(|&bits| Modulus::new(search.take(bits).expect("a prime of that size"))).collect()
}

fn residues(q: Modulus, n: usize) -> Vec<u64> {
    (1..=n as u64).map(|i| q.reduce(i.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
}

fn time(work: &mut dyn FnMut()) -> f64 {
    let start = now();
    work();
    now() - start
}

/// Nanoseconds that this thread has computed.
fn now() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    1e9 * time.tv_sec as f64 + time.tv_nsec as f64
}
