//! The `hec` binary, from the outside.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

#[path = "../common/mod.rs"]
mod common;

mod bad_models;
mod bad_programs;
mod bench;
mod compile;
mod data;
mod encrypted;
mod explain;
mod inspect;
mod killed;
mod precision;
mod process;
mod resumed;
mod roles;
mod same_bytes;
mod share;
mod verify;
