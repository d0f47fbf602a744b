//! Requests to valgrind's memory checker, which marks every bit as defined or not, follows the marks through all instructions, and reports
//! a branch or an address that depends on an undefined bit. With secrets marked as undefined, those are the leaks (A. Langley,
//! "ctgrind", 2010).

use std::mem::size_of_val;

/// `VALGRIND_RUNNING` and others of `valgrind.h`.
const RUNNING_ON_VALGRIND: usize = 0x1001;
const COUNT_ERRORS: usize = 0x1201;
/// `VG_USERREQ_TOOL_BASE('M', 'C')` of `memcheck.h`.
const MEMCHECK: usize = 0x4d43_0000;
const MAKE_UNDEFINED: usize = MEMCHECK + 1;
const MAKE_DEFINED: usize = MEMCHECK + 2;

/// Asks valgrind; 0 if the program does not run under it.
#[cfg(target_arch = "x86_64")]
fn request(request: usize, address: usize, length: usize) -> usize {
    let arguments: [usize; 6] = [request, address, length, 0, 0, 0];
    let mut result = 0usize;
    // SAFETY: the sequence that `valgrind.h` defines for x86-64: outside valgrind it rotates rdi by 128 bits in all and exchanges rbx
    // with itself, which changes nothing; inside, valgrind reads the six words at rax and writes rdx.
    unsafe {
        std::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") arguments.as_ptr(),
            inout("rdx") result,
            options(nostack),
        );
    }
    result
}

#[cfg(not(target_arch = "x86_64"))]
fn request(_request: usize, _address: usize, _length: usize) -> usize {
    0
}

/// Whether valgrind runs this.
pub fn is_running() -> bool {
    request(RUNNING_ON_VALGRIND, 0, 0) > 0
}

/// How much it has reported so far.
pub fn errors() -> usize {
    request(COUNT_ERRORS, 0, 0)
}

/// From here on nothing may branch on `values`, or compute addresses from them.
pub fn mark_secret<T>(values: &mut [T]) {
    request(MAKE_UNDEFINED, values.as_mut_ptr() as usize, size_of_val(values));
}

/// From here on `values` are public.
pub fn mark_public<T>(values: &[T]) {
    request(MAKE_DEFINED, values.as_ptr() as usize, size_of_val(values));
}
