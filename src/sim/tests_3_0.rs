//! API 3.0 of the simulator over a real socket, with a client that signs by hand.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::tests::{Bench, bench};
use super::*;
use crate::cloud::operations::Api;
use crate::model::reading::Code;

/// A request before it is signed; changed by the tests that want it refused.
#[derive(Clone)]
struct Call {
    headers: Vec<(&'static str, String)>,
    body: String,
    secret_id: &'static str,
    key: &'static str,
    service: &'static str,
    signed: &'static str,
}

impl Bench {
    fn call_3_0(&self, body: Value) -> Call {
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("host", self.sim.addr().to_string()),
            ("x-tc-action", "DescribeOperationResult".to_owned()),
            ("x-tc-region", "ap-beijing".to_owned()),
            ("x-tc-timestamp", (self.clock.now().wall.0 / 1000).to_string()),
            ("x-tc-version", "2018-04-23".to_owned()),
        ];
        let body = body.to_string();
        Call {
            headers,
            body,
            secret_id: SECRET_ID,
            key: SECRET_KEY,
            service: "bm",
            signed: "content-type;host",
        }
    }

    async fn ask_3_0(&self, call: &Call) -> Value {
        let request = self.http.post(format!("http://{}/", self.sim.addr())).body(call.body.clone());
        let authorization = ("authorization", call.authorization());
        let headers = call.headers.iter().chain([&authorization]).filter(|(_, value)| !value.is_empty());
        let response = headers
            .fold(request, |request, (name, value)| request.header(*name, value))
            .send()
            .await
            .unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"application/json".parse().unwrap())
        );
        serde_json::from_str::<Value>(&response.text().await.unwrap()).unwrap()["Response"].take()
    }

    async fn code(&self, call: &Call) -> String {
        let mut response = self.ask_3_0(call).await;
        assert!(response["RequestId"].as_str().is_some_and(|id| id.len() == 36), "{response}");
        assert!(response["Error"].is_null() != response["TaskStatus"].is_null(), "{response}");
        response["Error"]["Code"].take().as_str().unwrap_or_default().to_owned()
    }
}

impl Call {
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(header, _)| *header != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(header, _)| *header == name)
            .map(|(_, value)| value.as_str())
            .unwrap_or_default()
    }

    fn authorization(&self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let timestamp = self.header("x-tc-timestamp");
        let date = Wall(timestamp.parse::<i64>().unwrap_or_default() * 1000).to_string()[..10].to_owned();
        let headers: String = self
            .signed
            .split(';')
            .map(|name| format!("{name}:{}\n", self.header(name).to_lowercase()))
            .collect();
        let canonical =
            format!("POST\n/\n\n{headers}\n{}\n{}", self.signed, hex(&Sha256::digest(&self.body)));
        let scope = format!("{date}/{}/tc3_request", self.service);
        let to_sign = format!("TC3-HMAC-SHA256\n{timestamp}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let mac = |key: &[u8], text: &str| {
            Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes()
        };
        let of_day =
            mac(&mac(&mac(format!("TC3{}", self.key).as_bytes(), &date), self.service), "tc3_request");
        let signature = hex(&mac(&of_day, &to_sign));
        format!(
            "TC3-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
            self.secret_id, self.signed
        )
    }
}

#[tokio::test]
async fn a_signed_request_is_answered_in_the_form_of_its_api() {
    let bench = bench(
        Scenario::default().with_task(7, [SimResponse::with_instances(5, [("cpm-1", 1), ("cpm-2", 4)])]),
    )
    .await;
    let usual = bench.call_3_0(json!({ "TaskId": 7 }));
    for call in [
        usual.clone(),
        Call { signed: "content-type;host;x-tc-action", ..usual }
            .with("content-type", "application/json; charset=utf-8"),
    ] {
        let scripted = bench.ask_3_0(&call).await;
        assert_eq!(scripted["TaskStatus"], 5);
        assert_eq!(
            scripted["SubtaskStatusSet"][1],
            json!({ "InstanceId": "cpm-2", "TaskStatus": 4 }),
            "{scripted}"
        );
    }
    for seen in bench.sim.received() {
        assert_eq!(
            (seen.api, seen.task.as_str(), seen.action.as_str(), seen.region.as_str()),
            (Api::V3, "7", "DescribeOperationResult", "ap-beijing")
        );
        assert_eq!(
            (seen.secret_id.as_str(), seen.verdict, seen.flaw),
            (SECRET_ID, RequestOutcome::Status(5), None)
        );
    }
}

#[tokio::test]
async fn each_flaw_of_a_request_is_refused_with_its_code() {
    let regions = Some(vec!["ap-beijing".to_owned(), "bj".to_owned()]);
    let bench = bench(Scenario { token: Some(Secret::new("t")), regions, ..Scenario::default() }).await;
    let good = || bench.call_3_0(json!({ "TaskId": 7 })).with("x-tc-token", "t");
    let body = |body: &str| Call { body: body.to_owned(), ..good() };
    let at = |ahead_s: i64| (bench.clock.now().wall.0 / 1000 + ahead_s).to_string();
    for call in
        [good(), good(), good().with("x-tc-timestamp", &at(290)), body(r#"{"TaskId":18446744073709551615}"#)]
    {
        assert_eq!(bench.code(&call).await, "", "{:?}", call.headers);
    }
    let flaws = [
        (Call { key: "wrong", ..good() }, "AuthFailure.SignatureFailure"),
        (Call { service: "cvm", ..good() }, "AuthFailure.SignatureFailure"),
        (Call { secret_id: "AKIDother", ..good() }, "AuthFailure.SecretIdNotFound"),
        (Call { signed: "host", ..good() }, "AuthFailure.InvalidAuthorization"),
        (good().with("x-tc-token", "stale"), "AuthFailure.TokenFailure"),
        (good().with("x-tc-token", ""), "AuthFailure.TokenFailure"),
        (good().with("x-tc-timestamp", &at(-310)), "AuthFailure.SignatureExpire"),
        (good().with("x-tc-timestamp", &at(310)), "AuthFailure.SignatureExpire"),
        (good().with("x-tc-timestamp", "now"), "InvalidParameterValue"),
        (good().with("x-tc-timestamp", ""), "MissingParameter"),
        (good().with("x-tc-action", ""), "MissingParameter"),
        (good().with("x-tc-version", ""), "MissingParameter"),
        (good().with("x-tc-region", ""), "MissingParameter"),
        (good().with("x-tc-action", "DescribeInstances"), "InvalidAction"),
        (good().with("x-tc-version", "2017-03-12"), "NoSuchVersion"),
        (good().with("x-tc-region", "ap-nowhere"), "UnsupportedRegion"),
        (good().with("x-tc-region", "bj"), "UnsupportedRegion"),
        (good().with("content-type", "text/plain"), "InvalidRequest"),
        (body("7"), "InvalidRequest"),
        (body("{}"), "MissingParameter"),
        (body(r#"{"TaskId":7,"Limit":1}"#), "UnknownParameter"),
        (body(r#"{"TaskId":"7"}"#), "InvalidParameter"),
        (body(r#"{"TaskId":-7}"#), "InvalidParameter"),
    ];
    for (call, code) in flaws {
        assert_eq!(bench.code(&call).await, code, "{:?} {}", call.headers, call.body);
        let seen = bench.sim.received().pop().unwrap();
        let code = Code::Text(code.into());
        assert_eq!((seen.verdict, seen.flaw), (RequestOutcome::Refused(code.clone()), Some(code)));
    }
}

#[tokio::test]
async fn a_script_serves_both_apis_and_its_codes_are_reported_by_the_name_that_they_have_here() {
    let script = [
        SimResponse::refusal(4400, "slow"),
        SimResponse::refusal("FailedOperation.TaskBusy", "busy"),
        SimResponse::refusal(4500, ""),
        SimResponse::status(1),
    ];
    let bench = bench(Scenario::default().with_task(7, script)).await;
    let call = bench.call_3_0(json!({ "TaskId": 7 }));
    for code in ["RequestLimitExceeded", "FailedOperation.TaskBusy", "4500", ""] {
        assert_eq!(bench.code(&call).await, code);
    }
    bench.sim.set_responses("7", [SimResponse::status(4)]);
    bench.sim.set_rate(Some(Quota { calls: 1, per: std::time::Duration::from_secs(600) }));
    assert_eq!([bench.code(&call).await, bench.code(&call).await], ["", "RequestLimitExceeded"]);
}
