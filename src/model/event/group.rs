//! The event of a group whose tasks have all finished.

use serde::{Deserialize, Serialize};

use super::{Data, Event, IdParts, Kind, segment};
use crate::clock::Wall;

/// The source of what concerns no account.
pub(super) const SOURCE: &str = "opwatch";

/// The outcomes of the tasks of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCounts {
    /// All of it succeeded.
    pub success: u64,
    /// All of it failed.
    pub failure: u64,
    /// Part succeeded, part failed.
    pub partial: u64,
    /// Abandoned.
    pub abandoned: u64,
}

/// A round of a group whose tasks have all finished.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// The group's name.
    pub group: &'a str,
    /// Counted from 1.
    pub round: u32,
    /// The outcomes of its tasks.
    pub counts: GroupCounts,
    /// When its first task was registered.
    pub started_at: Wall,
    /// When its last task ended.
    pub finished_at: Wall,
}

/// The event of a group whose tasks have all finished.
pub fn group(finished: &Finished<'_>, at: Wall) -> Event {
    let Finished { group, round, counts, started_at, finished_at } = *finished;
    let origin = IdParts {
        source: SOURCE.to_owned(),
        subject: format!("group/{}", segment(group)),
        start: started_at,
        sequence: round,
    };
    let data = GroupData {
        group: group.to_owned(),
        round,
        counts,
        started_at: started_at.to_string(),
        finished_at: finished_at.to_string(),
    };
    Event::new(Kind::GroupFinished, at, origin, Data::Group(data))
}

/// The data of a group's event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of the record, as docs/architecture.md §7 names them")]
pub struct GroupData {
    pub group: String,
    pub round: u32,
    pub counts: GroupCounts,
    pub started_at: String,
    pub finished_at: String,
}
