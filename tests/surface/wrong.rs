//! Wrong configurations on the built program: exit 2, every error at its place, no panic, no secret, and no
//! change.

use opwatch::sim::{Scenario, Sim};

use crate::support::{Home, cloud, output_of};

/// A secret, which must not be in any output.
const SECRET: &str = "hunter2";

/// Both commands say the same, so that what `check` lets pass can be run.
async fn refused(home: &Home, cloud: &Sim, file: &str, reported: &[&str]) {
    for command in ["check", "run"] {
        let ended = output_of(home.opwatch(&[command, "-c", file]).spawn().unwrap()).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{command} {file}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), reported.len(), "{command} {file}: {}", ended.stderr);
        for part in reported {
            let is_told = |line: &str| {
                part.split(" … ").all(|part| line.contains(part)) && line.starts_with("opwatch: ")
            };
            assert!(
                ended.stderr.lines().any(is_told),
                "{command} {file} does not tell {part}: {}",
                ended.stderr
            );
        }
        assert!(
            !ended.stderr.contains(SECRET) && !ended.stderr.contains("panicked"),
            "{command} {file}: {}",
            ended.stderr
        );
    }
    assert!(!home.path("opwatch.db").exists() && cloud.requests() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_none_is_refused_as_what_it_is() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    home.write("empty.toml", "");
    home.write("bom.toml", "\u{feff}[pol]\n");
    std::fs::write(home.path("binary.toml"), b"\x7fELF\n\xff\xfehunter2").unwrap();
    std::fs::create_dir(home.path("folder.toml")).unwrap();
    // No user can read this file, not even root.
    std::os::unix::fs::symlink("/proc/self/mem", home.path("unreadable.toml")).unwrap();
    for (file, reported) in [
        (
            "missing.toml",
            "opwatch: missing.toml: there is no such file; write it, or name another one with -c",
        ),
        ("empty.toml", "opwatch: empty.toml: is empty; write"),
        ("bom.toml", "opwatch: bom.toml:1: pol: there is no such section; did you mean `poll`?"),
        ("binary.toml", "opwatch: binary.toml:2: is not UTF-8 text; save it as UTF-8, or name a TOML file"),
        (
            "folder.toml",
            "opwatch: folder.toml: cannot be read (it is a folder, and only a regular file is read); name a regular file",
        ),
        ("unreadable.toml", "opwatch: unreadable.toml: cannot be read ("),
    ] {
        refused(&home, &cloud, file, &[reported]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_types_units_names_and_layers_and_ids_listed_twice_are_reported_together() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    home.edit("initial_interval = \"20ms\"", "initial_interval = 20");
    home.edit("\nmax_interval = \"100ms\"", "\nmax_interval = \"100 parsecs\"");
    home.edit("region = \"bj\"", "regoin = \"bj\"");
    std::fs::create_dir(home.path("conf.d")).unwrap();
    home.write("conf.d/local.toml", "[accounts.default]\nsecret_key = \"hunter2\"\n");
    home.write("list.tasks", "{\"id\":1,\"region\":\"bj\"}\n{\"id\":1,\"region\":\"bj\",\"name\":\"x\"}\n");
    let reported = [
        "opwatch.toml:4: accounts.default.regoin: unknown key; did you mean `region`?",
        "accounts.default.secret_key_file: conflicts with `secret_key`; keep one of the two",
        "opwatch.toml:10: poll.initial_interval: … \"90s\"",
        "opwatch.toml:11: poll.max_interval: … \"90s\"",
        "list.tasks:2: task 1 is listed at list.tasks:1 with other settings",
    ];
    refused(&home, &cloud, "opwatch.toml", &reported).await;
}
