use super::Unsupported;

impl Unsupported {
    /// The reason of a node that could be computed, were the type of its operands known.
    pub const FOLLOWS: &'static str = "it follows an unsupported operator, so the shape of its operand is unknown";

    /// Whether the operator itself is not to blame, but one before it: such nodes need not be reported.
    pub fn is_consequence(&self) -> bool {
        self.reason == Self::FOLLOWS
    }
}
