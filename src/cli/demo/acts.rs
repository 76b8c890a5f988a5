//! The steps of the demonstration, in order: data for `show`.

/// The id of the first server's task; the others follow.
pub const FIRST_TASK: u64 = 7001;
/// The number of simulated tasks: enough to show each outcome, few enough to read all lines.
pub const TASKS: u64 = 8;

/// One step, and the condition that ends it.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Prints this text, with time to read it.
    Say(&'static str),
    /// Until every task was polled once.
    AllArePolled,
    /// The cloud returns this status for a server's task, until its event.
    Becomes(u64, i64),
    /// The cloud's gateway returns 502 for everything, until only probes are sent.
    GatewayFails,
    /// The cloud recovers, until one of its responses arrived.
    GatewayRecovers,
    /// The cloud accepts another SecretKey from now on, until the account is on hold.
    KeyIsReplaced,
    /// Writes that key into the key file of opwatch, until the account is released.
    KeyIsWritten,
}

/// Statuses of a task (docs/tencent-cloud-api.md §1).
const SUCCESS: i64 = 1;
const FAILURE: i64 = 2;
const PARTIAL: i64 = 3;
/// The status before any instance has finished.
pub const RUNNING: i64 = 4;
const PARTLY_DONE: i64 = 5;

/// The whole demonstration.
pub const ACTS: &[Act] = &[
    Act::AllArePolled,
    Act::Say(
        "Every task was polled, and all of them are running. Now the first ones end. Each end is logged once, in one line:",
    ),
    Act::Becomes(1, SUCCESS),
    Act::Becomes(2, PARTLY_DONE),
    Act::Becomes(2, SUCCESS),
    Act::Say("A fault: the gateway of the cloud fails, and returns HTTP 502 for every poll."),
    Act::GatewayFails,
    Act::Say(
        "No task is lost, and no wrong end is reported: polls back off, and the circuit breaker allows only single probes. \
         Now the gateway recovers:",
    ),
    Act::GatewayRecovers,
    Act::Becomes(3, SUCCESS),
    Act::Say(
        "A wrong setting: the SecretKey was replaced in the cloud, and opwatch still signs with the old one.",
    ),
    Act::KeyIsReplaced,
    Act::Say(
        "This is an error, since a person must act. The account is on hold: no task is abandoned, and probes are sent at long intervals. You would now write \
         the new key into your secret_key_file. The demo does so, and a changed file is tried at once:",
    ),
    Act::KeyIsWritten,
    Act::Say("Polling continues. Not every task succeeds:"),
    Act::Becomes(4, FAILURE),
    Act::Becomes(5, PARTIAL),
    Act::Becomes(6, SUCCESS),
    Act::Becomes(7, SUCCESS),
    Act::Becomes(8, SUCCESS),
];
