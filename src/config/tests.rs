//! Loaded configurations, layer over layer; and the shipped file against the code.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use super::*;
use crate::model::task::TaskId;
use crate::register::WrittenId;
use crate::secret::Secret;
use crate::section;
use crate::sinks::TypedConfig;
use crate::units::Span;

const SHIPPED: &str = include_str!("../../config/opwatch.toml");
/// A self-signed certificate; its key no longer exists.
const CA: &str = include_str!("../../tests/support/ca.pem");
const GOOD: &str = "[accounts.default]\nregion = 'bj'\nsecret_id = 'AKID'\nsecret_key = 'x'\n";

fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn loaded(folder: &Path, variables: &[(&str, &str)]) -> Loaded {
    load(&folder.join("opwatch.toml"), &variables.iter().copied().collect())
        .unwrap_or_else(|problems| panic!("{problems:#?}"))
}

#[test]
fn a_variable_that_is_none_of_ours_for_want_of_an_underscore_is_doubted() {
    let folder = written(&[("opwatch.toml", "# nothing\n")]);
    let reported = |name: &str| {
        let loaded = loaded(folder.path(), &[(name, "1h")]);
        loaded
            .doubts
            .iter()
            .map(ToString::to_string)
            .filter(|doubt| doubt.starts_with("OPWATCH_"))
            .collect::<Vec<_>>()
    };
    let expected = "OPWATCH_POLL_TIMEOUT: has no effect: two `_` precede each part, as in OPWATCH__POLL__JITTER; correct or unset it";
    assert_eq!(reported("OPWATCH_POLL_TIMEOUT"), [expected]);
    // As a program that an exec sink runs has them.
    for other in ["OPWATCH_CONFIG", "OPWATCH_TASK", "OPWATCH_ACCOUNT", "OPWATCH_NAME"] {
        assert_eq!(reported(other), [""; 0], "{other}");
    }
    assert_eq!(
        loaded(folder.path(), &[("OPWATCH__POLL__TIMEOUT", "1h")]).doubts.len(),
        1,
        "only that there is no task"
    );
}

#[test]
fn a_comment_alone_is_a_configuration_of_defaults_with_the_log_sink() {
    let folder = written(&[("opwatch.toml", "# nothing\n")]);
    let loaded = loaded(folder.path(), &[]);
    let store = store::Config { url_place: loaded.store.url_place.clone(), ..store::Config::default() };
    assert_eq!(
        (loaded.poll, loaded.store, loaded.log),
        (Policy::default(), store, telemetry::Config::default())
    );
    assert_eq!(loaded.sinks.keys().collect::<Vec<_>>(), ["log"]);
    assert!(loaded.accounts.is_empty() && loaded.tasks.is_empty());
}

#[test]
fn errors_are_reported_file_by_file_and_the_main_one_comes_first() {
    let folder = written(&[
        ("opwatch.toml", "[poll]\njitter = 3\n[log]\nlevel = 1\n"),
        ("conf.d/10.toml", "[poll]\ntimeout = 5\n"),
        ("conf.d/20.toml", "[store]\nretention = 5\n"),
    ]);
    let problems = load(&folder.path().join("opwatch.toml"), &Environment::default()).unwrap_err();
    let keys: Vec<_> =
        problems.iter().map(|problem| problem.place.key.as_deref().unwrap_or_default()).collect();
    assert_eq!(keys, ["poll.jitter", "log.level", "poll.timeout", "store.retention"]);
}

#[test]
fn later_layers_win_and_tasks_task_files_sinks_and_accounts_add_up() {
    let folder = written(&[
        (
            "opwatch.toml",
            "task_files = ['one']\n[poll]\njitter = 0.1\nmultiplier = 2\nmax_interval = '3m'\n[accounts.Main]\nregion = 'bj'\n[sinks.a]\ntype = 'file'\npath = 'x'\n[[tasks]]\nid = 1\n",
        ),
        ("conf.d/20.toml", "\u{feff}[poll]\r\njitter = 0.3\r\n[[tasks]]\r\nid = '3'\r\n"),
        (
            "conf.d/10.toml",
            "task_files = ['two', '../three']\n[poll]\njitter = 0.2\n[sinks.b]\ntype = 'file'\npath = 'y'\n[sinks.c]\ntype = 'webhook'\nheaders = { X-Env = 'Prod' }\n[[tasks]]\nid = 18446744073709551615\n",
        ),
        ("one", "11"),
        ("conf.d/two", "12"),
        ("three", "# none yet"),
        ("url", "https://169.254.0.23/hook\n"),
        ("ca.pem", CA),
        ("conf.d/.hidden.toml", "wrong"),
        ("conf.d/README", "wrong"),
    ]);
    let variables = [
        ("OPWATCH__POLL__MAX_INTERVAL", "4m"),
        ("OPWATCH__poll__Multiplier", "3"),
        ("OPWATCH__ACCOUNTS__MAIN__SECRET_ID", "12345"),
        ("OPWATCH__ACCOUNTS__MAIN__SECRET_KEY", "true"),
        ("OPWATCH__ACCOUNTS__MAIN__RATE_LIMIT", "5"),
        ("OPWATCH__SINKS__B__RETRY__MAX", "20m"),
        ("OPWATCH__SINKS__A__PATH", "${NOT_REPLACED}"),
        ("OPWATCH__SINKS__C__URL_FILE", "url"),
        (
            "OPWATCH__SINKS__C__SECRETS",
            "['whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']",
        ),
        ("OPWATCH__SINKS__C__TLS__CA_FILE", "ca.pem"),
        ("OPWATCH__SINKS__C__ALLOW_LINK_LOCAL", "true"),
        ("OPWATCH_CONFIG", "/other"),
        ("opwatch__poll__jitter", "1"),
    ];
    let loaded = loaded(folder.path(), &variables);
    assert_eq!(
        (loaded.poll.jitter, loaded.poll.multiplier, loaded.poll.max_interval),
        (0.3, 3.0, Span::seconds(240))
    );
    let account = &loaded.accounts["Main"];
    assert_eq!((account.secret_id.as_str(), account.secret_key.expose()), ("12345", "true"));
    assert_eq!(loaded.sinks.keys().collect::<Vec<_>>(), ["a", "b", "c", "log"]);
    assert_eq!(loaded.sinks["b"].common.retry.max, Span::seconds(1200));
    let ids: Vec<_> = loaded.tasks.iter().map(|task| task.written.id.clone().unwrap()).collect();
    assert_eq!(ids, [WrittenId::Int(1), WrittenId::Int(u64::MAX), WrittenId::Text("3".into())]);
    assert_eq!(
        loaded.task_files,
        [folder.path().join("one"), folder.path().join("conf.d/two"), folder.path().join("conf.d/../three")]
    );
    let path = |sink: &str| {
        let TypedConfig::File(file) = &loaded.sinks[sink].kind else { panic!("{sink}") };
        file.path.clone()
    };
    let TypedConfig::Webhook(webhook) = &loaded.sinks["c"].kind else { panic!("no webhook") };
    assert_eq!((webhook.secrets.len(), &webhook.url_file), (2, &Some(folder.path().join("url"))));
    assert_eq!(
        (webhook.headers["X-Env"].expose(), &webhook.tls.ca_file),
        ("Prod", &Some(folder.path().join("ca.pem")))
    );
    assert_eq!(
        (path("a"), path("b")),
        (folder.path().join("${NOT_REPLACED}"), folder.path().join("conf.d/y"))
    );
}

#[test]
fn variables_are_replaced_in_strings_and_paths_are_relative_to_their_file() {
    let text = "[store]\nurl = 'sqlite:${NAME}.db'\n[sinks.out]\ntype = 'file'\npath = '-'\n[[tasks]]\nid = 2\nname = '${NAME:-x} $${NAME} $5'\n";
    let folder = written(&[("opwatch.toml", &format!("{text}{GOOD}")), ("x", "1"), ("y", "1")]);
    let whole = folder.path().join("y");
    let loaded =
        loaded(folder.path(), &[("NAME", "a${NAME}"), ("OPWATCH__TASK_FILES", &format!("['x', {whole:?}]"))]);
    assert_eq!(loaded.task_files, [folder.path().join("x"), whole]);
    assert_eq!(loaded.store.url, Some(format!("sqlite:{}/a${{NAME}}.db", folder.path().display())));
    assert_eq!(loaded.tasks[0].written.name.as_deref(), Some("a${NAME} ${NAME} $5"));
    assert!(matches!(&loaded.sinks["out"].kind, TypedConfig::File(file) if file.path == Path::new("-")));
}

#[test]
fn a_program_with_a_slash_is_relative_to_its_file_and_one_without_is_in_the_path() {
    let sink = |name: &str, command: &str| format!("[sinks.{name}]\ntype = 'exec'\ncommand = {command}\n");
    let text = [
        sink("a", "['bin/x', 'bin/y']"),
        sink("b", "['x', './y']"),
        sink("c", "['/bin/x']"),
        sink("d", "['x']"),
    ]
    .concat();
    let folder = written(&[("opwatch.toml", &text)]);
    let loaded = loaded(folder.path(), &[("OPWATCH__SINKS__D__COMMAND", "['./z', '-v']")]);
    let shown = |name: &str| {
        let TypedConfig::Exec(exec) = &loaded.sinks[name].kind else { panic!("{name}") };
        serde_json::to_value(&exec.command).unwrap()
    };
    let whole = |path: &str| folder.path().join(path).to_str().unwrap().to_owned();
    assert_eq!(shown("a"), serde_json::json!([whole("bin/x"), "bin/y"]));
    assert_eq!(shown("b"), serde_json::json!(["x", "./y"]));
    assert_eq!(shown("c"), serde_json::json!(["/bin/x"]));
    assert_eq!(shown("d"), serde_json::json!([whole("./z"), "-v"]));
}

#[test]
fn credentials_come_from_the_file_the_credentials_folder_or_the_sdk_variables() {
    let text = "[accounts.own]\nsecret_id = 'A'\nsecret_key_file = 'key'\n[accounts.sdk]\n";
    let folder = written(&[("opwatch.toml", text), ("key", "beside\n"), ("credentials/key", "given\n")]);
    let credentials = folder.path().join("credentials");
    let sdk = [
        ("TENCENTCLOUD_SECRET_ID", "B"),
        ("TENCENTCLOUD_SECRET_KEY", "C"),
        ("TENCENTCLOUD_SECURITY_TOKEN", "T"),
    ];
    let beside = loaded(folder.path(), &sdk);
    assert_eq!(beside.accounts["own"].secret_key, Secret::new("beside"));
    assert_eq!(
        (&beside.accounts["sdk"].secret_key, &beside.accounts["sdk"].token),
        (&Secret::new("C"), &Some(Secret::new("T")))
    );
    assert_eq!(beside.accounts["own"].token, None);
    let given = loaded(
        folder.path(),
        &[&sdk[..], &[("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap())]].concat(),
    );
    assert_eq!(given.accounts["own"].secret_key, Secret::new("given"));
    assert!(!format!("{given:?}").contains("given"), "{given:?}");

    let bare = written(&[("opwatch.toml", "# nothing\n")]);
    assert_eq!(loaded(bare.path(), &sdk).accounts["default"].secret_id, "B");
}

#[test]
fn without_id_and_key_the_environment_goes_before_the_sdk_file_and_that_before_tccli() {
    use crate::cloud::credentials::{CredentialFile, FileFormat};
    let sdk = |id: &str| format!("[default]\nsecret_id = {id}\nsecret_key = k\n");
    let tccli = |id: &str| format!("{{\"secretId\":\"{id}\",\"secretKey\":\"k\",\"token\":\"t\"}}");
    let folder = written(&[
        ("opwatch.toml", "[accounts.a]\n"),
        ("file.toml", "[accounts.a]\ncredentials = 'file'\n"),
        ("tccli.toml", "[accounts.a]\ncredentials = 'tccli'\n"),
        ("nobody.toml", "# nothing\n"),
        ("home/.tencentcloud/credentials", &sdk("USER")),
        ("home/.tccli/default.credential", &tccli("TCCLI")),
        ("home/.tccli/ops.credential", &tccli("OPS")),
        ("other/.tccli/default.credential", &tccli("OTHER")),
        ("named", &sdk("NAMED")),
    ]);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let account = |file: &str, variables: &[(&str, String)]| {
        let variables = variables.iter().map(|(name, value)| (*name, value.as_str()));
        let loaded = load(&folder.path().join(file), &variables.collect())
            .unwrap_or_else(|problems| panic!("{problems:#?}"));
        loaded.accounts.into_values().next().unwrap()
    };
    let home = [("HOME", path("home"))];
    let env = [
        ("TENCENTCLOUD_SECRET_ID", "ENV".to_owned()),
        ("TENCENTCLOUD_SECRET_KEY", "k".to_owned()),
        ("HOME", path("home")),
    ];
    let named = [("TENCENTCLOUD_CREDENTIALS_FILE", path("named")), ("HOME", path("home"))];
    let profile = [("TCCLI_PROFILE", "ops".to_owned()), ("HOME", path("home"))];
    let ids = [
        account("opwatch.toml", &env),
        account("opwatch.toml", &named),
        account("opwatch.toml", &home),
        account("nobody.toml", &home),
        account("opwatch.toml", &[("HOME", path("other"))]),
        account("file.toml", &env),
        account("tccli.toml", &env),
        account("tccli.toml", &profile),
    ];
    assert_eq!(
        ids.each_ref().map(|account| account.secret_id.as_str()),
        ["ENV", "NAMED", "USER", "USER", "OTHER", "USER", "TCCLI", "OPS"]
    );
    assert_eq!(ids[0].credentials_file, None);
    assert_eq!(
        ids[2].credentials_file,
        Some(CredentialFile { path: path("home/.tencentcloud/credentials").into(), form: FileFormat::Sdk })
    );
    // Temporary keys come and go, and are counted under the account's name.
    assert_eq!(
        (ids[6].token.clone(), ids[6].counted_as(), ids[2].counted_as()),
        (Some(Secret::new("t")), "a", "USER")
    );
}

#[test]
fn what_is_right_but_doubtful_is_kept_for_the_log() {
    use std::os::unix::fs::PermissionsExt;
    let text = "[accounts.default]\nregion = 'bj'\nsecret_id = 'AKID'\nsecret_key_file = 'key'\n";
    let folder = written(&[("opwatch.toml", text), ("key", " hunter2\n")]);
    std::fs::set_permissions(folder.path().join("key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let doubts: Vec<String> = loaded(folder.path(), &[]).doubts.iter().map(ToString::to_string).collect();
    for (doubt, part) in doubts.iter().zip([
        "chmod o-r",
        "begins or ends with blanks",
        "tasks: no task is listed; write [[tasks]]",
    ]) {
        assert!(
            doubt.contains("opwatch.toml:") && doubt.contains(part) && !doubt.contains("hunter2"),
            "{doubts:#?}"
        );
    }
    assert_eq!(doubts.len(), 3, "{doubts:#?}");
    std::fs::set_permissions(folder.path().join("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(folder.path().join("key"), "hunter2\n").unwrap();
    std::fs::write(folder.path().join("opwatch.toml"), format!("{text}[[tasks]]\nid = 1\n")).unwrap();
    assert_eq!(loaded(folder.path(), &[]).doubts, []);
}

#[test]
fn twenty_thousand_tasks_keep_their_places() {
    let mut text = GOOD.to_owned();
    for id in 0..20_000 {
        text.push_str(&format!(
            "[[tasks]]\nid = {id}\nname = \"task {id}\"\nlabels = {{ team = \"dba\" }}\n"
        ));
    }
    let folder = written(&[("opwatch.toml", &text)]);
    let loaded = loaded(folder.path(), &[]);
    assert_eq!(loaded.tasks.len(), 20_000);
    assert_eq!(loaded.tasks[19_999].place.line, Some(5 + 4 * 19_999));
    let accounts = [("default".to_owned(), Some("bj".to_owned()))];
    let catalogue = crate::register::catalogue::Catalogue::new(
        accounts,
        crate::cloud::operations::Operations::built_in(),
        [],
    );
    let mut last = None;
    let count = crate::register::listed::listed(&loaded.tasks, &[], &catalogue, |task| last = Some(task.id));
    assert_eq!((count, last), (Ok(20_000), Some(TaskId::Int(19_999))));
}

/// The key of a line `key = value`.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(" = ")?;
    key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(key)
}

/// The shipped file with its defaults (`#key = value`) switched on, and with `examples` the examples (`# key
/// = value`) too.
fn switched_on(examples: bool) -> String {
    let is_key = |text: &str| key_of(text).is_some();
    let line = |line: &str| match (line.strip_prefix("# "), line.strip_prefix('#')) {
        (Some(header), _) if header.starts_with('[') => header.to_owned(),
        (Some(example), _) if is_key(example) && examples => example.to_owned(),
        (None, Some(default)) if is_key(default) => default.to_owned(),
        (Some(_) | None, Some(_) | None) => line.to_owned(),
    };
    SHIPPED.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// All keys with their values, dotted.
fn flat(value: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(table) if !table.is_empty() => {
            table.iter().for_each(|(key, value)| {
                flat(value, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, found)
            });
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => found.push((path.to_owned(), value.clone())),
    }
}

fn flat_keys(value: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    flat(value, "", &mut found);
    found
}

#[test]
fn the_shipped_file_shows_every_key_and_every_default_of_the_code() {
    let shown = |examples| flat_keys(&toml::from_str::<Value>(&switched_on(examples)).unwrap());
    // An example of each type of sink is in the file, and `log` needs none.
    let examples = toml::from_str::<Value>(&switched_on(true)).unwrap()["sinks"].clone();
    let example = |name: &str| {
        let mut sinks = examples.as_object().unwrap().iter();
        sinks.find(|(_, table)| table["type"] == name).unwrap_or_else(|| panic!("no example of {name}")).0
    };
    let names = sinks::TYPES.iter().map(|r#type| r#type.name).filter(|name| *name != "log");
    let sinks: Map<String, Value> =
        names.map(|name| (example(name).clone(), serde_json::json!({ "type": name }))).collect();
    let tree = serde_json::json!({ "accounts": { "default": {} }, "sinks": sinks });
    // The keys of every type of sink are shown once, and names of headers are free.
    let common = flat_keys(&section::keys::<sinks::Common>(&[]));
    let is_common = |key: &str| common.iter().any(|(common, _)| common == key);
    let is_shown =
        |(key, _): &(String, Value)| match key.strip_prefix("sinks.").and_then(|key| key.split_once('.')) {
            Some(("log", _)) => false,
            Some((sink, key)) => sink == "audit" || !is_common(key),
            None => true,
        };
    let known: Vec<_> = flat_keys(&known::known(&tree)).into_iter().filter(is_shown).collect();
    let task_keys = flat_keys(&crate::register::KEYS).into_iter().map(|(key, _)| format!("tasks.{key}"));
    let in_code: BTreeSet<String> = known.iter().map(|(key, _)| key.clone()).chain(task_keys).collect();

    let mut in_file = BTreeSet::new();
    for (key, value) in shown(true) {
        match (key.as_str(), value) {
            ("tasks", Value::Array(tasks)) => {
                for task in tasks {
                    in_file.extend(task.as_object().unwrap().keys().map(|key| format!("tasks.{key}")));
                }
            }
            // The names of labels and headers are their owner's.
            (labels, _) if labels.starts_with("sinks.audit.labels.") => {
                _ = in_file.insert("sinks.audit.labels".to_owned());
            }
            (headers, _) if headers.starts_with("sinks.ops.headers.") => {
                _ = in_file.insert("sinks.ops.headers".to_owned());
            }
            _ if !key.starts_with("sinks.log") => drop(in_file.insert(key)),
            _ => {}
        }
    }
    assert_eq!(in_file, in_code);

    // The values that a key has by itself; an absent one, an empty text and an empty list are none.
    let has_value = |value: &Value| {
        !value.is_null() && value != "" && value != &serde_json::json!([]) && !value.is_object()
    };
    let read = |value: &Value| {
        serde_json::from_value::<Span>(value.clone())
            .map_or_else(|_| value.to_string(), |span| span.to_string())
    };
    let defaults: BTreeSet<(String, String)> = known
        .iter()
        .filter(|(_, value)| has_value(value))
        .map(|(key, value)| (key.clone(), read(value)))
        .collect();
    let documented: BTreeSet<(String, String)> = documented()
        .into_iter()
        .filter_map(|(key, facts)| {
            let default =
                toml::from_str::<Value>(&format!("v = {}", facts[3].strip_prefix("default ")?)).unwrap();
            has_value(&default["v"]).then(|| (key, read(&default["v"])))
        })
        .collect();
    assert_eq!(documented, defaults);
}

/// Each key of the shipped file with type, unit, range and default, from the line above it.
fn documented() -> Vec<(String, Vec<String>)> {
    let lines: Vec<&str> = SHIPPED.lines().collect();
    let mut section = String::new();
    let mut documented = Vec::new();
    for (above, line) in lines.iter().zip(&lines[1..]) {
        let text = line.trim_start_matches('#').trim_start();
        if let Some(header) = text.strip_prefix('[') {
            section = format!("{}.", header.trim_matches(['[', ']']));
        } else if let Some(key) = key_of(text) {
            let facts = above.trim_start_matches("# ").split(" · ").map(str::to_owned).collect();
            documented.push((format!("{section}{key}"), facts));
        }
    }
    documented
}

#[test]
fn each_key_of_the_shipped_file_has_its_type_unit_range_and_default_in_one_form() {
    const TYPES: [&str; 15] = [
        "address",
        "boolean",
        "duration",
        "integer",
        "integer or string",
        "list of paths",
        "list of strings",
        "number",
        "path",
        "rate",
        "string",
        "table of paths",
        "table of strings",
        "table",
        "URL",
    ];
    let documented = documented();
    assert!(documented.len() > 60, "{}", documented.len());
    for (key, facts) in documented {
        let [r#type, unit, range, default] = &facts[..] else { panic!("{key}: {facts:?}") };
        assert!(TYPES.contains(&r#type.as_str()), "{key}: {type}");
        assert!(!unit.is_empty() && !range.is_empty(), "{key}: {facts:?}");
        assert!(default.starts_with("default") || default.starts_with("required"), "{key}: {default}");
    }
}

#[test]
fn a_default_of_the_shipped_file_that_is_switched_on_alone_changes_nothing() {
    let effective = |text: &str| {
        let folder = written(&[("opwatch.toml", text)]);
        let variables = [("STATE_DIRECTORY", "/state")];
        let loaded = loaded(folder.path(), &variables);
        format!("{loaded:?}").replace(&folder.path().display().to_string(), "")
    };
    let shipped = effective(SHIPPED);
    let is_default = |line: &&str| line.strip_prefix('#').is_some_and(|text| key_of(text).is_some());
    let defaults: Vec<&str> = SHIPPED.lines().filter(is_default).collect();
    assert!(defaults.len() > 10, "{defaults:?}");
    for default in defaults {
        let switched_on = SHIPPED.replacen(&format!("\n{default}\n"), &format!("\n{}\n", &default[1..]), 1);
        assert_ne!(switched_on, SHIPPED);
        assert_eq!(effective(&switched_on), shipped, "{default}");
    }
}

#[test]
fn the_shipped_file_loads_as_it_is_and_with_everything_switched_on() {
    let folder = written(&[("opwatch.toml", SHIPPED)]);
    assert!(loaded(folder.path(), &[]).accounts.is_empty());
    let folder = written(&[("opwatch.toml", &switched_on(true)), ("secret_key", "x"), ("corp-ca.pem", CA)]);
    // Two ways to give a key are shown, and only one may be used; certificates with their keys are tried in
    // tests/surface/webhook.rs.
    let left_out = ["secret_key =", "url_file =", "template_file =", "tls ="];
    let is_used = |line: &&str| !left_out.iter().any(|key| line.starts_with(key));
    let text = switched_on(true).lines().filter(is_used).collect::<Vec<_>>().join("\n");
    std::fs::write(folder.path().join("opwatch.toml"), text).unwrap();
    let loaded = loaded(folder.path(), &[]);
    assert_eq!(
        (loaded.accounts.len(), loaded.sinks.len(), loaded.tasks.len(), loaded.task_files.len()),
        (1, sinks::TYPES.len(), 1, 0)
    );
}

#[test]
fn a_file_with_an_inline_secret_that_everyone_can_read_is_doubted_with_the_key() {
    use std::os::unix::fs::PermissionsExt;
    let account = |keys: &str| format!("[accounts.default]\nregion = 'bj'\nsecret_id = 'AKID'\n{keys}\n");
    let hook = |keys: &str| format!("[sinks.hook]\ntype = 'webhook'\n{keys}\n");
    let own_key = account("secret_key_file = 'key'");
    for (main, more, reported) in [
        (account("secret_key = 'hunter2'"), String::new(), "opwatch.toml:4: accounts.default.secret_key"),
        (
            account("secret_key = '${NONE:-hunter2}'"),
            String::new(),
            "opwatch.toml:4: accounts.default.secret_key",
        ),
        (
            own_key.clone() + "proxy = 'http://me:hunter2@h:1'",
            String::new(),
            "opwatch.toml:5: accounts.default.proxy",
        ),
        (own_key.clone(), hook("url = 'https://h/hunter2'"), "more.toml:3: sinks.hook.url"),
        (
            own_key.clone(),
            hook("url = 'https://h'\nsecrets = ['whsec_hunter2hunter2hunter2hun']"),
            "more.toml:4: sinks.hook.secrets",
        ),
        (
            own_key.clone(),
            hook("url = 'https://h'\nheaders.Authorization = 'hunter2'"),
            "more.toml:4: sinks.hook.headers.Authorization",
        ),
        (
            account(r#"secret_key = "h\u0075nter2""#),
            String::new(),
            "opwatch.toml:4: accounts.default.secret_key",
        ),
        (account("secret_key = 'a$${b'"), String::new(), "opwatch.toml:4: accounts.default.secret_key"),
        (
            account("secret_key = 'hunter2hunter2${KEY}'"),
            String::new(),
            "opwatch.toml:4: accounts.default.secret_key",
        ),
        (own_key.clone(), hook("url = 'https://h/hunter2key?sign=${KEY}'"), "more.toml:3: sinks.hook.url"),
        (
            own_key.clone(),
            hook("url = 'https://h'\nheaders.X-JWT = 'hunter2'"),
            "more.toml:4: sinks.hook.headers.X-JWT",
        ),
        (
            own_key.clone(),
            hook("url = 'https://h'\nheaders.X-Credential = 'hunter2'"),
            "more.toml:4: sinks.hook.headers.X-Credential",
        ),
        (
            own_key.clone(),
            hook("url = 'https://h'\nheaders.X-Who = 'Bearer hunter2'"),
            "more.toml:4: sinks.hook.headers.X-Who",
        ),
        (own_key.clone(), hook("url = 'https://h/send?sign=${KEY}'"), ""),
        (own_key.clone(), hook("url = 'https://h'\nheaders.Authorization = 'Bearer ${KEY}'"), ""),
        (account("secret_key = '${KEY}'"), String::new(), ""),
        (own_key, hook("url = 'https://h'\nheaders.X-Env = 'prod'\nproxy = 'http://h:1'"), ""),
    ] {
        let folder = written(&[("opwatch.toml", &main), ("conf.d/more.toml", &more), ("key", "k")]);
        let set = |mode: u32| {
            for file in ["opwatch.toml", "conf.d/more.toml", "key"] {
                let mode = if file == "key" { 0o600 } else { mode };
                std::fs::set_permissions(folder.path().join(file), PermissionsExt::from_mode(mode)).unwrap();
            }
        };
        for (mode, is_told) in
            [(0o644, !reported.is_empty()), (0o604, !reported.is_empty()), (0o640, false), (0o600, false)]
        {
            set(mode);
            let doubts = loaded(folder.path(), &[("KEY", "hunter3")]).doubts;
            let doubts: Vec<String> = doubts.iter().map(ToString::to_string).collect();
            let found: Vec<_> = doubts.iter().filter(|doubt| doubt.contains("chmod o-r")).collect();
            assert_eq!(found.len(), usize::from(is_told), "{mode:o} {reported}: {doubts:#?}");
            assert!(
                found.iter().all(|doubt| doubt.contains(reported) && !doubt.contains("hunter2")),
                "{mode:o} {reported}: {doubts:#?}"
            );
        }
    }
}

#[test]
fn a_variable_that_selects_a_role_is_refused_by_name() {
    let folder = written(&[
        ("auto.toml", "[accounts.a]\nregion = 'bj'\n"),
        ("env.toml", "[accounts.a]\nregion = 'bj'\ncredentials = 'env'\n"),
        ("file.toml", "[accounts.a]\nregion = 'bj'\ncredentials = 'file'\n"),
        ("tccli.toml", "[accounts.a]\nregion = 'bj'\ncredentials = 'tccli'\n"),
        ("own.toml", "[accounts.a]\nregion = 'bj'\nsecret_id = 'AKID'\nsecret_key = 'hunter2'\n"),
        ("none.toml", "# nothing\n"),
        (".tencentcloud/credentials", "[default]\nsecret_id = USER\nsecret_key = hunter2\n"),
        (".tccli/default.credential", "{\"secretId\": \"TCCLI\", \"secretKey\": \"hunter2\"}"),
    ]);
    let home = folder.path().to_str().unwrap();
    let key = [("TENCENTCLOUD_SECRET_ID", "AKID"), ("TENCENTCLOUD_SECRET_KEY", "hunter2")];
    let pod = [("TKE_ROLE_ARN", "r"), ("TKE_WEB_IDENTITY_TOKEN_FILE", "/token"), ("TKE_PROVIDER_ID", "p")];
    let load = |file: &str, variables: &[(&str, &str)]| {
        let environment = [("HOME", home)].iter().chain(variables).copied().collect();
        // `check` and `run` load it like this, `wait` like that.
        let whole = load(&folder.path().join(file), &environment).map(|_| ());
        let alone = load_accounts(Some(&folder.path().join(file)), &environment).map(|_| ());
        let reported = [whole, alone].map(|loaded| loaded.err().map(|wrong| format!("{wrong:?}")));
        assert_eq!(reported[0].is_some(), reported[1].is_some(), "{file}: {reported:?}");
        reported.into_iter().flatten().next()
    };
    for file in ["auto.toml", "env.toml", "file.toml", "tccli.toml", "none.toml"] {
        for variable in [
            "TENCENTCLOUD_ROLE_ARN",
            "TENCENTCLOUD_ASSUME_ROLE_ARN",
            "TENCENTCLOUD_CAM_ROLE_NAME",
            "TENCENTCLOUD_ASSUME_ROLE_PROVIDER_ID",
        ] {
            let reported = load(file, &[key[0], key[1], (variable, "r")]).unwrap();
            assert!(reported.contains(variable) && reported.contains("selects a role"), "{file}: {reported}");
            assert!(!reported.contains("hunter2"), "{reported}");
            assert_eq!(load(file, &[key[0], key[1], (variable, "")]), None, "{file} {variable}");
        }
    }
    let reported = load("auto.toml", &[pod[0], pod[1], pod[2], key[0], key[1]]).unwrap();
    assert!(reported.contains("TKE_ROLE_ARN selects the role of this pod"), "{reported}");
    assert!(load("auto.toml", &pod).is_some(), "beside a file as well");
    for file in ["env.toml", "file.toml", "tccli.toml"] {
        assert_eq!(load(file, &[pod[0], pod[1], key[0], key[1]]), None, "{file} names the place of the key");
    }
    assert_eq!(load("own.toml", &[pod[0], pod[1], ("TENCENTCLOUD_ROLE_ARN", "r")]), None);
}
