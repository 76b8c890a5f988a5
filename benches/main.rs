//! `cargo bench`: the cost of a poll and of a waiting task, as ratios in one run, since absolute times depend
//! on the machine.
//!
//! The daemon is measured from outside, as the process that users run, against a local responder in a process
//! of its own. Its twin is a bare loop that does what a poll cannot do without: sign, GET, read, parse.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement that cannot go on is to fail, and measures time itself"
)]

mod accounts;
mod allocations;
mod bare;
mod loading;
mod polls;
mod process;
mod responder;
mod row;
mod sinks;

#[global_allocator]
static ALLOCATIONS: allocations::Counting = allocations::Counting;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    allocations::publish();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match *words {
        // Roles of the processes that a measurement starts.
        ["answer"] => responder::run(None),
        ["answer", folder] => responder::run(Some(folder)),
        ["bare", url, rate] => bare::run(url, rate.parse().expect("a rate"), None),
        ["bare", url, rate, ca] => bare::run(url, rate.parse().expect("a rate"), Some(ca)),
        ["bare-webhook", address, events] => sinks::run_webhook(address, events),
        ["bare-file", path, events] => sinks::run_file(path, events),
        ["bare-toml", path] => loading::run_toml(path),
        ["bare-lines", path] => loading::run_lines(path),
        ["run", "-c", _] => allocations::run_daemon(),
        // Single measurements.
        ["tiny"] => row::tiny(polls::saturation),
        ["sinks"] => sinks::measure(),
        ["loading"] => loading::measure(),
        ["keys"] => polls::pace_keys(),
        ["saturation"] => polls::saturation(row::Effort::FULL),
        ["first"] => polls::first_responses(),
        ["accounts"] => accounts::measure(),
        ["allocations"] => allocations::measure(),
        ["polls"] => polls::measure(),
        _ => {
            polls::measure();
            polls::saturation(row::Effort::FULL);
            polls::first_responses();
            polls::pace_keys();
            allocations::measure();
            accounts::measure();
            sinks::measure();
            loading::measure();
        }
    }
}
