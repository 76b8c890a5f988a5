//! The surface that users and their scripts rely on: commands, log lines, exit codes.

mod closed_descriptors;
mod commands;
mod log;
mod signing;
mod systemd;
mod tasks;
