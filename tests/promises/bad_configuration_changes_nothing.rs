//! A wrong configuration is refused with file, line, key and a suggestion, and changes nothing.

use opwatch::sim::Scenario;

use crate::support::{Home, cloud, eventually, output_of, signal};

#[tokio::test(flavor = "multi_thread")]
async fn every_error_is_reported_at_once_with_its_place_and_nothing_is_registered_or_polled() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    home.edit("max_interval = \"100ms\"", "max_intervall = \"100ms\"");
    home.edit("type = \"file\"", "type = \"flie\"");
    home.write("list.tasks", "1\n# a comment\nnot a number\n");
    let ended = home.run_until_done().await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let lines: Vec<_> = ended.stderr.lines().collect();
    for (place, hint) in [
        ("opwatch.toml:11: poll.max_intervall", "max_interval"),
        ("opwatch.toml:17: sinks.audit.type", "file"),
        ("list.tasks:3: id", "an integer"),
    ] {
        let reported = lines
            .iter()
            .any(|line| line.starts_with("opwatch: ") && line.contains(place) && line.contains(hint));
        assert!(reported, "{place} is not told: {}", ended.stderr);
    }
    assert!(!home.path("opwatch.db").exists());
    assert_eq!(cloud.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_only_a_person_can_make_usable_is_refused_with_file_line_and_key() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    let mut before = "opwatch.db".to_owned();
    // No user can create a file in /sys, not even root.
    for (path, reported) in [
        ("missing/opwatch.db", "missing/opwatch.db: its folder does not exist; create it"),
        ("/sys/opwatch.db", "the file"),
    ] {
        home.edit(&format!("sqlite:{before}"), &format!("sqlite:{path}"));
        path.clone_into(&mut before);
        let ended = home.run_until_done().await;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        let line = ended.stderr.lines().last().unwrap();
        assert!(
            line.starts_with("opwatch: opwatch.toml:15: store.url: cannot open the store ")
                && line.contains(reported),
            "{line}"
        );
    }
    home.edit("sqlite:/sys/opwatch.db", "sqlite:opwatch.db");
    let running = home.start();
    eventually("it has the store", || home.path("opwatch.db").exists()).await;
    let second = home.run_until_done().await;
    let line = second.stderr.lines().last().unwrap();
    assert!(
        second.code == Some(2)
            && line.starts_with("opwatch: opwatch.toml:15: store.url: ")
            && line.contains(" is in use by "),
        "{line}"
    );
    signal(&running, "TERM");
    output_of(running).await;
    assert!(!home.path("missing").exists());
}
