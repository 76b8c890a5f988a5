//! The steps of the demonstration, in order: data for `show`.

/// The id of the first server's task; the others follow.
pub const FIRST_TASK: u64 = 7001;
/// The number of servers: enough for every kind of end, few enough to read all.
pub const TASKS: u64 = 8;

/// One step, and the condition that ends it.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Prints this text, with time to read it.
    Say(&'static str),
    /// Until every task was polled once.
    AllAreAsked,
    /// The cloud returns this status for a server's task, until its event.
    Becomes(u64, i64),
    /// The cloud's gateway returns 502 for everything, until only probes are sent.
    GatewayFails,
    /// The cloud recovers, until one of its responses arrived.
    GatewayRecovers,
    /// The cloud knows another secret key from now on, until the account is held.
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
    Act::AllAreAsked,
    Act::Say(
        "Every task was asked, and all of them are running. Now the first ones end. Each end is told once, in one line:",
    ),
    Act::Becomes(1, SUCCESS),
    Act::Becomes(2, PARTLY_DONE),
    Act::Becomes(2, SUCCESS),
    Act::Say("A fault: the cloud's gateway breaks, and answers every poll with HTTP 502."),
    Act::GatewayFails,
    Act::Say(
        "Nothing is lost, and nothing wrong is told: polls back off, and a breaker lets only single probes out, not a herd. \
         Now the gateway recovers:",
    ),
    Act::GatewayRecovers,
    Act::Becomes(3, SUCCESS),
    Act::Say(
        "A mistake: somebody replaces the secret key in the cloud, and opwatch still signs with the one before.",
    ),
    Act::KeyIsReplaced,
    Act::Say(
        "That is loud, since a person must act. The account is held: no task is given up, and only rare probes go out. You would now write \
         the new key into your secret_key_file. So does the demo, and a changed file is tried at once:",
    ),
    Act::KeyIsWritten,
    Act::Say("And it goes on from where it was. Not every task ends well:"),
    Act::Becomes(4, FAILURE),
    Act::Becomes(5, PARTIAL),
    Act::Becomes(6, SUCCESS),
    Act::Becomes(7, SUCCESS),
    Act::Becomes(8, SUCCESS),
];
