//! What happens in the demonstration, in order: data, which `show` plays.

/// The servers whose tasks are watched; the first one's task has this id.
pub const FIRST_TASK: u64 = 7001;
/// How many there are: enough to see every kind of end, few enough to read them all.
pub const TASKS: u64 = 8;

/// One thing that happens, and what is waited for then.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// The demonstration says this, and gives time to read it.
    Say(&'static str),
    /// Every task was asked once.
    AllAreAsked,
    /// The cloud answers this status of a server's task from now on, until that is told.
    Becomes(u64, i64),
    /// The cloud's gateway answers everything with 502, until only probes go out.
    GatewayFails,
    /// The cloud answers again, until one of its answers arrived.
    GatewayRecovers,
    /// The cloud knows another secret key from now on, until the account is held.
    KeyIsReplaced,
    /// That key is written into the file that opwatch has its own from, until the account is released.
    KeyIsWritten,
}

/// What the cloud calls the ways in which a task stands (docs/tencent-cloud-api.md §1).
const SUCCESS: i64 = 1;
const FAILURE: i64 = 2;
const PARTIAL: i64 = 3;
/// What a task is before anything of it is done.
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
