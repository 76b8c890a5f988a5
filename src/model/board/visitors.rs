//! Slots of a pace key for other programs that share it: they poll by themselves, within the rate of this board.

use std::time::Duration;

use super::agenda::AgendaEntry;
use super::{Board, KeyIndex};
use crate::clock::Steady;

/// The next look at a pace key of which only probes leave.
const CLOSED: Duration = Duration::from_secs(1);

impl Board {
    /// Another program waits for a slot of that pace key.
    pub fn add_visitor(&mut self, key: KeyIndex) {
        self.keys[key.0].visitors += 1;
        self.agenda.arm(AgendaEntry::Visitor(key.0), self.keys[key.0].gate.pace.next());
    }

    /// The pace keys whose slot another program uses now, one entry for each slot.
    pub fn take_granted(&mut self) -> Vec<KeyIndex> {
        std::mem::take(&mut self.granted)
    }

    /// The slot of a pace key is due: another program uses it, unless a task of this board takes its turn.
    pub(super) fn admit_visitor(&mut self, key: KeyIndex, now: Steady) {
        let tasks = self.keys[key.0].shares.iter().map(|share| &self.shares[*share]);
        let (mut has_tasks, mut has_due) = (false, false);
        for share in tasks {
            has_tasks |= share.tasks > share.paused;
            has_due |= share.queue.next().is_some_and(|due| due <= now);
        }
        let on = &mut self.keys[key.0];
        if on.visitors == 0 {
            return;
        }
        // Without a task nothing is probed, and the other program sees for itself.
        let is_closed = on.gate.probes().is_some() && has_tasks;
        let next = on.gate.pace.next();
        let wait = if is_closed {
            Some(now + CLOSED)
        } else if next > now {
            Some(next)
        } else if on.was_visitor && has_due {
            // The next slot after that of the task.
            Some(now + on.gate.pace.spacing(now))
        } else {
            None
        };
        if wait.is_none() {
            on.gate.pace.take(now);
            on.was_visitor = true;
            on.visitors -= 1;
            self.granted.push(key);
        }
        let on = &self.keys[key.0];
        if on.visitors > 0 {
            let next = wait.unwrap_or(on.gate.pace.next()).max(on.gate.pace.next());
            self.agenda.arm(AgendaEntry::Visitor(key.0), next);
        }
    }
}
