//! Inputs that others have gathered to break readers: a suite of JSON, and naughty strings.

use opwatch::cloud::operations::Operations;
use opwatch::cloud::response::read;
use opwatch::model::reading::{Outcome, Phase};
use opwatch::sim::{Scenario, SimResponse};
use serde_json::{Value, json};

use crate::support::{Home, cloud};

/// As many bytes of the cloud's words are kept.
const MESSAGE_BYTES: usize = 512;
/// The longest name of a task.
const NAME_BYTES: usize = 256;

fn input(path: &str) -> Value {
    let folder = std::env::var("HOSTILE_INPUTS").unwrap_or_else(|_| "target/inputs".to_owned());
    let text =
        std::fs::read_to_string(format!("{folder}/{path}")).expect("an input that tests/run --all prepares");
    let data =
        text.split_once("export default ").map_or(&*text, |(_, data)| data).trim_end().trim_end_matches(';');
    serde_json::from_str(data).unwrap()
}

#[test]
#[ignore = "needs inputs that tests/run --all brings"]
fn no_json_is_an_outcome_that_it_is_not_and_none_breaks_the_reader() {
    let suite = input("json-test-suite/data/parsing.js");
    let cases: Vec<_> = suite
        .as_array()
        .unwrap()
        .iter()
        .map(|case| (&case["name"], case["input"].as_str().unwrap()))
        .collect();
    assert!(cases.len() > 200, "{}", cases.len());
    let operations = Operations::built_in();
    for (name, text) in cases {
        for (body, message) in [
            (text.to_owned(), None),
            (format!(r#"{{"code":0,"data":{text}}}"#), None),
            (format!(r#"{{"code":{text},"data":{{"status":2}}}}"#), None),
            (format!(r#"{{"Response":{{"TaskStatus":{text}}}}}"#), None),
            (format!(r#"{{"code":0,"message":{text},"data":{{"status":2}}}}"#), Some(Outcome::Failure)),
        ] {
            let readings =
                ["bm", "bm3"].map(|name| read(operations.get(name).unwrap(), 200, None, body.as_bytes()));
            for reading in readings.into_iter().flatten() {
                // Only where the suite's text is beside the status, or is a code of success.
                let may_end = message.is_some() || text.trim() == "0";
                assert!(
                    may_end || !matches!(reading.phase, Phase::Finished(_)),
                    "{name}: {body}: {reading:?}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs inputs that tests/run --all brings"]
async fn naughty_names_and_messages_arrive_as_they_are_in_one_line_each() {
    let naughty: Vec<String> = serde_json::from_value(input("blns/resources/blns.json")).unwrap();
    assert!(naughty.len() > 400, "{}", naughty.len());
    let fits = |text: &&String| text.len() <= NAME_BYTES && !text.contains(char::is_control);
    let names: Vec<_> = naughty.iter().filter(fits).collect();
    let mut scenario = Scenario::default();
    let mut lines = String::new();
    for (number, name) in names.iter().enumerate() {
        let id = number as u64 + 1;
        scenario = scenario.with_task(id, [SimResponse::status(4), SimResponse::refusal(5000, name)]);
        lines += &format!("{}\n", json!({ "id": id, "name": name, "labels": { "said": name } }));
    }
    let cloud = cloud(scenario).await;
    let home = Home::new(&cloud, "");
    home.edit("[store]", "reject_after = \"20ms\"\n[store]");
    home.write("list.tasks", &lines);
    let ended = home.run_until_done().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let reported = ended.log_lines("task abandoned");
    assert_eq!((home.events().len(), reported.len()), (names.len(), names.len()));
    for event in home.events() {
        let data = &event["data"];
        let id: usize = data["task"]["id"].as_str().unwrap().parse().unwrap();
        let name = names[id - 1];
        assert_eq!(
            (&data["task"]["name"], &data["task"]["labels"]["said"]),
            (&Value::from(name.as_str()), &Value::from(name.as_str()))
        );
        assert_eq!(data["error"]["message"], name[..name.floor_char_boundary(MESSAGE_BYTES)], "{name:?}");
    }
}
