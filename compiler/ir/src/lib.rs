//! The intermediate representation: graphs, their dialects, their text, the program file.

pub mod matrix;
pub mod parameters;
mod scale;

pub use scale::Scale;
