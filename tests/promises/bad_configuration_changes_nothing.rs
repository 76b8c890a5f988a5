//! A wrong configuration is refused with file, line, key and a suggestion, and changes nothing.

use opwatch::sim::Scenario;

use crate::support::{Home, cloud};

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_is_told_at_once_with_its_place_and_nothing_is_registered_or_polled() {
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
        let told = lines.iter().any(|line| line.starts_with("opwatch: ") && line.contains(place) && line.contains(hint));
        assert!(told, "{place} is not told: {}", ended.stderr);
    }
    assert!(!home.path("opwatch.db").exists());
    assert_eq!(cloud.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_path_is_wrong_is_refused_with_its_key() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    home.edit("sqlite:opwatch.db", "sqlite:missing/opwatch.db");
    let ended = home.run_until_done().await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let told = ended.stderr.lines().find(|line| line.starts_with("opwatch: store.url: ")).unwrap();
    assert!(told.contains("missing/opwatch.db: its folder does not exist; create it"), "{told}");
    assert!(!home.path("missing").exists());
}
