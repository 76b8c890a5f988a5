//! The surface that users and their scripts rely on: commands, log lines, exit codes.

mod api_3_0;
mod closed_descriptors;
mod commands;
mod log;
mod network;
mod sdk;
mod signing;
mod systemd;
mod tasks;
mod webhook;
