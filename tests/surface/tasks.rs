//! The keys of a task.

use opwatch::sim::{Scenario, SimResponse};
use serde_json::Value;

use crate::support::{Home, cloud, output_of};

fn kinds(home: &Home) -> Vec<String> {
    home.events()
        .iter()
        .map(|event| event["type"].as_str().unwrap().trim_start_matches("opwatch.task.").to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_with_those_filters_gets_progressed_and_overdue_events_in_order() {
    let script = [SimResponse::status(4).times(8), SimResponse::status(5).times(2), SimResponse::status(1)];
    let cloud = cloud(Scenario::default().with_task(1, script)).await;
    let home = Home::new(&cloud, "[[tasks]]\nid = 1\nwarn_after = \"100ms\"");
    home.edit("events.jsonl\"\n", "events.jsonl\"\nevents = [\"finished\", \"progressed\", \"overdue\"]\n");
    let ended = home.run_until_done().await;
    assert_eq!(
        (ended.code, kinds(&home)),
        (Some(0), vec!["overdue".into(), "progressed".into(), "finished".into()]),
        "{}",
        ended.stderr
    );
    let progressed = &home.events()[1]["data"];
    assert_eq!((&progressed["previous_status"], &progressed["status"]), (&4.into(), &5.into()));
    assert!(home.events()[0]["data"]["elapsed_seconds"].as_f64().unwrap() >= 0.1);
    assert_eq!(ended.log_lines("task overdue").len() + ended.log_lines("task progressed").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_no_longer_listed_is_removed_and_mass_removal_is_refused() {
    let cloud = cloud(Scenario {
        unlisted: opwatch::sim::Unlisted::Follows(vec![SimResponse::status(4)]),
        ..Scenario::default()
    })
    .await;
    let home = Home::new(&cloud, "[[tasks]]\nid = 1");
    home.list(2..=40);
    let start = async |arguments: &[&str], wanted: usize| {
        let before = cloud.requests() as usize;
        let child = home.opwatch(&[&["run", "-c", "opwatch.toml"], arguments].concat()).spawn().unwrap();
        cloud.wait_until(|seen| seen.len() >= before + wanted).await;
        crate::support::signal(&child, "TERM");
        crate::support::output_of(child).await
    };
    start(&[], 45).await;
    home.list(2..=39);
    start(&[], 5).await;
    assert_eq!(kinds(&home), ["abandoned"]);
    let event: &Value = &home.events()[0];
    assert_eq!((&event["subject"], &event["data"]["reason"]), (&"bm/40".into(), &"removed".into()));

    home.list([]);
    let kept = start(&[], 5).await;
    assert!(kept.stderr.contains("--allow-removals"), "{}", kept.stderr);
    assert_eq!(home.events().len(), 1);
    start(&["--allow-removals"], 5).await;
    assert_eq!(home.events().len(), 39);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_run_registers_a_finished_task_again_and_nothing_else_does() {
    let cloud = cloud(Scenario {
        unlisted: opwatch::sim::Unlisted::Follows(vec![SimResponse::status(1)]),
        ..Scenario::default()
    })
    .await;
    let home = Home::new(&cloud, "[[tasks]]\nid = 1\nname = \"first\"");
    home.run_until_done().await;
    home.edit("name = \"first\"", "name = \"second\"");
    home.run_until_done().await;
    assert_eq!(home.events().len(), 1);
    home.edit("name = \"second\"", "name = \"third\"\nrun = \"2\"");
    home.run_until_done().await;
    home.run_until_done().await;
    let events = home.events();
    assert_eq!((events.len(), &events[1]["data"]["task"]["name"]), (2, &"third".into()));
    assert_ne!(events[0]["id"], events[1]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_a_removed_account_is_removed_and_registered_again_with_it() {
    let cloud = cloud(Scenario {
        unlisted: opwatch::sim::Unlisted::Follows(vec![SimResponse::status(4)]),
        ..Scenario::default()
    })
    .await;
    let home = Home::new(&cloud, "");
    let with_one = std::fs::read_to_string(home.path("opwatch.toml")).unwrap();
    let other = with_one.replace(
        "[poll]",
        &format!(
            "[accounts.other]\nregion = \"gz\"\nsecret_id = \"{}\"\nsecret_key_file = \"secret_key\"\nendpoint = \"{}\"\n[poll]",
            opwatch::sim::SECRET_ID,
            cloud.endpoint()
        ),
    );
    let with_other = format!("{other}\n[[tasks]]\nid = 7\naccount = \"other\"\n");
    let start = async |configuration: &str| {
        home.write("opwatch.toml", configuration);
        let before = home.events().len();
        let child = home.start();
        crate::support::eventually("it is up", || {
            std::fs::read_to_string(home.path("opwatch.db.lock")).is_ok_and(|pid| !pid.is_empty())
        })
        .await;
        (child, before)
    };
    home.list([1]);
    let (child, _) = start(&with_other).await;
    cloud.wait_until(|seen| seen.iter().any(|seen| seen.task == "7")).await;
    crate::support::signal(&child, "TERM");
    crate::support::output_of(child).await;
    let (child, before) = start(&with_one).await;
    crate::support::eventually("its end is told", || home.events().len() > before).await;
    crate::support::signal(&child, "TERM");
    crate::support::output_of(child).await;
    assert_eq!(
        (&home.events()[0]["source"], &home.events()[0]["data"]["reason"]),
        (&"opwatch/other/gz".into(), &"removed".into())
    );

    cloud.set_responses("7", [SimResponse::status(1)]);
    let (child, before) = start(&with_other).await;
    crate::support::eventually("its new end is told", || home.events().len() > before).await;
    crate::support::signal(&child, "TERM");
    crate::support::output_of(child).await;
    assert_eq!(
        (&home.events()[1]["subject"], &home.events()[1]["data"]["outcome"]),
        (&"bm/7".into(), &"success".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_one_event_ten_seconds_after_its_last_task_and_later_tasks_start_a_new_round() {
    let ends = [(1, 1), (2, 2), (3, 3), (4, 1)];
    let scenario = ends.into_iter().fold(Scenario::default(), |scenario, (id, status)| {
        scenario.with_task(id, [SimResponse::status(status)])
    });
    let cloud = cloud(scenario).await;
    let home = Home::new(&cloud, "");
    home.edit("events.jsonl\"\n", "events.jsonl\"\nevents = [\"group\"]\nlabels = { team = \"dba\" }\n");
    let line = |id: u64, team: &str| {
        format!("{{\"id\":{id},\"group\":\"rack 7\",\"labels\":{{\"team\":\"{team}\"}}}}\n")
    };
    home.write("list.tasks", &[line(1, "dba"), line(2, "web"), line(3, "web")].concat());
    let first = home.run_until_done().await;
    assert_eq!((first.code, first.log_lines("group finished").len()), (Some(0), 1), "{}", first.stderr);
    home.write("list.tasks", &[line(1, "dba"), line(2, "web"), line(3, "web"), line(4, "dba")].concat());
    assert_eq!(home.run_until_done().await.code, Some(0));
    let [one, two] = &home.events()[..] else { panic!("{:?}", home.events()) };
    assert_eq!(
        (&one["type"], &one["source"], &one["subject"]),
        (&"opwatch.group.finished".into(), &"opwatch".into(), &"group/rack%207".into())
    );
    assert_eq!(
        one["data"]["counts"],
        serde_json::json!({"success": 1, "failure": 1, "partial": 1, "abandoned": 0})
    );
    assert_eq!((&two["data"]["round"], &two["data"]["counts"]["success"]), (&2.into(), &1.into()));
    assert_ne!(one["id"], two["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_larger_than_the_memory_is_loaded_line_by_line() {
    let cloud = cloud(Scenario::default()).await;
    let home = Home::new(&cloud, "");
    let labels: Vec<String> =
        (0..10).map(|number| format!("\"{number}\": \"{}\"", "x".repeat(250))).collect();
    let line = |id: u64| format!("{{\"id\": {id}, \"labels\": {{{}}}}}\n", labels.join(", "));
    home.write("list.tasks", &(1..=8_000).map(line).collect::<String>());
    // In KiB; the list has twenty million bytes.
    let ended = output_of(
        home.in_shell(&format!("ulimit -d 12000; {} check -c opwatch.toml", env!("CARGO_BIN_EXE_opwatch")))
            .spawn()
            .unwrap(),
    )
    .await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.contains("8,000 tasks"), "{}", ended.stdout);
}
