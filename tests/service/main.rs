//! The service with real processes: `hec serve`, `hec query`, and what can go wrong between them.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

#[path = "../common/mod.rs"]
mod common;

mod crowd;
mod faults;
mod harness;
mod messages;
mod proxy;
mod transport;
