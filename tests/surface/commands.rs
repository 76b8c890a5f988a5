//! The commands as they are typed.

use opwatch::sim::{Scenario, SimResponse};

use crate::support::{Home, cloud, output_of};

#[tokio::test(flavor = "multi_thread")]
async fn the_text_form_of_the_log_line_is_as_the_design_has_it() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(1)])).await;
    let home =
        Home::new(&cloud, "[[tasks]]\nid = 1\nname = \"reinstall \\\"rack\\\" 7\"\n[log]\nformat = \"text\"");
    let ended = home.run_until_done().await;
    let line = ended.stderr.lines().find(|line| line.contains("task finished")).expect("a line");
    let (time, rest) = line.split_once(' ').unwrap();
    assert_eq!((time.len(), time.ends_with('Z')), ("2026-11-24T10:00:00.000Z".len(), true), "{line}");
    let elapsed = rest.split("elapsed=").nth(1).unwrap().split(' ').next().unwrap();
    assert!(elapsed.parse::<f64>().is_ok(), "{line}");
    let expected = format!(
        r#"task finished task=1 operation=bm outcome=success status=1 elapsed={elapsed} polls=1 name="reinstall \"rack\" 7" open=0"#
    );
    assert_eq!(rest, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_standard_output_ends_a_command_silently_and_never_the_daemon() {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(1)])).await;
    let home = Home::new(&cloud, "");
    let mut child = home.opwatch(&["sim", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    drop(child.stdout.take());
    // All may have been printed before the pipe closed; then the simulator continues.
    if let Ok(status) = tokio::time::timeout(std::time::Duration::from_millis(500), child.wait()).await {
        assert_eq!(status.unwrap().code(), Some(0));
    }
    home.list([1]);
    let mut daemon = home.opwatch(&["run", "-c", "opwatch.toml", "--until-done"]).spawn().unwrap();
    drop(daemon.stdout.take());
    assert_eq!(output_of(daemon).await.code, Some(0));
}
