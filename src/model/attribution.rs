//! Attribution of a fault: the scope that it counts against, and the consequence for its task.
//!
//! The class of a fault follows from its code (`cloud/codes`). The attribution adds the knowledge of the
//! board: evidence of equal refusals, exceptions, probes. Every consequence of a fault follows from the
//! attribution alone.

use super::reading::Class;
use super::waiting::Waiting;

/// The scope of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// Nothing: a reused connection closed before the first byte of a response. The poll is sent again at once.
    Nothing,
    /// The clock or a nonce: sent again at once the first time, then with backoff.
    Clock,
    /// The task: its id was refused, which counts towards its rejection.
    Task,
    /// The task alone, although its refusal looks like that of a setting. It is polled with backoff and never
    /// rejected.
    TaskAlone,
    /// The credentials: the account goes on hold.
    Account,
    /// A setting, or a missing permission: the pace key goes on hold.
    PaceKey,
    /// As [`Attribution::PaceKey`], shown by several ids that were refused alike.
    RefusedAlike,
    /// The rate limit of the pace key.
    Throttled,
    /// The rate limit of the account, over all its pace keys.
    AccountThrottled,
    /// The service or the network.
    Service,
}

impl Attribution {
    /// The attribution that follows from the class of a fault and its task alone.
    pub fn of(class: Class, task: &Waiting) -> Self {
        match class {
            Class::Connection if !task.lost_connection => Self::Nothing,
            Class::Connection | Class::Service => Self::Service,
            Class::Clock => Self::Clock,
            Class::Task => Self::Task,
            Class::Account => Self::Account,
            Class::PaceKey => Self::PaceKey,
            Class::Throttled => Self::Throttled,
            Class::AccountThrottled => Self::AccountThrottled,
        }
    }
}
