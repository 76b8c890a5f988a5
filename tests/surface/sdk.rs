//! The official SDKs for Python as clients of `opwatch sim`: they accept its responses and recognise its
//! errors as those of the cloud.

use std::process::Command;

use opwatch::sim::{SECRET_ID, SECRET_KEY, Scenario};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::{Home, cloud, output_of, signal};

const SCENARIO: &str = r#"
default.answers = [{ status = 4 }]
[[tasks]]
id = 1
answers = [{ status = 3, instances = { cpm-1 = 1, cpm-2 = 2 } }]
[[tasks]]
id = 2
answers = [{ code = 5000, message = "no such task" }]
"#;

/// The results of that script, in its order.
async fn responses(script: &str) -> Vec<Value> {
    let home = Home::new(&cloud(Scenario::default()).await, "");
    home.write("scenario.toml", SCENARIO);
    let mut sim =
        home.opwatch(&["sim", "--scenario", "scenario.toml", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut lines = BufReader::new(sim.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().expect("where it listens");
    let address =
        line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address").to_owned();

    let python = std::env::var("SDK_PYTHON").unwrap_or_else(|_| "target/sdk/bin/python".to_owned());
    let mut command = Command::new(python);
    command
        .arg(format!("tests/support/{script}"))
        .args([&address, SECRET_ID, SECRET_KEY])
        .env("NO_PROXY", "127.0.0.1");
    let polled = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .expect("a Python that tests/run --all prepares");
    assert!(polled.status.success(), "{}", String::from_utf8_lossy(&polled.stderr));
    signal(&sim, "TERM");
    assert_eq!(output_of(sim).await.code, Some(0));
    String::from_utf8(polled.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the SDKs, which tests/run --all installs"]
async fn the_sdk_of_api_3_0_is_satisfied_with_good_responses_and_sees_each_refusal_as_an_error() {
    let responses = responses("sdk_3_0.py").await;
    assert_eq!(responses[0], json!({ "status": 3, "instances": { "cpm-1": 1, "cpm-2": 2 } }));
    assert_eq!(responses[1], json!({ "status": 4, "instances": {} }));
    assert_eq!(
        responses[2],
        json!({ "code": "ResourceNotFound", "message": "no such task", "has_request_id": true })
    );
    let codes: Vec<_> = responses[3..].iter().map(|response| response["code"].as_str().unwrap()).collect();
    assert_eq!(
        codes,
        [
            "AuthFailure.SignatureFailure",
            "AuthFailure.SecretIdNotFound",
            "UnsupportedRegion",
            "InvalidParameter"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the SDKs, which tests/run --all installs"]
async fn the_sdk_of_api_2_0_gets_its_responses_by_get_and_post_and_with_both_hashes() {
    let responses = responses("sdk_2_0.py").await;
    assert_eq!(responses.len(), 4 * 3);
    for response in responses.chunks(3) {
        let instances =
            json!([{ "instanceId": "cpm-1", "status": 1 }, { "instanceId": "cpm-2", "status": 2 }]);
        assert_eq!(
            response[0],
            json!({ "code": 0, "message": "OK", "data": { "status": 3, "instanceIds": instances } })
        );
        assert_eq!(response[1], json!({ "code": 5000, "message": "no such task" }));
        assert_eq!(response[2]["code"], 4100);
    }
}
