//! Times of the kernels.

fn main() {
    divan::main();
}
