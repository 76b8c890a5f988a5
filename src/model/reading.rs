//! The result of a poll: a reading, or a fault with its scope.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::{Digest, Sha1};

use crate::clock::Wall;

/// A code or status as the cloud wrote it: an integer where it reads as one (`0` and `"0"` alike), else text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// A code that reads as an integer of 64 bits.
    Int(i64),
    /// Any other code.
    Text(Box<str>),
}

/// The outcome of a finished task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All of it succeeded.
    Success,
    /// All of it failed.
    Failure,
    /// Part succeeded, part failed.
    Partial,
}

/// The phase of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Unfinished, or a status that the operation's row does not know.
    Running,
    /// Over, with that outcome.
    Finished(Outcome),
}

/// The reading of a successful poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Running, or finished with an outcome.
    pub phase: Phase,
    /// The status as the cloud wrote it.
    pub status: Code,
    /// The instances of the task, where the response names them.
    pub instances: Vec<Instance>,
    /// Whether the operation's row knows the status.
    pub known: bool,
    /// The message of the cloud, where the operation has one.
    pub message: Option<String>,
}

/// The response to one request.
#[derive(Clone, Debug)]
pub struct Response {
    /// The meaning of the response.
    pub poll: Result<Reading, Fault>,
    /// The time of the server, from the `Date` header.
    pub date: Option<Wall>,
}

/// One instance of a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The cloud's id for it.
    pub id: String,
    /// Its status as the cloud wrote it.
    pub status: Code,
    /// The outcome, once it has finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// A poll without a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The scope of the fault.
    pub class: Class,
    /// The error code of the cloud, or a name of the failure (`timeout`).
    pub code: Code,
    /// The message of the server, or of the error; bounded, without secrets.
    pub message: String,
    /// The pause that the server requested.
    pub retry_after: Option<Duration>,
}

/// The scope of a fault (docs/architecture.md §3, promise 6). Also the label in logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The task's own, or a wrong parameter.
    Task,
    /// The clocks disagree, or a nonce was used before.
    Clock,
    /// The credentials'.
    Account,
    /// The permission or the setting of this action in this region.
    PaceKey,
    /// The rate limit of this pace key.
    Throttled,
    /// The rate limit of the account, over all its pace keys.
    AccountThrottled,
    /// The connection ended before the first byte of a response. No fault is counted.
    Connection,
    /// The service's or the network's.
    Service,
}

impl Code {
    /// Reads a code of the cloud: canonical integers of 64 bits become numbers, all else stays text.
    pub fn read(written: &str) -> Self {
        match written.parse::<i64>() {
            Ok(number) if number.to_string() == written => Self::Int(number),
            Ok(_) | Err(_) => Self::Text(written.into()),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum IntOrText {
            Int(i64),
            Text(String),
        }
        IntOrText::deserialize(deserializer).map(|written| match written {
            IntOrText::Int(number) => Self::Int(number),
            IntOrText::Text(text) => Self::read(&text),
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Partial => "partial",
        })
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Task => "task",
            Self::Clock => "clock",
            Self::Account => "account",
            Self::PaceKey => "pace_key",
            Self::Throttled => "throttled",
            Self::AccountThrottled => "account_throttled",
            Self::Connection => "connection",
            Self::Service => "service",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl Reading {
    /// A digest of the status and of each instance's status, by id and not by position. Equal readings have
    /// equal digests. The digest is stored, so it must be the same in every build.
    pub fn digest(&self) -> u64 {
        let mut instances: Vec<_> =
            self.instances.iter().map(|instance| (&instance.id, &instance.status)).collect();
        instances.sort_by(|one, other| one.0.cmp(other.0));
        let mut hasher = Sha1::new_with_prefix(self.status.to_string());
        for (id, status) in instances {
            hasher.update(format!("\0{id}\0{status}"));
        }
        let digest: [u8; 20] = hasher.finalize().into();
        u64::from_be_bytes(std::array::from_fn(|index| digest[index]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(instances: &[(&str, i64)]) -> Reading {
        let instance = |&(id, status): &(&str, i64)| Instance {
            id: id.into(),
            status: Code::Int(status),
            outcome: None,
        };
        Reading {
            phase: Phase::Running,
            status: Code::Int(4),
            instances: instances.iter().map(instance).collect(),
            known: true,
            message: None,
        }
    }

    #[test]
    fn a_code_is_a_number_only_where_it_reads_as_one() {
        assert_eq!(Code::read("0"), Code::Int(0));
        assert_eq!(Code::read("-8000"), Code::Int(-8000));
        for text in ["", "007", "+1", "1.0", "SUCCESS", "18446744073709551615"] {
            assert_eq!(Code::read(text).to_string(), text);
            assert!(matches!(Code::read(text), Code::Text(_)), "{text}");
        }
    }

    #[test]
    fn instances_are_compared_by_id_and_not_by_position() {
        assert_eq!(reading(&[("a", 1), ("b", 4)]).digest(), reading(&[("b", 4), ("a", 1)]).digest());
        assert_ne!(reading(&[("a", 1), ("b", 4)]).digest(), reading(&[("a", 4), ("b", 1)]).digest());
    }
}
