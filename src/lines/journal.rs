//! An event as an entry of the systemd journal, over its native protocol
//! (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/).
//!
//! Own datagrams, since tracing-journald puts a prefix before every field but the message, `MESSAGE_ID`
//! included.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::event::{OpenTasks, level, message_id};
use super::line::{Level, cut};
use crate::model::event::Event;

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// The longest wait for room for a datagram: journald may be busy, or stopped.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest value. The first bound is more than any event has; the others follow when the socket refuses a
/// datagram of that size, since a cut entry is better than none.
const VALUE_BYTES: [usize; 4] = [16_384, 1024, 256, 64];

/// The way to the journal.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// To the journal at that socket. Its address is part of every datagram, so a restart of journald needs
    /// no reconnect.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket, path: path.into() })
    }

    /// Whether anyone listens there.
    pub fn reach(&self) -> io::Result<()> {
        UnixDatagram::unbound()?.connect(&self.path)
    }

    /// Hands over one event.
    pub fn send(&self, event: &Event, open: &OpenTasks) -> io::Result<()> {
        let mut sent = Ok(());
        for value_bytes in VALUE_BYTES {
            sent = self.send_datagram(&entry(event, open, value_bytes));
            let is_too_large = sent
                .as_ref()
                .is_err_and(|error| error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()));
            if !is_too_large {
                return sent;
            }
        }
        sent
    }

    fn send_datagram(&self, datagram: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send_to(datagram, &self.path) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(drop),
            }
        }
    }
}

/// The datagram: one field after the other.
fn entry(event: &Event, open: &OpenTasks, value_bytes: usize) -> Vec<u8> {
    let line = open.line(event);
    let mut datagram = Vec::with_capacity(1024);
    put(&mut datagram, "MESSAGE", &cut(&line.message_and_fields(), value_bytes));
    put(&mut datagram, "MESSAGE_ID", &message_id(event.kind).simple().to_string());
    put(&mut datagram, "PRIORITY", priority(level(event.kind, event.outcome())));
    put(&mut datagram, "SYSLOG_IDENTIFIER", "opwatch");
    put(&mut datagram, "OPWATCH_TIME", &event.time.to_string());
    for (key, value) in &line.fields {
        let name = format!("OPWATCH_{}", key.to_ascii_uppercase());
        let bare = value.as_str().map_or_else(|| Value::to_string(value), str::to_owned);
        put(&mut datagram, &name, &cut(&bare, value_bytes));
    }
    datagram
}

/// `NAME=value`, or with a binary length where the value has a line end, which would otherwise begin another
/// field.
fn put(datagram: &mut Vec<u8>, name: &str, value: &str) {
    datagram.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        datagram.push(b'\n');
        datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend_from_slice(value.as_bytes());
    datagram.push(b'\n');
}

/// The level of syslog(3).
fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "3",
        Level::Warn => "4",
        Level::Info => "6",
        Level::Debug | Level::Trace => "7",
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::model::event::{Kind, samples};
    use crate::model::reading::Outcome;
    use crate::model::step::Reason;

    fn journal() -> (tempfile::TempDir, UnixDatagram, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        (folder, journald, Journal::new(path).unwrap())
    }

    fn received(journald: &UnixDatagram) -> String {
        let mut datagram = vec![0; 1 << 20];
        let length = journald.recv(&mut datagram).unwrap();
        String::from_utf8_lossy(&datagram[..length]).into_owned()
    }

    #[test]
    fn an_event_is_one_entry_with_its_fields() {
        let (_folder, journald, journal) = journal();
        journal.send(&samples::success("reinstall rack 7"), &OpenTasks::default()).unwrap();
        let wanted = concat!(
            "MESSAGE=task finished task=1000800001 operation=bm outcome=success status=1 elapsed=723.4 polls=17 name=\"reinstall rack 7\"\n",
            "MESSAGE_ID=053e0b96e04547b7b376602525e0a207\nPRIORITY=6\nSYSLOG_IDENTIFIER=opwatch\n",
            "OPWATCH_TIME=2025-11-24T16:00:00.000Z\nOPWATCH_TASK=1000800001\nOPWATCH_OPERATION=bm\nOPWATCH_OUTCOME=success\n",
            "OPWATCH_STATUS=1\nOPWATCH_ELAPSED=723.4\nOPWATCH_POLLS=17\nOPWATCH_NAME=reinstall rack 7\n",
        );
        assert_eq!(received(&journald), wanted);
    }

    #[test]
    fn a_line_end_in_a_value_begins_no_other_field() {
        let (_folder, journald, journal) = journal();
        journal.send(&samples::success("a\nPRIORITY=0"), &OpenTasks::default()).unwrap();
        let entry = received(&journald);
        assert!(entry.ends_with("OPWATCH_NAME\n\u{c}\0\0\0\0\0\0\0a\nPRIORITY=0\n"), "{entry:?}");
        assert!(entry.starts_with(r"MESSAGE=task finished"), "{entry:?}");
        assert_eq!(entry.matches("\nPRIORITY=").count(), 2, "{entry:?}");
    }

    #[test]
    fn an_entry_too_large_for_the_socket_is_cut_and_not_lost() {
        let (_folder, journald, journal) = journal();
        rustix::net::sockopt::set_socket_send_buffer_size(&journal.socket, 1).unwrap();
        journal.send(&samples::success(&"\u{1}".repeat(2000)), &OpenTasks::default()).unwrap();
        let entry = received(&journald);
        assert!(
            entry.len() < 4608 && entry.contains("OPWATCH_TASK=1000800001\n") && entry.ends_with("…\n"),
            "{entry:?}"
        );
    }

    #[test]
    fn the_priority_matches_what_happened() {
        let priorities = [Outcome::Success, Outcome::Partial, Outcome::Failure]
            .map(|outcome| priority(level(Kind::Finished, Some(outcome))));
        assert_eq!(priorities, ["6", "4", "3"]);
        assert_eq!(priority(level(Kind::Abandoned, None)), "4");
    }

    #[test]
    fn a_journal_that_is_away_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("none")).unwrap();
        let event = samples::task(Kind::Abandoned, "x", |data| data.reason = Some(Reason::Deadline));
        assert_eq!(journal.send(&event, &OpenTasks::default()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
