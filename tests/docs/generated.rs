//! Pages of the reference that are made from the code: keys of the configuration, commands, messages, operations.
//!
//! chinese.toml holds the Chinese text of each row. A text without an entry, and an entry without a text, are errors.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::read;

/// The texts of one language.
struct Texts {
    /// Chinese texts by English ones; `None`: English is the language.
    chinese: Option<BTreeMap<String, String>>,
    used: RefCell<BTreeSet<String>>,
    missing: RefCell<BTreeSet<String>>,
}

impl Texts {
    fn english() -> Self {
        Self { chinese: None, used: RefCell::default(), missing: RefCell::default() }
    }

    fn chinese() -> Self {
        let table = toml::from_str(&read("tests/docs/chinese.toml")).expect("a table of texts");
        Self { chinese: Some(table), ..Self::english() }
    }

    /// The text in this language.
    fn of(&self, english: &str) -> String {
        // Values that are the same in each language.
        let is_neutral = english.is_empty()
            || ["bm", "false", "[]"].contains(&english)
            || !english.chars().any(|letter| letter.is_ascii_lowercase())
            || english.split(", ").all(|part| part.starts_with('"') && part.ends_with('"'));
        let Some(table) = self.chinese.as_ref().filter(|_| !is_neutral) else { return english.to_owned() };
        self.used.borrow_mut().insert(english.to_owned());
        table.get(english).cloned().unwrap_or_else(|| {
            self.missing.borrow_mut().insert(english.to_owned());
            english.to_owned()
        })
    }
}

/// Name and content of each page, but for headings that only one language has.
fn generated(texts: &Texts) -> Vec<(&'static str, String)> {
    let (first, sinks) = configuration(texts);
    vec![
        ("configuration.md", first),
        ("configuration-sinks.md", sinks),
        ("cli.md", commands(texts, false)),
        ("cli-live.md", commands(texts, true)),
        ("log-messages.md", messages(texts)),
        ("operations.md", operations(texts)),
    ]
}

#[test]
fn pages_of_the_reference_are_those_of_the_code() {
    let languages = [(Texts::english(), "docs"), (Texts::chinese(), "docs/zh")];
    let mut wrong = Vec::new();
    for (texts, folder) in &languages {
        for (name, content) in generated(texts) {
            let path = Path::new(folder).join(name);
            // As `tests/record` calls it.
            if std::env::var_os("RECORD").is_some() {
                fs::write(&path, content).unwrap();
            } else if fs::read_to_string(&path).is_ok_and(|written| written != content) {
                wrong.push(path);
            }
        }
    }
    assert!(wrong.is_empty(), "the code changed: run tests/record for {wrong:?}");
    let (chinese, _) = &languages[1];
    let missing = chinese.missing.borrow();
    assert!(missing.is_empty(), "texts without an entry in chinese.toml: {missing:#?}");
    let used = chinese.used.borrow();
    let table = chinese.chinese.as_ref().unwrap();
    let unused: Vec<_> = table.keys().filter(|key| !used.contains(*key)).collect();
    assert!(unused.is_empty(), "entries of chinese.toml without a text: {unused:#?}");
}

/// A key of config/opwatch.toml.
struct Key {
    name: String,
    /// Text, type, unit, range, default.
    about: String,
    facts: [String; 4],
    example: String,
}

/// A section of config/opwatch.toml: its header, its text, its keys.
struct Section {
    header: String,
    about: String,
    keys: Vec<Key>,
}

/// The sections of the shipped configuration, which the unit tests of `config` compare with the code.
fn sections() -> Vec<Section> {
    let shipped = read("config/opwatch.toml");
    let mut found = Vec::new();
    let mut section = Section { header: String::new(), about: String::new(), keys: Vec::new() };
    let mut text: Vec<String> = Vec::new();
    let mut facts = None;
    // The first paragraphs describe the file.
    let (_, rest) = shipped.split_once("\n\n").expect("an introduction");
    for line in rest.lines() {
        let plain = line.trim_start_matches('#').trim();
        let parts: Vec<_> = plain.split(" · ").map(str::to_owned).collect();
        if plain.starts_with('[') && plain.ends_with(']') {
            let about = std::mem::take(&mut text).join(" ");
            let next = Section { header: plain.to_owned(), about, keys: Vec::new() };
            found.push(std::mem::replace(&mut section, next));
        } else if let Ok(parts) = <[String; 4]>::try_from(parts) {
            facts = Some(parts);
        } else if let Some(facts) = facts.take() {
            let (name, example) = plain.split_once(" = ").expect("a key after its facts");
            let about = std::mem::take(&mut text).join(" ");
            section.keys.push(Key { name: name.to_owned(), about, facts, example: example.to_owned() });
        } else if plain.is_empty() {
            text.clear();
        } else {
            text.push(plain.to_owned());
        }
    }
    found.push(section);
    found
}

fn configuration(texts: &Texts) -> (String, String) {
    let title = |english: &str| format!("# {}\n\n", texts.of(english));
    let introduction = [
        "The configuration is a TOML file. Unknown keys are errors. Paths are relative to their file. This page is made from [`config/opwatch.toml`](../config/opwatch.toml), which has an example of each key.",
        "A duration is a text such as `\"90s\"` or `\"1h 30m\"`. A rate is a number a second, or a text such as `\"100/1m\"`.",
        "The files `conf.d/*.toml` beside the configuration are read after it, in the order of their names. Environment variables such as `OPWATCH__POLL__MAX_INTERVAL=2m` override all files.",
        "`${NAME}` and `${NAME:-default}` in a string are replaced from the environment. `$${` is a literal `${`. A value in a URL must be percent-encoded, such as `%40` for `@` in a password.",
    ];
    let mut first = title("Configuration");
    for paragraph in introduction {
        let paragraph = texts.of(paragraph);
        let _written = writeln!(
            first,
            "{}\n",
            if texts.chinese.is_some() { paragraph.replace("](../", "](../../") } else { paragraph }
        );
    }
    let mut sinks = title("Configuration of sinks");
    let _written = writeln!(
        sinks,
        "{}\n",
        texts.of(
            "Each sink is a section `[sinks.NAME]`. The rules of [the configuration](configuration.md) apply."
        )
    );
    for section in sections() {
        let page = if section.header.starts_with("[sinks.") { &mut sinks } else { &mut first };
        *page += &table_of(texts, &section);
    }
    let end = |page: String| format!("{}\n", page.trim_end());
    (end(first), end(sinks))
}

fn table_of(texts: &Texts, section: &Section) -> String {
    let mut page = String::new();
    let heading = if section.header.is_empty() {
        texts.of("Above the first section")
    } else {
        format!("`{}`", section.header)
    };
    let _written = writeln!(page, "## {heading}");
    for sentence in sentences(&section.about) {
        page += &texts.of(&sentence);
        page.push(if texts.chinese.is_some() { '\n' } else { ' ' });
    }
    let columns =
        ["key", "meaning", "type", "unit", "range", "default", "example"].map(|column| texts.of(column));
    let _written = writeln!(page, "\n\n| {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len()));
    for Key { name, about, facts: [kind, unit, range, default], example } in &section.keys {
        let default = default.trim_start_matches("default").trim_start_matches([':', ' ']);
        let about: Vec<_> = sentences(about).iter().map(|sentence| texts.of(sentence)).collect();
        let about = about.join(if texts.chinese.is_some() { "" } else { " " });
        let cells = [
            format!("`{name}`"),
            about,
            texts.of(kind),
            texts.of(unit),
            texts.of(range),
            texts.of(default),
            if example == default { String::new() } else { format!("`{example}`") },
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        let _written = writeln!(page, "| {} |", cells.join(" | "));
    }
    page.push('\n');
    page.replace(" \n", "\n")
}

fn sentences(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for part in text.split(". ").filter(|part| !part.trim().is_empty()) {
        let part = part.trim();
        found.push(if part.ends_with('.') { part.to_owned() } else { format!("{part}.") });
    }
    found
}

/// The commands, or those to a running daemon.
fn commands(texts: &Texts, live: bool) -> String {
    let (title, about) = match live {
        true => (
            "Commands to the running daemon",
            "They use the Unix socket of the daemon. [Live control](live-control.md) shows them in use.",
        ),
        false => (
            "Commands",
            "`opwatch COMMAND --help` has examples. [Exit codes](exit-codes.md) are on their own page. Each command takes `-v` (level debug) and `-q` (warnings and errors) in place of `[log] level`; `RUST_LOG` refines it by module. `-c FILE` may also stand before the command.",
        ),
    };
    let mut page = format!("# {}\n\n", texts.of(title));
    let _written = writeln!(page, "{}\n", texts.of(about));
    let mut command = opwatch::cli::command();
    command.build();
    for subcommand in command.get_subcommands() {
        describe(texts, subcommand, live, &mut page);
    }
    format!("{}\n", page.trim_end())
}

fn describe(texts: &Texts, command: &clap::Command, live: bool, page: &mut String) {
    let mut below = command.get_subcommands().peekable();
    if below.peek().is_some() {
        below.for_each(|subcommand| describe(texts, subcommand, live, page));
        return;
    }
    let exit_codes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    if exit_codes.contains("no daemon responds") != live {
        return;
    }
    let about = command.get_long_about().or_else(|| command.get_about()).expect("a help text").to_string();
    let _written = writeln!(page, "## {}\n", command.get_bin_name().unwrap_or_default());
    for paragraph in about.split("\n\n") {
        let _written = writeln!(page, "{}\n", texts.of(&paragraph.replace('\n', " ")));
    }
    let arguments: Vec<_> = command
        .get_arguments()
        .filter(|argument| argument.get_id() != "help" && !argument.is_global_set())
        .collect();
    if arguments.is_empty() {
        return;
    }
    let columns = ["option", "meaning", "default"].map(|column| texts.of(column));
    let _written = writeln!(page, "| {} |\n|---|---|---|", columns.join(" | "));
    for argument in arguments {
        let value =
            argument.get_value_names().and_then(|names| names.first()).map(|name| format!("<{name}>"));
        let value = value.filter(|_| argument.get_action().takes_values());
        let spelled = [
            argument.get_short().map(|short| format!("-{short}")),
            argument.get_long().map(|long| format!("--{long}")),
        ];
        let names = spelled.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let shown =
            [Some(names).filter(|names| !names.is_empty()), value].into_iter().flatten().collect::<Vec<_>>();
        let help = argument.get_long_help().or_else(|| argument.get_help()).expect("a help text").to_string();
        let (help, stated) = help.split_once(" [default: ").unwrap_or((&help, ""));
        let help = help.replace("\n\n", ". ").split_whitespace().collect::<Vec<_>>().join(" ");
        let default = match argument.get_default_values().first() {
            Some(value) if !stated.is_empty() || argument.get_action().takes_values() => {
                format!("`{}`", value.to_string_lossy())
            }
            Some(_) | None => texts.of(stated.trim_end_matches(']')),
        };
        let _written = writeln!(page, "| `{}` | {} | {default} |", shown.join(" "), texts.of(&help));
    }
    page.push('\n');
}

/// Level and text of each message of the program's own log.
fn logged() -> Vec<(String, String)> {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut found = BTreeSet::new();
    for file in files {
        let text = read(&file);
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for level in ["error", "warn", "info"] {
            for call in code.split(&format!("tracing::{level}!(")).skip(1) {
                let literals = literals_of_call(call);
                let message = literals.last().copied().unwrap_or_default();
                if message == "{message}" {
                    let before =
                        code.split("let message = match").nth(1).unwrap().split("};").next().unwrap();
                    let texts = before.split('"').skip(1).step_by(2);
                    found.extend(texts.map(|text| (level.to_owned(), text.to_owned())));
                } else {
                    found.insert((level.to_owned(), message.replace("{ahead} {direction}", "…")));
                }
            }
        }
    }
    found.into_iter().collect()
}

/// The string literals of a macro call, from the text after its opening bracket to the closing one.
fn literals_of_call(call: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut depth, mut start, mut is_escaped) = (1, None, false);
    for (at, letter) in call.char_indices() {
        match (letter, start) {
            _ if is_escaped => is_escaped = false,
            ('\\', Some(_)) => is_escaped = true,
            ('"', None) => start = Some(at + 1),
            ('"', Some(from)) => {
                found.push(&call[from..at]);
                start = None;
            }
            ('(', None) => depth += 1,
            (')', None) => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        // The simulator has a log of its own.
        let is_part = !["sim", "tests", "history"]
            .iter()
            .any(|name| path.file_stem().is_some_and(|stem| stem == *name));
        if path.is_dir() && is_part {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && is_part {
            found.push(path);
        }
    }
}

fn messages(texts: &Texts) -> String {
    let mut page = format!("# {}\n\n", texts.of("Log messages"));
    let introduction = "The program's own log has these messages. [Troubleshooting](troubleshooting.md) has an action for each warning and error. [Lines of events](events.md#log-lines) are apart from this log.";
    let _written = writeln!(
        page,
        "{}\n",
        sentences(introduction).iter().map(|sentence| texts.of(sentence)).collect::<Vec<_>>().join(" ")
    );
    let columns: Vec<_> = ["level", "message"]
        .map(|column| texts.of(column))
        .into_iter()
        .chain(texts.chinese.is_some().then(|| "含义".to_owned()))
        .collect();
    let _written = writeln!(page, "| {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len()));
    for (level, message) in logged() {
        let meaning =
            if texts.chinese.is_some() { format!(" {} |", texts.of(&message)) } else { String::new() };
        let _written = writeln!(page, "| {level} | `{message}` |{meaning}");
    }
    page
}

#[test]
fn every_loud_message_event_and_exit_code_has_an_action() {
    for folder in ["docs", "docs/zh"] {
        let page = read(format!("{folder}/troubleshooting.md"));
        let loud = logged().into_iter().filter(|(level, _)| level != "info");
        let missing: Vec<_> = loud.filter(|(_, message)| !page.contains(&format!("`{message}`"))).collect();
        assert!(missing.is_empty(), "{folder}/troubleshooting.md: {missing:#?}");
        let unit = read("systemd/opwatch.service");
        let known: Vec<String> =
            logged().into_iter().map(|(_, message)| format!("| `{message}` |")).collect();
        let gone: Vec<_> = page
            .lines()
            .filter(|line| line.starts_with("| `") && !known.iter().any(|known| line.starts_with(known)))
            // The unit has a message of its own.
            .filter(|line| !line.split('`').nth(1).is_some_and(|message| unit.contains(message)))
            .collect();
        assert!(gone.is_empty(), "{folder}/troubleshooting.md has rows of no message: {gone:#?}");
        let events = read(format!("{folder}/events.md"));
        for entry in read("systemd/opwatch.catalog").lines().filter_map(|line| line.strip_prefix("-- ")) {
            let row = events
                .lines()
                .find(|line| line.contains(entry))
                .unwrap_or_else(|| panic!("{folder}: {entry}"));
            let message = row.split('`').nth(1).unwrap();
            let page = "troubleshooting-commands.md";
            let has_row = read(format!("{folder}/{page}")).contains(&format!("`{message}`"));
            assert!(has_row, "{folder}/{page}: {message}");
        }
        let codes = read(format!("{folder}/exit-codes.md"));
        for code in 1..=5 {
            assert!(codes.contains(&format!("- **{code}**")), "{folder}/exit-codes.md: {code}");
        }
    }
}

fn operations(texts: &Texts) -> String {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_opwatch")).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let mut page = format!("# {}\n\n", texts.of("Operations"));
    let introduction = "An operation is an API action that returns the status of a kind of task. The key `operation` of a task names it; the default is `bm`. An account with `api = \"3.0\"` uses the row `bm3` for tasks of `bm`.";
    let _written = writeln!(
        page,
        "{}\n",
        sentences(introduction).iter().map(|sentence| texts.of(sentence)).collect::<Vec<_>>().join(" ")
    );
    let table = run(&["operations"]);
    let _written = writeln!(page, "```text\n{table}```\n");
    let _written = writeln!(page, "{}\n", texts.of("The rows in full, as `opwatch operations --show NAME` prints them. Status values: `success`, `failure` and `partial` are final."));
    for name in
        table.lines().skip(1).filter(|line| !line.starts_with(' ')).filter_map(|line| line.split(' ').next())
    {
        let _written = writeln!(page, "```text\n{}```\n", run(&["operations", "--show", name]));
    }
    format!("{}\n", page.trim_end())
}
