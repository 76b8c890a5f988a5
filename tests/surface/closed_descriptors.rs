//! A standard output or standard error that is closed holds its sink, and one that leads to /dev/null does
//! not.

use opwatch::sim::{Scenario, SimResponse};
use tokio::process::Child;

use crate::support::{Home, cloud, eventually, output_of, signal};

/// `opwatch run` behind that redirection.
fn run(home: &Home, redirection: &str, more: &str) -> Child {
    let script = format!("exec {} run -c opwatch.toml {more} {redirection}", env!("CARGO_BIN_EXE_opwatch"));
    home.in_shell(&script).spawn().unwrap()
}

/// A cloud and a folder for one task that ends well, with a sink that is standard output.
async fn one_task() -> (opwatch::sim::Sim, Home) {
    let cloud = cloud(Scenario::default().with_task(1, [SimResponse::status(1)])).await;
    let home = Home::new(&cloud, "[sinks.out]\ntype = \"file\"\npath = \"-\"\n");
    home.list([1]);
    (cloud, home)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_closed_standard_output_could_not_take_comes_with_the_next_start() {
    let (_cloud, home) = one_task().await;
    let child = run(&home, ">&-", "");
    eventually("the other sink has the event", || home.events().len() == 1).await;
    signal(&child, "TERM");
    let ended = output_of(child).await;
    let reported = &ended.log_lines(
        "sink on hold: a person must act; its deliveries are kept, and it is probed at long intervals",
    )[0];
    assert_eq!(
        reported["error_message"],
        "cannot open standard output: it is closed; restart with a standard output that is read"
    );
    let next = output_of(run(&home, "", "--until-done")).await;
    assert_eq!((next.code, next.stdout.lines().count()), (Some(0), 1), "{}", next.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_closed_standard_error_could_not_take_comes_with_the_next_start() {
    let (_cloud, home) = one_task().await;
    let child = run(&home, "2>&-", "");
    eventually("the other sink has the event", || home.events().len() == 1).await;
    signal(&child, "TERM");
    assert_eq!(output_of(child).await.code, Some(0));
    let next = output_of(run(&home, "", "--until-done")).await;
    assert_eq!((next.code, next.log_lines("task finished").len()), (Some(0), 1), "{}", next.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_null_device_accepts_everything() {
    for redirection in [">/dev/null 2>/dev/null", "1<>/dev/null 2<>/dev/null"] {
        let (_cloud, home) = one_task().await;
        assert_eq!(output_of(run(&home, redirection, "--until-done")).await.code, Some(0), "{redirection}");
    }
}
