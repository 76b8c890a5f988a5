//! The arguments of `wait`: its options, the tasks in them and on standard input, and the command that
//! continues with open tasks.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::api::client::{DaemonClient, sockets};
use crate::cli::{CommandFailure, DEFAULT_CONFIG, print};
use crate::cloud::account::Account;
use crate::config::{self, Environment, Loaded, likely::is_placeholder};
use crate::daemon;
use crate::files;
use crate::model::task::NewTask;
use crate::problem::{Place, Problem};
use crate::register::listed::{Listed, listed};
use crate::register::piped::{self, MOST_BYTES};
use crate::register::{TaskEntry, WrittenId};
use crate::units::Limit;

/// Standard input among the ids, and in messages.
const STANDARD_INPUT: &str = "-";
/// A command with more ids is not printed: it is too long to type.
const MOST_IDS_REPEATED: usize = 20;

/// The options.
#[derive(Clone, clap::Args)]
pub struct Arguments {
    /// The task ids, also with commas; `-` reads them from standard input
    ///
    /// Standard input holds lines as in a task file, or responses of the cloud to the calls that started the
    /// tasks.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// The account, if the configuration has several [default: `default`, or the only one]
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// The region, as in the API [default: the account's, or $TENCENTCLOUD_REGION]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The operation, one of `opwatch operations` [default: bm]
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,
    /// A further request parameter; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param)]
    params: Vec<(String, String)>,
    /// The longest time to wait, such as 90s or 1h
    #[arg(long, value_name = "TIME", default_value = "never", value_parser = super::limit)]
    pub timeout: Limit,
    /// End at the first task that does not succeed
    #[arg(long)]
    pub fail_fast: bool,
    /// Print the final events as JSON lines on standard output
    #[arg(long)]
    pub json: bool,
    /// The configuration with the accounts; not needed with credentials in the environment, or in the files
    /// of the SDK or tccli
    #[arg(short, long, value_name = "FILE", env = "OPWATCH_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
}

/// The configuration with its tasks, and the same tasks as registered. Off the loop: standard input may
/// block.
pub async fn prepare(arguments: Arguments) -> Result<(Loaded, Vec<NewTask>), CommandFailure> {
    let prepared = files::off_loop(move || arguments.prepare()).await;
    prepared.map_err(CommandFailure::Runtime)?.map_err(CommandFailure::Configuration)
}

impl Arguments {
    fn prepare(&self) -> Result<(Loaded, Vec<NewTask>), Vec<Problem>> {
        if let Some(id) = self.ids.iter().find(|id| Path::new(id).is_file()) {
            let place = Place { key: Some("ID".to_owned()), ..Place::default() };
            let what = format!("{id:?} is a file, and no task id; write `opwatch wait - <{id}`");
            return Err(vec![Problem::new(place, what)]);
        }
        let environment = Environment::of_process();
        let loaded = config::load_accounts(self.config_file(&environment).as_deref(), &environment)?;
        let tasks =
            self.tasks(|input| std::io::stdin().lock().take(MOST_BYTES as u64 + 1).read_to_end(input))?;
        self.find_region(&loaded, &tasks)?;
        let is_wrong = |account: &&Account| account.endpoint.is_none() && is_placeholder(&account.secret_id);
        if let Some(account) = loaded.accounts.values().find(is_wrong) {
            let place =
                Place { key: Some(format!("accounts.{}.secret_id", account.name)), ..Place::default() };
            return Err(vec![Problem::new(
                place,
                "is a placeholder; write the SecretId that the console shows",
            )]);
        }
        let mut resolved = Vec::new();
        listed(&tasks, &[], &daemon::parts::catalogue(&loaded), |task| resolved.push(task)).map_err(
            |mut problems| {
                // An error of an option occurs with each id.
                problems.dedup();
                problems
            },
        )?;
        let targets = resolved.iter().map(|task: &NewTask| Arc::clone(&task.target));
        let refused = config::refused_proxies(&loaded.accounts, &loaded.operations, targets).into_iter().map(
            |(account, what)| {
                Problem::new(Place { key: Some(format!("accounts.{account}")), ..Place::default() }, what)
            },
        );
        let refused: Vec<_> = refused.collect();
        if refused.is_empty() { Ok((Loaded { tasks, ..loaded }, resolved)) } else { Err(refused) }
    }

    /// The running daemon, if one responds.
    pub fn daemon(&self) -> Option<DaemonClient> {
        let path = self.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG));
        // A file without a readable section leads to the usual sockets.
        let configured = config::socket(path).unwrap_or_default();
        DaemonClient::connect(&sockets(configured, |name| std::env::var_os(name))).ok()
    }

    /// A named file is always read; the default file only if it exists and is needed.
    fn config_file(&self, environment: &Environment) -> Option<PathBuf> {
        let usual = || self.wants_the_usual_file(environment).then(|| PathBuf::from(DEFAULT_CONFIG));
        // A file that cannot be checked exists, and reading it reports the reason.
        self.config
            .clone()
            .or_else(|| usual().filter(|path| !files::metadata(path).is_err_and(|error| error.is_missing())))
    }

    /// The default file is for users without credentials of their own, or for one of its accounts: other
    /// users may not be allowed to read it.
    fn wants_the_usual_file(&self, environment: &Environment) -> bool {
        self.account.is_some() || !config::has_own_credentials(environment)
    }

    /// The tasks as they were written.
    fn tasks(
        &self,
        read: impl FnOnce(&mut Vec<u8>) -> std::io::Result<usize>,
    ) -> Result<Vec<Listed>, Vec<Problem>> {
        let options = TaskEntry {
            operation: self.operation.clone(),
            account: self.account.clone(),
            region: self.region.clone(),
            params: self.params.iter().cloned().collect::<BTreeMap<_, _>>(),
            ..TaskEntry::default()
        };
        let ids = self.ids.iter().filter(|id| *id != STANDARD_INPUT);
        let task = |id: &String| Listed {
            written: TaskEntry { id: Some(WrittenId::Text(id.clone())), ..options.clone() },
            place: Place::default(),
            lines: Vec::new(),
        };
        let mut tasks: Vec<Listed> = Vec::new();
        for id in ids {
            if id.trim_start().starts_with('{') {
                tasks.extend(piped::read(id.as_bytes(), Path::new("ID"), &options)?);
            } else {
                // Ids of a list in another tool.
                tasks.extend(id.split(',').filter(|id| !id.is_empty()).map(|id| task(&id.to_owned())));
            }
        }
        if self.ids.iter().any(|id| id == STANDARD_INPUT) {
            if std::io::stdin().is_terminal() {
                // Without this line the command seems to hang.
                print::error("standard input: type task ids, a line each, and end with Ctrl-D");
            }
            let mut input = Vec::new();
            let place = Place { file: Some(STANDARD_INPUT.into()), ..Place::default() };
            read(&mut input).map_err(|error| {
                vec![Problem::new(place, format!("standard input cannot be read: {error}"))]
            })?;
            tasks.extend(piped::read(&input, Path::new(STANDARD_INPUT), &options)?);
        }
        for task in &mut tasks {
            // Keys for a daemon with sinks and a store, and not for this command.
            let written = std::mem::take(&mut task.written);
            task.written = TaskEntry { sinks: None, group: None, run: None, ..written };
        }
        Ok(tasks)
    }

    /// Reported once, with the options of this command.
    fn find_region(&self, loaded: &Loaded, tasks: &[Listed]) -> Result<(), Vec<Problem>> {
        let has_none = |task: &Listed| task.written.region.is_none() && task.written.account.is_none();
        let used = loaded
            .accounts
            .get("default")
            .or_else(|| loaded.accounts.values().next().filter(|_| loaded.accounts.len() == 1));
        if used.is_some_and(|account| account.region.is_none()) && tasks.iter().any(has_none) {
            let place = Place { key: Some("--region".to_owned()), ..Place::default() };
            return Err(vec![Problem::new(
                place,
                "is missing; write it, such as --region bj, or set TENCENTCLOUD_REGION",
            )]);
        }
        Ok(())
    }

    /// The command that continues with the open tasks. The cloud has their state, so nothing is lost.
    pub fn go_on(&self, tasks: &[NewTask], open: &[String]) -> String {
        let from_input = self.ids.iter().any(|id| id == STANDARD_INPUT);
        let alike = !from_input
            || tasks.iter().all(|task| task.target == tasks[0].target && task.settings == tasks[0].settings);
        if open.is_empty() || open.len() > MOST_IDS_REPEATED || !alike {
            return "to continue, run the same command again: finished tasks are reported at once".to_owned();
        }
        let mut words = vec!["opwatch".to_owned(), "wait".to_owned()];
        words.extend(open.iter().cloned());
        let mut option = |name: &str, value: Option<&str>| {
            words.extend(value.map(|value| [name.to_owned(), value.to_owned()]).into_iter().flatten())
        };
        option("--account", self.account.as_deref());
        option("--region", self.region.as_deref());
        option("--operation", self.operation.as_deref());
        self.params.iter().for_each(|(name, value)| option("--param", Some(&format!("{name}={value}"))));
        option("-c", self.config.as_deref().and_then(Path::to_str));
        format!("to continue: {}", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "))
    }
}

/// A word quoted for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=:,@%+".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn param(written: &str) -> Result<(String, String), &'static str> {
    let (name, value) = written.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct WaitCommand {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(typed: &str) -> Arguments {
        WaitCommand::try_parse_from(format!("wait {typed}").split(' ')).unwrap().arguments
    }

    #[test]
    fn what_a_line_says_of_sinks_and_groups_is_a_daemon_s() {
        let line = b"{\"id\": 2, \"sinks\": [\"ops\"], \"group\": \"g\", \"run\": \"2\", \"name\": \"n\"}";
        let tasks = arguments("1 - --region bj").tasks(|input| {
            input.extend_from_slice(line);
            Ok(line.len())
        });
        let tasks: Vec<TaskEntry> = tasks.unwrap().into_iter().map(|task| task.written).collect();
        let region = Some("bj".to_owned());
        let expected = [
            TaskEntry {
                id: Some(WrittenId::Text("1".into())),
                region: region.clone(),
                ..TaskEntry::default()
            },
            TaskEntry { id: Some(WrittenId::Int(2)), name: Some("n".into()), region, ..TaskEntry::default() },
        ];
        assert_eq!(tasks, expected);
    }

    #[test]
    fn the_command_to_go_on_with_names_what_is_open_as_a_shell_takes_it() {
        let arguments = arguments("1 2 --region bj --param Env=a'b");
        let reported = arguments.go_on(&[], &["2".to_owned(), "a b".to_owned()]);
        assert_eq!(reported, r"to continue: opwatch wait 2 'a b' --region bj --param 'Env=a'\''b'");
        assert!(arguments.go_on(&[], &vec!["1".to_owned(); 21]).contains("the same command again"));
    }

    #[test]
    fn the_daemon_s_configuration_is_not_needed_with_credentials_of_one_s_own() {
        let home = tempfile::tempdir().unwrap();
        let variables = |more: &[(&str, &str)]| {
            more.iter().copied().chain([("HOME", home.path().to_str().unwrap())]).collect::<Environment>()
        };
        let wants =
            |typed: &str, more: &[(&str, &str)]| arguments(typed).wants_the_usual_file(&variables(more));
        assert!(wants("1", &[]));
        assert!(!wants("1", &[("TENCENTCLOUD_SECRET_ID", "AKID"), ("TENCENTCLOUD_SECRET_KEY", "x")]));
        assert!(!wants("1", &[("TENCENTCLOUD_SECRET_ID", "AKID")]), "half of them is told, not passed over");
        assert!(!wants("1", &[("TENCENTCLOUD_CREDENTIALS_FILE", "/missing")]), "likewise");
        std::fs::create_dir(home.path().join(".tccli")).unwrap();
        std::fs::write(
            home.path().join(".tccli/default.credential"),
            "{\"secretId\": \"AKID\", \"secretKey\": \"x\"}",
        )
        .unwrap();
        assert!(!wants("1", &[]));
        assert!(wants("1 --account ops", &[]));
    }

    #[test]
    fn a_limit_has_a_unit_and_is_more_than_nothing() {
        assert_eq!(arguments("1 --timeout 1h").timeout, Limit(Some(std::time::Duration::from_secs(3600))));
        for wrong in ["1", "0s", "soon"] {
            assert!(WaitCommand::try_parse_from(["wait", "1", "--timeout", wrong]).is_err(), "{wrong}");
        }
    }
}
