//! Texts of the help below the options: first steps, examples and exit codes.

use std::sync::LazyLock;

/// Of `opwatch` itself.
pub const BEGINNING: &str = "\
First steps:
  opwatch demo                  shows opwatch at work, without credentials
  opwatch wait ID --region bj   waits for a task, without a configuration
  opwatch init                  writes a first configuration, and checks it";

/// Of the commands to a running daemon.
pub const LIVE: &str = "\
Exit codes:
  0  done
  1  no daemon responds
  2  wrong usage, or an unknown name
  5  refused by the daemon";

/// Of `run`.
pub const RUN: &str = "\
Exit codes:
  0  stopped by a signal, or with --until-done all work is done
  1  the store failed, or with --until-done a delivery became a dead letter
  2  wrong usage or configuration, or a second daemon on the same store
  5  with --until-done: only work on hold was left for 1m

Example:
  opwatch run -c opwatch.toml --until-done";

/// Of `check`, in short.
pub const CHECK: &str = "\
Exit codes:
  0  the configuration is valid
  1  with --live: an account or a sink is unreachable for now
  2  wrong usage or configuration
  5  with --live: the credentials or a sink are refused";

/// A complete configuration, the shortest useful one.
pub const FIRST_CONFIGURATION: &str = r#"[accounts.default]
region = "bj"
secret_id = "AKID..."
secret_key_file = "secret_key"

[[tasks]]
id = 1000800001

[sinks.audit]
type = "file"
path = "events.jsonl"

[store]
url = "sqlite:opwatch.db"
"#;

/// Of `check`, at length.
pub static CHECK_WITH_AN_EXAMPLE: LazyLock<String> = LazyLock::new(|| {
    let lines: String = FIRST_CONFIGURATION
        .lines()
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") })
        .collect();
    format!(
        "{CHECK}\n\nA first configuration, opwatch.toml, beside a file secret_key that holds the key alone:\n\n{lines}\n\
         Examples:\n  opwatch check -c opwatch.toml\n  opwatch check -c opwatch.toml --live"
    )
});

/// Of `init`.
pub const INIT: &str = "\
Exit codes:
  0  the configuration is written and valid
  1  it is written, but an account or a sink is unreachable for now
  2  nothing is written, or the configuration is not valid
  5  it is written, but the credentials or a sink are refused

Examples:
  opwatch init
  opwatch init --region bj --secret-id AKID... --secret-key-file key 1000800001";

/// Of `wait`.
pub const WAIT: &str = "\
Exit codes, the first that applies:
  2  wrong usage or configuration
  5  the cloud rejected a task, or only work on hold was left for 10s (such as
     tasks of a wrong key)
  1  a task failed
  4  timed out
  3  a task succeeded in part
  0  all tasks succeeded

Examples:
  opwatch wait 1000800001 1000800002 --region bj --timeout 1h
  opwatch wait - --json <rack7.tasks >events.jsonl";

/// Of `events test`.
pub const EVENTS_TEST: &str = "\
Exit codes:
  0  every sink accepted the event
  1  a delivery would be retried
  2  wrong usage or configuration
  5  a sink refused the event, or would go on hold";

/// Of `completions`.
pub const COMPLETIONS: &str = "\
Example, for the current shell:
  source <(opwatch completions bash)";

/// Of `man`.
pub const MAN: &str = "\
Example:
  opwatch man | man -l -";
