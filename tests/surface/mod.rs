//! The surface that users and their scripts rely on: commands, log lines, exit codes.

mod api_3_0;
mod check;
mod clock;
mod closed_descriptors;
mod colours;
mod commands;
mod demo;
mod credentials;
mod events;
mod exec;
mod files;
mod hostile;
mod log;
mod network;
mod operations;
mod output;
mod sdk;
mod signing;
mod sim;
mod storage;
mod systemd;
mod tasks;
mod usage;
mod wait;
mod webhook;
mod wrong;
