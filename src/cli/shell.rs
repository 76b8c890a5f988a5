//! `opwatch completions` and `opwatch man`, made from the definition of the command line.

use clap::Command;
use clap_complete::Shell;
use clap_complete::env::Shells;
use clap_mangen::Man;

use super::complete::VARIABLE;
use super::{CommandFailure, print};

/// Prints a script with which that shell asks this program for completions.
pub fn completions(shell: Shell) -> Result<(), CommandFailure> {
    const NAME: &str = "opwatch";
    let shells = Shells::builtins();
    let mut script = Vec::new();
    if let Some(shell) = shells.completer(&shell.to_string()) {
        let written = shell.write_registration(VARIABLE, NAME, NAME, NAME, &mut script);
        written.map_err(CommandFailure::Output)?;
    }
    print::document(&script)
}

/// Prints the manual page: one page with all commands.
pub fn man(command: Command) -> Result<(), CommandFailure> {
    print::document(&page(command).map_err(CommandFailure::Runtime)?)
}

fn page(mut command: Command) -> std::io::Result<Vec<u8>> {
    // Names of commands are complete then: `opwatch events test`.
    command.build();
    let whole = Man::new(command.clone());
    let mut page = Vec::new();
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    whole.render_description_section(&mut page)?;
    page.extend(b".SH COMMANDS\n");
    for subcommand in command.get_subcommands() {
        describe(subcommand, &mut page)?;
    }
    page.extend(ENDING.as_bytes());
    whole.render_version_section(&mut page)?;
    Ok(page)
}

/// Sections that clap does not know.
const ENDING: &str = r#".SH EXIT STATUS
.TP
0
Done. For wait: all tasks succeeded.
.TP
1
A temporary failure, or a failed task.
.TP
2
The usage or the configuration is wrong. Nothing was changed.
.TP
3
Of wait: a task succeeded in part.
.TP
4
Of wait: the timeout has passed.
.TP
5
Something is refused or on hold until a person acts.
.SH ENVIRONMENT
.TP
OPWATCH_CONFIG
The configuration, in place of \-c.
.TP
OPWATCH__SECTION__KEY
A key of the configuration, such as OPWATCH__POLL__MAX_INTERVAL=2m.
.TP
TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY, TENCENTCLOUD_TOKEN
Credentials. TENCENTCLOUD_SECURITY_TOKEN is another name of the token.
.TP
TENCENTCLOUD_CREDENTIALS_FILE, TCCLI_PROFILE
The credentials file of the SDKs, and the profile of tccli.
.TP
TENCENTCLOUD_REGION
The region of wait.
.TP
HTTPS_PROXY, ALL_PROXY, NO_PROXY
The proxy of requests.
.TP
SSL_CERT_FILE, SSL_CERT_DIR
The certificates of the system.
.TP
RUST_LOG
Refines [log] level for parts of the program.
.TP
NO_COLOR
No colours, if it is not empty.
.TP
CREDENTIALS_DIRECTORY, STATE_DIRECTORY, NOTIFY_SOCKET, JOURNAL_STREAM
Set by systemd.
.SH SIGNALS
.TP
SIGTERM, SIGINT
Stop. Attempts in flight have 5 seconds.
.TP
SIGHUP
Of run: read the configuration again; ignored under nohup. Of other commands: stop.
.TP
SIGUSR1
Of run: log the status line.
.TP
SIGUSR2, SIGXFSZ
Of run: ignored.
.SH FILES
.TP
/etc/opwatch/opwatch.toml
The configuration.
.TP
/etc/opwatch/conf.d/*.toml
Further parts of the configuration, read in the order of their names.
.TP
$STATE_DIRECTORY/opwatch.db, else $XDG_STATE_HOME/opwatch/opwatch.db
The store. Its lock file is beside it.
.TP
~/.tencentcloud/credentials, /etc/tencentcloud/credentials, ~/.tccli/default.credential
Credentials of the official tools.
"#;

/// A command with its subcommands, each under its complete name.
fn describe(command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut below = command.get_subcommands().peekable();
    if below.peek().is_some() {
        return below.try_for_each(|subcommand| describe(subcommand, page));
    }
    let name = command.get_bin_name().unwrap_or_default();
    page.extend(format!(".SS \"{name}\"\n").bytes());
    // Every command has this option; one mention is enough.
    let man = Man::new(command.clone().mut_arg("help", |argument| argument.hide(true)));
    let mut part = Vec::new();
    man.render_synopsis_section(&mut part)?;
    page.extend(without_heading(&part));
    page.extend(b".PP\n");
    part.clear();
    man.render_description_section(&mut part)?;
    page.extend(without_heading(&part));
    if command.get_arguments().any(|argument| argument.get_id() != "help") {
        part.clear();
        man.render_options_section(&mut part)?;
        page.extend(without_heading(&part));
    }
    if let Some(text) = command.get_after_help() {
        page.extend(as_it_is(&text.to_string()).bytes());
    }
    Ok(())
}

/// Unchanged lines: examples and exit codes.
fn as_it_is(text: &str) -> String {
    // A line that begins with a dot would be a command.
    let line = |line: &str| format!("\\&{}\n", line.replace('\\', "\\\\").replace('-', "\\-"));
    format!(".PP\n.nf\n{}.fi\n", text.lines().map(line).collect::<String>())
}

/// A section without its heading.
fn without_heading(section: &[u8]) -> &[u8] {
    let is_heading =
        |line: &[u8]| line.starts_with(b".SH ") || line.starts_with(b".ie ") || line.starts_with(b".el ");
    let mut rest = section;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n').filter(|end| is_heading(&rest[..*end]))
    {
        rest = &rest[end + 1..];
    }
    rest
}
