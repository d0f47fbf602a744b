//! The table of operators, as the documentation has it.

use std::fmt::Write;

use crate::model::OPSETS;
use crate::ops::{Kind, OPERATORS};

impl Kind {
    const ALL: [(Self, &'static str, &'static str); 6] = [
        (Self::Linear, "linear", "sums with known weights: encrypted"),
        (Self::Moves, "moves", "elements go to other places: encrypted, at no cost"),
        (Self::Product, "product", "products of encrypted values: encrypted, one level each"),
        (
            Self::Function,
            "function",
            "functions of each element that are no polynomials, beside sums and products: on encrypted data a polynomial \
             has to stand in for them",
        ),
        (Self::Choice, "choice", "comparisons of values: on constants, or with the plain backend"),
        (Self::Known, "known", "computed during the import"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, _)| name)
    }
}

/// `docs/operators.md`: every operator that can be imported.
pub fn operators_page() -> String {
    let (first, last) = (OPSETS.start(), OPSETS.end());
    let mut page = format!(
        "# Operators\n\n\
         The operators that are read, in versions {first} to {last} of ONNX's operator set; `ai.onnx.ml` in any version. A test \
         holds this page equal to the table in `compiler/onnx/src/ops/mod.rs`. Shapes, axes and indices must be known, except \
         where the table says otherwise. The plain backend runs all of them.\n\n\
         | kind | meaning |\n|---|---|\n"
    );
    // Writing to a String does not fail.
    for (_, name, meaning) in Kind::ALL {
        let _ = writeln!(page, "| {name} | {meaning} |");
    }
    page.push_str("\n| operator | kind | notes |\n|---|---|---|\n");
    for (domain, name, _, kind, notes) in OPERATORS {
        let dot = if domain.is_empty() { "" } else { "." };
        let _ = writeln!(page, "| {domain}{dot}{name} | {} | {notes} |", kind.name());
    }
    page
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operators.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, super::operators_page()).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == super::operators_page(),
            "docs/operators.md is not the table: run the test with UPDATE_DOCS=1"
        );
    }
}
