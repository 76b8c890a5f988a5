//! `opwatch init` on the built program.

use std::os::unix::fs::PermissionsExt;

use opwatch::sim::{SECRET_ID, SECRET_KEY, Scenario};

use crate::support::{Home, cloud, output_of};

#[tokio::test(flavor = "multi_thread")]
async fn options_become_a_configuration_that_runs_and_a_file_is_never_overwritten() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    home.write("key", &format!("{SECRET_KEY}\n"));
    let endpoint = cloud.endpoint().to_string();
    let options =
        ["--region", "bj", "--secret-id", SECRET_ID, "--secret-key-file", "key", "--endpoint", &endpoint];
    let init = async |more: &[&str]| {
        output_of(home.opwatch(&[&["init"][..], &options, more].concat()).spawn().unwrap()).await
    };
    let ended = init(&[]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stdout);
    assert!(ended.stderr.contains("opwatch.toml: exists already, and is not changed"), "{}", ended.stderr);

    let ended = init(&["-c", "new.toml", "1", "2"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    for part in
        ["new.toml is written.", "2 tasks, 1 account, 2 sinks", "default: good", "opwatch run -c new.toml"]
    {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    let mode = std::fs::metadata(home.path("new.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let run = output_of(home.opwatch(&["run", "-c", "new.toml", "--until-done"]).spawn().unwrap()).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(std::fs::read_to_string(home.path("events.jsonl")).unwrap().lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_a_missing_value_is_named_and_a_wrong_key_is_found() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    let ended = output_of(home.opwatch(&["init", "-c", "new.toml"]).spawn().unwrap()).await;
    assert_eq!(ended.code, Some(2));
    assert_eq!(
        ended.stderr,
        "opwatch: --region: is missing; write it, or start opwatch init on a terminal, which asks\n"
    );
    assert!(!home.path("new.toml").exists());
    for wrong in [
        &["--api", "4.0"][..],
        &["x y\u{7}"],
        &["--secret-key-file", "missing"],
        &["--endpoint", "http://a.example"],
    ] {
        let key =
            if wrong[0] == "--secret-key-file" { &[][..] } else { &["--secret-key-file", "secret_key"] };
        let first = ["init", "-c", "new.toml", "--offline", "--region", "bj", "--secret-id", SECRET_ID];
        let ended = output_of(home.opwatch(&[&first[..], key, wrong].concat()).spawn().unwrap()).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{wrong:?}: {}", ended.stderr);
        assert!(!home.path("new.toml").exists(), "{wrong:?}: the command can be repeated");
    }
    home.write("key", "wrong\n");
    let endpoint = cloud.endpoint().to_string();
    let options = [
        "init",
        "-c",
        "new.toml",
        "--region",
        "bj",
        "--secret-id",
        SECRET_ID,
        "--secret-key-file",
        "key",
        "--endpoint",
        &endpoint,
    ];
    let ended = output_of(home.opwatch(&[&options[..], &["1"]].concat()).spawn().unwrap()).await;
    assert_eq!(ended.code, Some(5), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("default: refused") && home.path("new.toml").exists(), "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_asked_and_the_key_is_never_shown() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    let endpoint = cloud.endpoint().to_string();
    let program = env!("CARGO_BIN_EXE_opwatch");
    std::fs::remove_file(home.path("secret_key")).unwrap();
    // Each line is typed once its question is on the screen: before that, the terminal would show it.
    let answers = [
        ("Region", "gz"),
        ("SecretId", SECRET_ID),
        ("SecretKey", SECRET_KEY),
        ("API version", ""),
        ("webhook", ""),
        ("Task ids", "7, 8"),
    ];
    let type_all: String = answers
        .map(|(question, answer)| {
            format!("until grep -q '{question}' screen; do sleep 0.05; done; sleep 0.2; echo '{answer}'; ")
        })
        .concat();
    home.write("screen", "");
    let command = format!("{program} init -c new.toml --endpoint {endpoint}");
    let line = format!("PATH=/usr/bin:/bin; ({type_all}) | script -qfec '{command}' screen");
    let ended = output_of(home.in_shell(&line).spawn().unwrap()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert!(!ended.stdout.contains(SECRET_KEY), "{}", ended.stdout);
    let written = std::fs::read_to_string(home.path("new.toml")).unwrap();
    for part in ["tasks = [7, 8]", "region = \"gz\"", "secret_key_file = \"secret_key\""] {
        assert!(written.contains(part), "{part}: {written}");
    }
    assert_eq!(std::fs::read_to_string(home.path("secret_key")).unwrap().trim(), SECRET_KEY);
}
