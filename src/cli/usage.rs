//! An error of the command line, on one line in the form of all errors: error, place, fix.

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// Words for commands in other tools, each with the words that help here.
const COMMANDS_ELSEWHERE: [(&str, &str); 15] = [
    ("start", "write `opwatch run`, or `systemctl start opwatch` for the service"),
    ("stop", "write `systemctl stop opwatch`, or press Ctrl-C"),
    ("restart", "write `systemctl restart opwatch`"),
    ("logs", "write `journalctl -u opwatch`"),
    ("validate", "write `opwatch check -c FILE`"),
    ("lint", "write `opwatch check -c FILE`"),
    ("ps", "write `opwatch list`"),
    ("tasks", "write `opwatch list`"),
    ("delete", "write `opwatch cancel ID`"),
    ("remove", "write `opwatch cancel ID`"),
    ("rm", "write `opwatch cancel ID`"),
    ("release", "write `opwatch retry account NAME` or `opwatch retry sink NAME`"),
    ("replay", "write `opwatch events redeliver --failed`"),
    ("resend", "write `opwatch events redeliver --failed`"),
    ("test", "write `opwatch check -c FILE`, or `opwatch events test -c FILE`"),
];
/// The same for options.
const OPTIONS_ELSEWHERE: [(&str, &str); 4] = [
    ("--log-level", "write -v or -q, set [log] level, or RUST_LOG=debug"),
    ("--output", "write --json"),
    ("-o", "write --json"),
    ("--debug", "write -v, set [log] level, or RUST_LOG=debug"),
];
/// Options that are never suggested: a wrong guess would do harm.
const HARMFUL: [&str; 1] = ["--allow-removals"];

fn elsewhere(words: &[(&'static str, &'static str)], written: &str) -> Option<&'static str> {
    words.iter().find(|(word, _)| *word == written).map(|(_, help)| *help)
}

/// The error and the fix. `None`: no error, but requested help or version.
pub fn message(error: &Error) -> Option<String> {
    let is = |kinds: &[ErrorKind]| kinds.contains(&error.kind());
    if is(&[
        ErrorKind::DisplayHelp,
        ErrorKind::DisplayVersion,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ]) {
        return None;
    }
    let help = format!("see {} --help", command(error));
    let argument = text(error, ContextKind::InvalidArg).unwrap_or_default();
    let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
    Some(if is(&[ErrorKind::InvalidSubcommand]) {
        let written = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
        match (written.as_str(), text(error, ContextKind::SuggestedSubcommand)) {
            ("version", _) => {
                format!("{written}: is not a command; write {} --{written}", command(error))
            }
            (written, _) if elsewhere(&COMMANDS_ELSEWHERE, written).is_some() => {
                let words = elsewhere(&COMMANDS_ELSEWHERE, written).unwrap_or_default();
                format!("{written}: there is no such command; {words}")
            }
            (_, Some(meant)) => {
                let meant = meant.replace(", ", "` or `");
                format!("{written}: there is no such command; did you mean `{meant}`?")
            }
            (_, None) => format!("{written}: there is no such command; {help}"),
        }
    } else if is(&[ErrorKind::UnknownArgument]) {
        match text(error, ContextKind::SuggestedArg) {
            _ if argument.ends_with(".toml") => {
                format!("{argument}: does not belong here; did you mean -c {argument}?")
            }
            _ if elsewhere(&OPTIONS_ELSEWHERE, &argument).is_some() => {
                let words = elsewhere(&OPTIONS_ELSEWHERE, &argument).unwrap_or_default();
                format!("{argument}: there is no such option; {words}")
            }
            Some(meant) if HARMFUL.contains(&meant.as_str()) => {
                format!("{argument}: there is no such option; {help}")
            }
            Some(meant) => format!("{argument}: there is no such option; did you mean `{meant}`?"),
            None if argument.starts_with('-') => format!("{argument}: there is no such option; {help}"),
            None => format!("{argument}: does not belong here; {help}"),
        }
    } else if let Some(other) = text(error, ContextKind::PriorArg).filter(|other| *other != argument) {
        format!("{argument}: cannot be combined with {other}; leave one of them out")
    } else if is(&[ErrorKind::MissingRequiredArgument]) {
        format!("{argument}: is missing; {help}")
    } else if is(&[ErrorKind::InvalidValue]) && value.is_empty() {
        format!(
            "{argument}: its value is missing or empty; write it, or leave the option out{}",
            from_environment(&argument)
        )
    } else if is(&[ErrorKind::InvalidValue]) {
        let valid = text(error, ContextKind::ValidValue).unwrap_or_default();
        format!("{argument}: {value:?} does not fit; write one of {valid}")
    } else if is(&[ErrorKind::ValueValidation]) {
        let form = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        format!("{argument}: {value:?} does not fit; {form}")
    } else {
        let rendered = error.render().to_string();
        let what = rendered.lines().next().unwrap_or_default();
        format!("{}; {help}", what.strip_prefix("error: ").unwrap_or(what))
    })
}

/// A value of an option may come from a variable, which the user of the command does not see.
fn from_environment(argument: &str) -> &'static str {
    let is_set = || std::env::var_os("OPWATCH_CONFIG").is_some_and(|value| value.is_empty());
    if argument.starts_with("--config") && is_set() { "; OPWATCH_CONFIG is empty" } else { "" }
}

fn text(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) if !texts.is_empty() => Some(texts.join(", ")),
        ContextValue::StyledStr(text) => Some(text.to_string()),
        ContextValue::None
        | ContextValue::Bool(_)
        | ContextValue::Strings(_)
        | ContextValue::StyledStrs(_)
        | ContextValue::Number(_)
        | _ => None,
    }
}

/// The command of the error, with its parents: `opwatch events test`.
fn command(error: &Error) -> String {
    let usage = text(error, ContextKind::Usage).unwrap_or_default();
    let words = usage.split_whitespace().skip_while(|word| *word != "opwatch");
    let words: Vec<&str> =
        words.take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())).collect();
    if words.is_empty() { "opwatch".to_owned() } else { words.join(" ") }
}
