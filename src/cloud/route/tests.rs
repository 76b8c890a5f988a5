//! Polls through [`PollRoute::poll`] in virtual time, over scripted connections.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::header::HeaderValue;

use super::*;
use crate::cloud::Cloud;
use crate::cloud::account::Account;
use crate::cloud::connection::Connections;
use crate::cloud::operations::{Api, Operations};
use crate::cloud::scripted::{received, scripted};
use crate::model::reading::{Class, Code, Outcome, Phase};
use crate::model::task::Target;

const TIMEOUT: Duration = Duration::from_secs(10);
const STAMP: Stamp = Stamp { nonce: 7, at: Wall(1_764_000_000_000) };

fn route(
    api: Api,
    connect: impl Fn(&Account) -> Result<Arc<dyn Connections>, crate::cloud::Error>,
) -> PollRoute {
    let account = Account { api, ..Account::new("default", "AKID", Secret::new("key")) };
    let cloud =
        Cloud::new([("default".to_owned(), account)].into(), Operations::built_in(), TIMEOUT, connect);
    let target = Target { account: "default".into(), region: "bj".into(), operation: "bm".into() };
    cloud.unwrap().route(&target).unwrap()
}

async fn poll(route: &PollRoute) -> Response {
    route.poll(&TaskId::Int(42), &[], STAMP, false).await
}

fn code_and_class(response: &Response) -> (String, Class) {
    let fault = response.poll.as_ref().expect_err("a fault");
    (fault.code.to_string(), fault.class)
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "the virtual time of the test")]
async fn a_poll_is_signed_sent_and_decoded_over_either_api_without_a_socket() {
    let running = [
        (Api::V2, r#"{"code":0,"data":{"status":4}}"#, r#"{"code":0,"data":{"status":1}}"#),
        (Api::V3, r#"{"Response":{"TaskStatus":4}}"#, r#"{"Response":{"TaskStatus":1}}"#),
    ];
    for (api, first, second) in running {
        let polls = AtomicUsize::new(0);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let requests = Arc::clone(&seen);
        let route = route(
            api,
            scripted(move |request, fresh| {
                requests.lock().unwrap().push((request, fresh));
                let body = if polls.fetch_add(1, Ordering::Relaxed) == 0 { first } else { second };
                async move {
                    tokio::time::sleep(Duration::from_secs(9)).await;
                    let mut received = received(body);
                    let date = HeaderValue::from_static("Mon, 24 Nov 2025 16:00:30 GMT");
                    received.headers.insert(DATE, date);
                    Ok(received)
                }
            }),
        );
        let started = tokio::time::Instant::now();
        let response = poll(&route).await;
        assert_eq!(started.elapsed(), Duration::from_secs(9));
        assert_eq!(response.date, Some(Wall(1_764_000_030_000)));
        assert_eq!(response.poll.unwrap().phase, Phase::Running);
        let response = route.poll(&TaskId::Int(42), &[], STAMP, true).await;
        assert_eq!(response.poll.unwrap().phase, Phase::Finished(Outcome::Success));

        let seen = seen.lock().unwrap();
        assert_eq!(seen.iter().map(|(_, fresh)| *fresh).collect::<Vec<_>>(), [false, true]);
        let request = &seen[0].0;
        match api {
            Api::V2 => {
                let query = &request.query;
                let fields = "Action=DescriptionOperationResult&Nonce=7&Region=bj&SecretId=AKID&Timestamp=1764000000&taskId=42&Signature=";
                assert!(query.starts_with(fields) && request.body.is_empty(), "{query}");
            }
            Api::V3 => {
                assert_eq!((request.method.as_str(), request.body.as_str()), ("POST", r#"{"TaskId":42}"#));
                assert_eq!(request.headers["x-tc-timestamp"], "1764000000");
                assert_eq!(request.headers["host"], "bm.tencentcloudapi.com");
                let authorization = request.headers["authorization"].to_str().unwrap();
                assert!(
                    authorization.starts_with("TC3-HMAC-SHA256 Credential=AKID/2025-11-24/bm/"),
                    "{authorization}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "the virtual time of the test")]
async fn a_request_without_a_complete_response_ends_at_its_time_limit() {
    let route = route(Api::V2, scripted(|_, _| std::future::pending()));
    let started = tokio::time::Instant::now();
    let response = poll(&route).await;
    assert_eq!((started.elapsed(), code_and_class(&response)), (TIMEOUT, ("timeout".into(), Class::Service)));
    assert_eq!(response.poll.unwrap_err().message, "bm.api.qcloud.com:443: operation timed out");
}

#[tokio::test]
async fn every_failure_of_the_transport_has_its_code_and_class_and_keeps_what_arrived() {
    for (missing, code, class) in [
        (Missing::Connect, "connect", Class::Service),
        (Missing::ConnectionLost, "connection_lost", Class::Connection),
        (Missing::Transport, "transport", Class::Service),
        (Missing::TooLarge, "too_large", Class::Service),
    ] {
        let failure = TransportFailure { missing, message: "机".repeat(1_000) };
        let before = failure.clone();
        let response = poll(&route(
            Api::V2,
            scripted(move |_, _| {
                let failure = before.clone();
                async { Err(failure) }
            }),
        ))
        .await;
        assert_eq!(code_and_class(&response), (code.to_owned(), class));
        assert!(response.poll.unwrap_err().message.len() <= response::MAX_TEXT_BYTES);

        let after = failure.clone();
        let response = poll(&route(
            Api::V3,
            scripted(move |_, _| {
                let headers = [(DATE, "Mon, 24 Nov 2025 16:00:00 GMT"), (RETRY_AFTER, "30")];
                let headers =
                    headers.into_iter().map(|(name, text)| (name, HeaderValue::from_static(text))).collect();
                let received = Received { status: 200, headers, body: Err(after.clone()) };
                async { Ok(received) }
            }),
        ))
        .await;
        assert_eq!((code_and_class(&response), response.date.is_some()), ((code.to_owned(), class), true));
        assert_eq!(response.poll.unwrap_err().retry_after, Some(Duration::from_secs(30)));
    }
}

#[tokio::test]
async fn a_response_with_an_encoding_that_was_not_requested_is_named_as_such() {
    const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabV\xca\xcfNM";
    let code = async |api, status, encoding: &'static str, body: &'static [u8]| {
        let respond = move |_, _| {
            let mut received = Received { status, ..received(body) };
            received.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
            async { Ok(received) }
        };
        poll(&route(api, scripted(respond)))
            .await
            .poll
            .map(|reading| reading.status)
            .map_err(|fault| (fault.class, fault.code.to_string(), fault.message.contains(encoding)))
    };
    for api in [Api::V2, Api::V3] {
        for encoding in ["gzip", "br", "deflate", "zstd", "gzip, br"] {
            let named = (Class::Service, "content_encoding".to_owned(), true);
            assert_eq!(code(api, 200, encoding, GZIP).await, Err(named), "{encoding}");
        }
        let unreadable = code(api, 200, "Identity", GZIP).await;
        assert_eq!(unreadable.unwrap_err().1, "unreadable");
        assert_eq!(code(api, 502, "gzip", GZIP).await.unwrap_err().1, "http_502");
    }
    let plain = br#"{"code":0,"data":{"status":1}}"#;
    assert_eq!(
        code(Api::V2, 200, "gzip", plain).await,
        Ok(Code::Int(1)),
        "a wrong header alone does no harm"
    );
}
