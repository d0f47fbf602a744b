/// Security level in bits, classical attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Security {
    /// 128 bits.
    Bits128,
    /// 192 bits.
    Bits192,
    /// 256 bits.
    Bits256,
}

impl Security {
    /// All levels, weakest first.
    pub const ALL: [Self; 3] = [Self::Bits128, Self::Bits192, Self::Bits256];

    /// 128, 192 or 256.
    pub fn bits(self) -> u32 {
        match self {
            Self::Bits128 => 128,
            Self::Bits192 => 192,
            Self::Bits256 => 256,
        }
    }

    /// The level of that many bits.
    pub fn from_bits(bits: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.bits() == bits)
    }
}

/// Standard deviation of the error distribution (discrete Gaussian).
pub const ERROR_STD: f64 = 3.19;

/// Smallest log2 of a ring degree with an entry in the table.
pub const MIN_LOG_N: u32 = 10;
/// Largest log2 of a ring degree with an entry in the table.
pub const MAX_LOG_N: u32 = 17;

/// Where the bounds come from.
pub const TABLE_NAME: &str = "Bossuat et al., eprint 2024/463, table 5.2: ternary secret, classical";

const ROWS: usize = (MAX_LOG_N - MIN_LOG_N + 1) as usize;
const BOUNDS: [(Security, [Option<u32>; ROWS]); 3] = [
    (Security::Bits128, [Some(26), Some(53), Some(106), Some(214), Some(430), Some(868), Some(1747), Some(3523)]),
    (Security::Bits192, [None, Some(36), Some(73), Some(147), Some(297), Some(597), Some(1199), Some(2411)]),
    (Security::Bits256, [None, Some(27), Some(56), Some(114), Some(230), Some(462), Some(929), Some(1866)]),
];

/// The largest log2(QP) that reaches `security` at ring degree `2^log_n`, for a dense ternary secret and errors of
/// [`ERROR_STD`]; `None` where the table has no entry.
pub fn max_log_qp(security: Security, log_n: u32) -> Option<u32> {
    let row = usize::try_from(log_n.checked_sub(MIN_LOG_N)?).ok()?;
    BOUNDS.iter().find(|(level, _)| *level == security)?.1.get(row).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_the_published_one() {
        assert_eq!(max_log_qp(Security::Bits128, 13), Some(214));
        assert_eq!(max_log_qp(Security::Bits192, 14), Some(297));
        assert_eq!(max_log_qp(Security::Bits256, 17), Some(1866));
        assert_eq!(max_log_qp(Security::Bits192, 10), None);
        assert_eq!(max_log_qp(Security::Bits128, 9), None);
        assert_eq!(max_log_qp(Security::Bits128, 18), None);
    }

    #[test]
    fn a_higher_level_or_a_smaller_ring_allows_less() {
        for log_n in MIN_LOG_N..=MAX_LOG_N {
            let row: Vec<_> = Security::ALL.iter().filter_map(|&s| max_log_qp(s, log_n)).collect();
            assert!(row.windows(2).all(|w| w[0] > w[1]), "{row:?}");
            for security in Security::ALL {
                assert!(max_log_qp(security, log_n) < max_log_qp(security, log_n + 1) || log_n == MAX_LOG_N);
            }
        }
    }
}
