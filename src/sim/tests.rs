//! The simulator over a real socket, with a client that signs by hand.

use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::model::reading::Code;

/// A request before it is signed; changed by the tests that want it refused.
struct Call {
    host: String,
    method: &'static str,
    key: &'static str,
    fields: Vec<(&'static str, String)>,
}

pub(super) struct Bench {
    pub(super) sim: Sim,
    pub(super) clock: Clock,
    pub(super) http: reqwest::Client,
}

pub(super) async fn bench(scenario: Scenario) -> Bench {
    // reqwest wants one even where only http is spoken; the second test finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clock = Clock::start();
    let sim = Sim::start(scenario, SocketAddr::from(([127, 0, 0, 1], 0)), clock).await.unwrap();
    Bench { sim, clock, http: reqwest::Client::builder().no_proxy().build().unwrap() }
}

impl Bench {
    fn call(&self, task: &str) -> Call {
        let fields = vec![
            ("Action", "DescriptionOperationResult".to_owned()),
            ("Nonce", self.clock.nonce().to_string()),
            ("Region", "bj".to_owned()),
            ("SecretId", SECRET_ID.to_owned()),
            ("Timestamp", (self.clock.now().wall.0 / 1000).to_string()),
            ("taskId", task.to_owned()),
        ];
        Call { host: "127.0.0.1".to_owned(), method: "GET", key: SECRET_KEY, fields }
    }

    async fn send(&self, call: &Call) -> reqwest::Result<reqwest::Response> {
        let form = call.signed();
        let endpoint = self.sim.endpoint();
        match call.method {
            "POST" => self.http.post(format!("{endpoint}?Action=Ignored")).body(form).send().await,
            _get => self.http.get(format!("{endpoint}?{form}")).send().await,
        }
    }

    /// The code of the response and its status, if it has one.
    async fn ask(&self, call: &Call) -> (i64, Option<i64>) {
        let body: serde_json::Value =
            serde_json::from_str(&self.send(call).await.unwrap().text().await.unwrap()).unwrap();
        (body["code"].as_i64().unwrap(), body["data"]["status"].as_i64())
    }

    async fn poll(&self, task: &str) -> (i64, Option<i64>) {
        self.ask(&self.call(task)).await
    }
}

impl Call {
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields.retain(|(field, _)| *field != name);
        self.fields.push((name, value.to_owned()));
        self
    }

    fn signed(&self) -> String {
        let mut fields = self.fields.clone();
        fields.sort();
        let raw: Vec<_> =
            fields.iter().map(|(name, value)| format!("{}={value}", name.replace('_', "."))).collect();
        let source = format!("{}{}/v2/index.php?{}", self.method, self.host, raw.join("&"));
        let signature = if source.contains("HmacSHA256") {
            STANDARD.encode(
                Hmac::<Sha256>::new_from_slice(self.key.as_bytes())
                    .unwrap()
                    .chain_update(source)
                    .finalize()
                    .into_bytes(),
            )
        } else {
            STANDARD.encode(
                Hmac::<Sha1>::new_from_slice(self.key.as_bytes())
                    .unwrap()
                    .chain_update(source)
                    .finalize()
                    .into_bytes(),
            )
        };
        fields.push(("Signature", signature));
        let encoded = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
    }
}

fn with_script(responses: impl Into<Vec<SimResponse>>) -> Scenario {
    Scenario::default().with_task(7, responses)
}

#[tokio::test]
async fn a_signed_request_is_answered_by_get_and_post_and_with_both_hashes() {
    let bench = bench(with_script([SimResponse::with_instances(5, [("cpm-1", 1), ("cpm-2", 4)])])).await;
    for method in ["GET", "POST"] {
        for hash in ["HmacSHA1", "HmacSHA256"] {
            let call = Call {
                method,
                ..bench.call("7").with("SignatureMethod", hash).with("zone_name", "a b+c&d=云")
            };
            let response = bench.send(&call).await.unwrap();
            assert_eq!(response.headers()["content-type"], "application/json");
            let body: serde_json::Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
            assert_eq!(
                body["data"]["instanceIds"][1],
                serde_json::json!({ "instanceId": "cpm-2", "status": 4 }),
                "{body}"
            );
        }
    }
    assert!(
        bench
            .sim
            .received()
            .iter()
            .all(|seen| seen.flaw.is_none() && seen.verdict == RequestOutcome::Status(5) && seen.task == "7")
    );
}

#[tokio::test]
async fn each_flaw_of_a_request_is_refused_with_its_code() {
    let regions = Some(vec!["bj".to_owned()]);
    let bench = bench(Scenario { token: Some(Secret::new("t")), regions, ..Scenario::default() }).await;
    let good = || bench.call("7").with("Token", "t");
    let at = |ahead_s: i64| (bench.clock.now().wall.0 / 1000 + ahead_s).to_string();
    let used = good();
    assert_eq!(bench.ask(&used).await.0, 0);
    assert_eq!(bench.ask(&good().with("Timestamp", &at(290))).await.0, 0);
    let flaws = [
        (used, 4500),
        (good().with("SecretId", "AKIDother"), 4104),
        (good().with("Token", "stale"), 4105),
        (bench.call("7"), 4105),
        (Call { key: "wrong", ..good() }, 4100),
        (Call { host: "bm.api.qcloud.com".to_owned(), ..good() }, 4100),
        (good().with("Timestamp", &at(-310)), 4200),
        (good().with("Timestamp", &at(310)), 4200),
        (good().with("Timestamp", "now"), 4000),
        (good().with("Nonce", "-1"), 4000),
        (good().with("Action", "DescribeInstances"), 6100),
        (good().with("Region", ""), 4000),
        (good().with("Region", "beijing"), 4110),
        (good().with("taskId", "seven"), 10001),
        (good().with("taskId", ""), 10001),
    ];
    for (call, code) in flaws {
        assert_eq!(bench.ask(&call).await, (code, None), "{:?}", call.fields);
        let seen = bench.sim.received().pop().unwrap();
        assert_eq!(
            (seen.verdict, seen.flaw),
            (RequestOutcome::Refused(Code::Int(code)), Some(Code::Int(code)))
        );
    }
}

#[tokio::test]
async fn the_signed_host_can_be_another_than_the_one_that_is_dialled() {
    let bench = bench(Scenario {
        signed_host: Some("bm.api.qcloud.com".to_owned()),
        ..with_script([SimResponse::status(4)])
    })
    .await;
    let call = Call { host: "bm.api.qcloud.com".to_owned(), ..bench.call("7") };
    assert_eq!((bench.ask(&call).await.0, bench.poll("7").await.0), (0, 4100));
}

#[tokio::test]
async fn more_calls_than_the_rate_are_refused_for_that_region_alone() {
    let rate = Some(Quota { calls: 2, per: Duration::from_secs(3600) });
    let bench = bench(Scenario { rate, ..with_script([SimResponse::status(4)]) }).await;
    assert_eq!([bench.poll("7").await.0, bench.poll("7").await.0, bench.poll("7").await.0], [0, 0, 4400]);
    assert_eq!(bench.ask(&bench.call("7").with("Region", "gz")).await.0, 0);
    bench.sim.set_rate(None);
    assert_eq!(bench.poll("7").await.0, 0);
}

#[tokio::test]
async fn an_id_that_is_not_listed_runs_follows_or_is_refused() {
    let refusal = ErrorResponse::new(5000, "gone");
    for (unlisted, scripted) in [
        (Unlisted::Runs, (0, Some(4))),
        (Unlisted::Follows(vec![SimResponse::status(2)]), (0, Some(2))),
        (Unlisted::Refused(refusal), (5000, None)),
    ] {
        let bench = bench(Scenario { unlisted, ..with_script([SimResponse::status(1)]) }).await;
        assert_eq!(bench.poll("18446744073709551615").await, scripted);
        assert_eq!(bench.poll("007").await, (0, Some(1)));
    }
}

#[tokio::test]
async fn bodies_codes_and_headers_are_sent_as_the_script_says() {
    let script = [
        SimResponse::refusal(10001, "no such task"),
        SimResponse::page(502, "<h1>Bad Gateway</h1>").retry_after("5"),
        SimResponse::raw("garbage"),
        SimResponse::refusal(4400, "slow down").http(429),
        SimResponse::status(1).huge(),
    ];
    let bench = bench(with_script(script)).await;
    assert_eq!(bench.poll("7").await, (10001, None));
    let gateway = bench.send(&bench.call("7")).await.unwrap();
    assert_eq!((gateway.status().as_u16(), &gateway.headers()["retry-after"]), (502, &"5".parse().unwrap()));
    assert_eq!(gateway.text().await.unwrap(), "<h1>Bad Gateway</h1>");
    assert_eq!(bench.send(&bench.call("7")).await.unwrap().text().await.unwrap(), "garbage");
    assert_eq!(bench.send(&bench.call("7")).await.unwrap().status().as_u16(), 429);
    assert_eq!(bench.send(&bench.call("7")).await.unwrap().bytes().await.unwrap().len(), 2 << 20);
    assert!(bench.sim.received().iter().all(|seen| !seen.after_end), "an oversized end is no end");
}

#[tokio::test]
async fn a_cut_closes_before_any_byte_and_a_short_response_in_the_middle_of_its_body() {
    let bench =
        bench(with_script([SimResponse::status(4), SimResponse::cut(), SimResponse::status(1).short()]))
            .await;
    let mut reused = tokio::net::TcpStream::connect(bench.sim.addr()).await.unwrap();
    let mut exchange = async |whole: bool| {
        let request =
            format!("GET /v2/index.php?{} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", bench.call("7").signed());
        reused.write_all(request.as_bytes()).await.unwrap();
        let mut scripted = Vec::new();
        while !(whole && scripted.ends_with(b"}}")) && reused.read_buf(&mut scripted).await.unwrap() > 0 {}
        String::from_utf8(scripted).unwrap()
    };
    assert!(exchange(true).await.contains("\"code\":0"));
    assert_eq!(exchange(false).await, "");
    drop(reused);
    let short = bench.send(&bench.call("7")).await.unwrap();
    assert_eq!(short.status().as_u16(), 200);
    let length = short.content_length().unwrap();
    let mut body = Vec::new();
    let mut short = short;
    let broken = loop {
        match short.chunk().await {
            Ok(Some(bytes)) => body.extend_from_slice(&bytes),
            Ok(None) => panic!("the body ended well"),
            Err(error) => break error,
        }
    };
    assert!(broken.is_body() || broken.is_decode(), "{broken:?}");
    assert_eq!(body.len() as u64, length / 2);
    assert!(bench.sim.received().iter().all(|seen| !seen.after_end), "half an end is no end");
}

#[tokio::test]
async fn a_hanging_request_is_seen_and_never_answered() {
    let bench = bench(with_script([SimResponse::hang()])).await;
    tokio::select! {
        scripted = bench.poll("7") => panic!("answered: {scripted:?}"),
        () = bench.sim.wait_until(|seen| seen.len() == 1) => {}
    }
    assert_eq!(bench.sim.received()[0].verdict, RequestOutcome::Misbehaved);
}

#[tokio::test]
async fn a_delayed_response_comes_after_its_delay() {
    let bench = bench(with_script([SimResponse::status(1).delayed(Duration::from_millis(50))])).await;
    assert_eq!(bench.poll("7").await, (0, Some(1)));
    assert!(bench.clock.now().steady - bench.sim.received()[0].arrived >= Duration::from_millis(50));
}

#[tokio::test]
async fn a_poll_after_an_end_is_reported_apart_and_a_new_script_is_a_new_life() {
    let bench = bench(with_script([SimResponse::status(4), SimResponse::status(3)])).await;
    for _ in 0..3 {
        bench.poll("7").await;
    }
    bench.sim.set_responses("007", [SimResponse::status(2)]);
    assert_eq!(bench.poll("7").await, (0, Some(2)));
    assert_eq!(
        bench.sim.received().iter().map(|seen| seen.after_end).collect::<Vec<_>>(),
        [false, false, true, false]
    );
}

#[tokio::test]
async fn an_outage_overrides_everything_and_still_notes_the_flaws() {
    let bench = bench(with_script([SimResponse::status(4), SimResponse::status(1)])).await;
    bench.sim.outage(Some(SimResponse::refusal(6200, "maintenance")));
    assert_eq!(bench.poll("7").await.0, 6200);
    assert_eq!(bench.ask(&Call { key: "wrong", ..bench.call("7") }).await.0, 6200);
    bench.sim.outage(None);
    assert_eq!(bench.poll("7").await, (0, Some(4)));
    assert_eq!(
        bench.sim.received().into_iter().map(|seen| seen.flaw).collect::<Vec<_>>(),
        [None, Some(Code::Int(4100)), None]
    );
}

#[tokio::test]
async fn key_and_clock_can_be_changed_while_it_runs_and_date_reports_the_clock() {
    let bench = bench(with_script([SimResponse::status(4)])).await;
    bench.sim.set_secret_key(Secret::new("new"));
    assert_eq!(bench.poll("7").await.0, 4100);
    let rotated = || Call { key: "new", ..bench.call("7") };
    assert_eq!(bench.ask(&rotated()).await.0, 0);
    bench.sim.set_clock_offset(Offset(-3_600_000));
    let expired = bench.send(&rotated()).await.unwrap();
    let date = httpdate::parse_http_date(expired.headers()["date"].to_str().unwrap()).unwrap();
    let date_s = date.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert!(expired.text().await.unwrap().contains("4200"));
    assert!((bench.clock.now().wall.0 / 1000 - 3600 - date_s).abs() <= 5);
    assert_eq!(bench.ask(&rotated().with("Timestamp", &date_s.to_string())).await.0, 0);
}

#[tokio::test]
async fn a_stopped_simulator_refuses_connections_and_its_port_is_free() {
    let bench = bench(Scenario::default()).await;
    bench.poll("7").await;
    let addr = bench.sim.addr();
    bench.sim.stop().await;
    assert_eq!(tokio::net::TcpStream::connect(addr).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    Sim::start(Scenario::default(), addr, bench.clock).await.unwrap();
}

#[tokio::test]
async fn other_paths_and_methods_are_no_api() {
    let bench = bench(Scenario::default()).await;
    let url = format!("http://{}/", bench.sim.addr());
    assert_eq!(bench.http.get(url).send().await.unwrap().status().as_u16(), 404);
    assert_eq!(bench.http.delete(bench.sim.endpoint()).send().await.unwrap().status().as_u16(), 405);
    assert_eq!(
        bench
            .http
            .post(bench.sim.endpoint())
            .body("x".repeat(70_000))
            .send()
            .await
            .unwrap()
            .status()
            .as_u16(),
        413
    );
    assert!(bench.sim.received().is_empty());
}
