//! The one test binary: what a user was promised, tested from outside on the built program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on is to fail"
)]

mod docs;
mod language;
mod layers;
mod promises;
mod stores;
mod support;
mod surface;
