//! Credentials from where the official tools keep theirs, on the built program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use opwatch::secret::Secret;
use opwatch::sim::{SECRET_ID, SECRET_KEY, Scenario, Sim, SimResponse};

use crate::support::{Home, cloud, eventually, output_of, signal};

const WRITTEN: &str = "secret_id = \"AKIDsimulator\"\nsecret_key_file = \"secret_key\"\n";
const TOKEN: &str = "the-token";

fn home(cloud: &Sim) -> Home {
    let home = Home::new(cloud, "");
    home.edit(WRITTEN, "");
    home.list([1]);
    home
}

fn keep(home: &Home, file: &str, text: &str) {
    let path = home.path(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

fn sdk(key: &str) -> String {
    format!("[default]\nsecret_id = {SECRET_ID}\nsecret_key = {key}\n")
}

fn tccli(token: &str) -> String {
    serde_json::json!({ "secretId": SECRET_ID, "secretKey": SECRET_KEY, "token": token }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_file_and_that_of_tccli_sign_and_nothing_of_them_is_printed() {
    for (file, text, token) in [
        (".tencentcloud/credentials", sdk(SECRET_KEY), None),
        (".tccli/default.credential", tccli(TOKEN), Some(Secret::new(TOKEN))),
    ] {
        let cloud =
            cloud(Scenario { token, ..Scenario::default().with_task(1, [SimResponse::status(1)]) }).await;
        let home = home(&cloud);
        keep(&home, file, &text);
        let run = |arguments: &[&str]| {
            let mut command = home.opwatch(arguments);
            command.env("HOME", home.path("")).env("RUST_LOG", "trace").spawn().unwrap()
        };
        let checked = output_of(run(&["check", "-c", "opwatch.toml", "--live"])).await;
        assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""), "{file}: {}", checked.stdout);
        assert!(!checked.stdout.contains("everyone"), "{}", checked.stdout);
        let ended = output_of(run(&["run", "-c", "opwatch.toml", "--until-done"])).await;
        assert_eq!((ended.code, home.events().len()), (Some(0), 1), "{file}: {}", ended.stderr);
        for secret in [SECRET_KEY, TOKEN] {
            assert!(
                ![&checked.stdout, &ended.stdout, &ended.stderr].iter().any(|text| text.contains(secret)),
                "{secret} of {file}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_readable_secret_file_is_warned_of_and_one_without_credentials_is_refused() {
    let cloud = cloud(Scenario::default()).await;
    let home = home(&cloud);
    keep(&home, ".tencentcloud/credentials", &sdk("hunter2"));
    fs::set_permissions(home.path(".tencentcloud/credentials"), PermissionsExt::from_mode(0o644)).unwrap();
    let check = async || {
        output_of(home.opwatch(&["check", "-c", "opwatch.toml"]).env("HOME", home.path("")).spawn().unwrap())
            .await
    };
    let doubted = check().await;
    let unwrapped = doubted.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        doubted.code == Some(0) && unwrapped.contains(".tencentcloud/credentials; chmod o-r it"),
        "{}",
        doubted.stdout
    );

    keep(&home, ".tencentcloud/credentials", "[default]\nsecret_key = hunter2\n");
    let refused = check().await;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
    let reported = refused
        .stderr
        .lines()
        .find(|line| line.starts_with("opwatch: opwatch.toml:3: accounts.default: "))
        .unwrap();
    assert!(
        reported.contains(".tencentcloud/credentials has no id; write a line [default]")
            && !reported.contains("hunter2"),
        "{reported}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_of_any_source_releases_an_account_on_hold() {
    for (file, wrong, right) in [
        (".tencentcloud/credentials", sdk("wrong"), sdk(SECRET_KEY)),
        (".tccli/default.credential", tccli("stale"), tccli(TOKEN)),
    ] {
        let token = Path::new(file).starts_with(".tccli").then(|| Secret::new(TOKEN));
        let cloud =
            cloud(Scenario { token, ..Scenario::default().with_task(1, [SimResponse::status(1)]) }).await;
        let home = home(&cloud);
        home.edit(
            "error_interval = \"20ms\"\nerror_max_interval = \"100ms\"",
            "error_interval = \"1h\"\nerror_max_interval = \"1h\"",
        );
        home.edit("events.jsonl\"\n", "events.jsonl\"\nevents = [\"finished\", \"trouble\"]\n");
        keep(&home, file, &wrong);
        let child = home.opwatch(&["run", "-c", "opwatch.toml"]).env("HOME", home.path("")).spawn().unwrap();
        eventually("the hold is told", || !home.events().is_empty()).await;
        keep(&home, file, &right);
        eventually("the task is over", || {
            home.events().iter().any(|event| event["type"] == "opwatch.task.finished")
        })
        .await;
        signal(&child, "TERM");
        let ended = output_of(child).await;
        assert_eq!(
            (ended.code, ended.log_lines("account held").len()),
            (Some(0), 1),
            "{file}: {}",
            ended.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_another_identity_are_refused_by_check_run_and_wait_alike() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(1)])).await;
    for (file, text, key) in [
        (
            ".tccli/default.credential",
            tccli("").replacen('{', "{\"role-arn\": \"qcs::cam::uin/1:roleName/r\",", 1),
            "role-arn",
        ),
        (".tccli/default.credential", tccli("").replacen('{', "{\"type\": \"cvm-role\",", 1), "type"),
        (
            ".tencentcloud/credentials",
            sdk(SECRET_KEY) + "role_arn = qcs::cam::uin/1:roleName/r\n",
            "role_arn",
        ),
    ] {
        let home = home(&cloud);
        keep(&home, file, &text);
        for command in [
            &["check", "-c", "opwatch.toml"][..],
            &["run", "-c", "opwatch.toml", "--until-done"],
            &["wait", "-c", "opwatch.toml", "1"],
            &["wait", "1"],
        ] {
            let ended = output_of(home.opwatch(command).env("HOME", home.path("")).spawn().unwrap()).await;
            assert_eq!(ended.code, Some(2), "{command:?}: {} {}", ended.stdout, ended.stderr);
            let reported = ended.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                reported.contains(file)
                    && reported.contains(&format!("`{key}`"))
                    && !reported.contains(SECRET_KEY),
                "{command:?}: {reported}"
            );
        }
        assert_eq!(cloud.requests(), 0, "{key}");
    }
}
