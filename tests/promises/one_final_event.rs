//! A task gets exactly one final word; after it the task is never polled again.

use opwatch::sim::{Scenario, SimResponse};

use crate::support::{Home, cloud, final_words};

/// A script for each kind of life, and the word it ends with.
fn life(id: u64) -> (Vec<SimResponse>, &'static str) {
    let unfinished = |times| SimResponse::with_instances(4, [("cpm-a", 4), ("cpm-b", 4)]).times(times);
    match id % 5 {
        0 => (
            vec![unfinished(1 + id as u32 % 3), SimResponse::with_instances(1, [("cpm-a", 1), ("cpm-b", 1)])],
            "success",
        ),
        1 => (vec![unfinished(1), SimResponse::status(5), SimResponse::status(2)], "failure"),
        2 => (
            vec![
                SimResponse::status(6),
                SimResponse::status(7),
                SimResponse::with_instances(3, [("cpm-a", 1), ("cpm-b", 2)]),
            ],
            "partial",
        ),
        3 => (
            vec![
                SimResponse::page(502, "<html>Bad Gateway</html>"),
                SimResponse::refusal(6000, "internal error"),
                unfinished(2),
                SimResponse::status(1),
            ],
            "success",
        ),
        _ => (vec![SimResponse::cut(), SimResponse::raw("{"), SimResponse::status(2)], "failure"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn seventy_five_tasks_end_with_the_right_word_once_each_and_are_left_alone_afterwards() {
    let ids = 1_000..1_075;
    let cloud =
        cloud(ids.clone().fold(Scenario::default(), |scenario, id| scenario.with_task(id, life(id).0))).await;
    let home = Home::new(&cloud, "");
    home.list(ids.clone());

    let first = home.run_until_done().await;
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let words = final_words(&home.events());
    assert_eq!(home.events().len(), 75);
    for id in ids {
        let outcomes: Vec<_> = words[&format!("bm/{id}")].iter().map(|(_, word)| word.as_str()).collect();
        assert_eq!(outcomes, [life(id).1], "task {id}");
    }
    let logged: std::collections::BTreeSet<_> =
        first.log_lines("task finished").iter().map(|line| line["task"].to_string()).collect();
    assert_eq!((logged.len(), first.log_lines("task finished").len()), (75, 75));
    for seen in cloud.received() {
        assert!(seen.flaw.is_none() && !seen.after_end, "{seen:?}");
    }

    let polls = cloud.requests();
    let second = home.run_until_done().await;
    assert_eq!(
        (second.code, cloud.requests(), home.events().len()),
        (Some(0), polls, 75),
        "{}",
        second.stderr
    );
    assert_eq!(second.log_lines("task finished").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_response_at_the_deadline_abandons_and_a_later_end_is_not_reported() {
    let cloud = cloud(Scenario::default().with_task(7, [SimResponse::status(4)])).await;
    let home = Home::new(&cloud, "[[tasks]]\nid = 7\ntimeout = \"300ms\"");
    assert_eq!(home.run_until_done().await.code, Some(0));
    let event = &home.events()[0];
    assert_eq!(
        (&event["type"], &event["data"]["reason"]),
        (&"opwatch.task.abandoned".into(), &"deadline".into()),
        "{event}"
    );
    assert_eq!((&event["data"]["status"], home.events().len()), (&4.into(), 1));
    cloud.set_responses("7", [SimResponse::status(1)]);
    let polls = cloud.requests();
    assert_eq!(home.run_until_done().await.code, Some(0));
    assert_eq!((cloud.requests(), home.events().len()), (polls, 1));
}
