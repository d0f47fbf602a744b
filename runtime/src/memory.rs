//! How much memory a run took.

/// The largest resident size that this process has had, in bytes; `None` where the system does not say (other than Linux).
pub fn peak_resident_bytes() -> Option<u64> {
    peak(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// The memory that a program could still take without swapping, in bytes; `None` where the system does not say.
pub fn available_bytes() -> Option<u64> {
    field(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

fn peak(status: &str) -> Option<u64> {
    field(status, "VmHWM:")
}

/// A line `NAME: number kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_the_high_water_mark() {
        assert_eq!(super::peak("VmPeak:\t  9 kB\nVmHWM:\t  2048 kB\nVmRSS:\t 7 kB\n"), Some(2 << 20));
        assert_eq!(super::peak("VmRSS:\t 7 kB\n"), None);
    }
}
