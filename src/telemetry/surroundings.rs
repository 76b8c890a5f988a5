//! The kind of standard error, and the line format that follows from it.
//!
//! systemd sets `$JOURNAL_STREAM` to the device and inode of the stream that it connected. A redirection of
//! standard error keeps the variable, so only the comparison with the descriptor shows a journal.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use super::Format;

/// The line format for standard error, once its kind is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolvedFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// Fields of the systemd journal.
    Journal,
}

/// The properties of standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// The stream that systemd connected to the journal.
    pub is_journal: bool,
    /// A person may be looking at it.
    pub is_terminal: bool,
    /// Whether colours are switched off, or the terminal has none.
    pub no_color: bool,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let standard_error = std::io::stderr();
        let identity = standard_error.as_fd().try_clone_to_owned().and_then(|descriptor| {
            let metadata = std::fs::File::from(descriptor).metadata()?;
            Ok((metadata.dev(), metadata.ino()))
        });
        let journal_stream = std::env::var("JOURNAL_STREAM").ok();
        Self {
            is_journal: identity
                .is_ok_and(|identity| journal_stream.as_deref().and_then(parsed) == Some(identity)),
            is_terminal: standard_error.is_terminal(),
            // https://no-color.org: present and not empty. Some terminals have no colours.
            no_color: std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
                || std::env::var_os("TERM").is_some_and(|name| name == "dumb"),
        }
    }

    /// Whether lines may carry colours.
    pub fn has_colours(self) -> bool {
        self.is_terminal && !self.no_color
    }
}

impl Format {
    /// The resolved line format. `journal` without a journal behind standard error is as `auto`: fields that
    /// bypass a redirection would not be where people look for them.
    pub fn resolve(self, surroundings: Surroundings) -> ResolvedFormat {
        match self {
            Self::Text => ResolvedFormat::Text,
            Self::Json => ResolvedFormat::Json,
            Self::Auto | Self::Journal if surroundings.is_journal => ResolvedFormat::Journal,
            Self::Auto | Self::Journal if surroundings.is_terminal => ResolvedFormat::Text,
            Self::Auto | Self::Journal => ResolvedFormat::Json,
        }
    }
}

/// `DEVICE:INODE`, both decimal.
fn parsed(journal_stream: &str) -> Option<(u64, u64)> {
    let (device, inode) = journal_stream.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Surroundings = Surroundings { is_journal: false, is_terminal: true, no_color: false };
    const JOURNAL: Surroundings = Surroundings { is_journal: true, is_terminal: false, no_color: false };
    const PIPE: Surroundings = Surroundings { is_journal: false, is_terminal: false, no_color: false };

    #[test]
    fn auto_is_the_journal_under_systemd_text_on_a_terminal_and_json_else() {
        let formats = [JOURNAL, TERMINAL, PIPE].map(|surroundings| Format::Auto.resolve(surroundings));
        assert_eq!(formats, [ResolvedFormat::Journal, ResolvedFormat::Text, ResolvedFormat::Json]);
    }

    #[test]
    fn the_journal_is_used_only_where_standard_error_leads_to_it() {
        assert_eq!(Format::Journal.resolve(PIPE), ResolvedFormat::Json);
        assert_eq!(Format::Text.resolve(JOURNAL), ResolvedFormat::Text);
        assert_eq!(Format::Json.resolve(TERMINAL), ResolvedFormat::Json);
    }

    #[test]
    fn a_journal_stream_that_is_no_pair_of_numbers_names_nothing() {
        assert_eq!(parsed("8:12345"), Some((8, 12345)));
        assert_eq!(["", "8", "8:", "8:x", "8:1:2"].map(parsed), [None; 5]);
    }

    #[test]
    fn colours_are_for_terminals_whose_reader_wants_them() {
        assert!(TERMINAL.has_colours());
        assert!(!PIPE.has_colours());
        assert!(!Surroundings { no_color: true, ..TERMINAL }.has_colours());
    }
}
