//! The event of a group: its last task is over.

use serde::Serialize;

use super::{Event, Kind, derived_id, record, segment};
use crate::clock::Wall;

/// The source of what concerns no account.
pub(super) const SOURCE: &str = "opwatch";

/// What the tasks of a round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of it succeeded.
    pub success: u64,
    /// All of it failed.
    pub failure: u64,
    /// Part succeeded, part failed.
    pub partial: u64,
    /// Given up.
    pub abandoned: u64,
}

/// A round of a group whose tasks are all over.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// The group's name.
    pub group: &'a str,
    /// Counted from 1.
    pub round: u32,
    /// What its tasks came to.
    pub counts: Counts,
    /// When its first task was registered.
    pub started_at: Wall,
    /// When its last task ended.
    pub finished_at: Wall,
}

/// The last task of a group is over.
pub fn group(finished: &Finished<'_>, at: Wall) -> Event {
    let Finished { group, round, counts, started_at, finished_at } = *finished;
    let subject = format!("group/{}", segment(group));
    let data = Data {
        group,
        round,
        counts,
        started_at: started_at.to_string(),
        finished_at: finished_at.to_string(),
    };
    let id = derived_id(SOURCE, &subject, started_at, Kind::GroupFinished, round, at);
    Event {
        id,
        kind: Kind::GroupFinished,
        time: at,
        body: record(id, SOURCE, Kind::GroupFinished, &subject, at, data),
    }
}

#[derive(Serialize)]
struct Data<'a> {
    group: &'a str,
    round: u32,
    counts: Counts,
    started_at: String,
    finished_at: String,
}
