use std::time::Duration;

use serde_json::{Value, json};

use super::guard::tests::Everywhere;
use super::*;
use crate::model::delivery::RefusalClass;
use crate::net::PeerSettings;
use crate::secret::Secret;
use crate::sinks::receiver::{Got, Receiver, ReceiverResponse};
use crate::sinks::samples;
use crate::units::Span;

const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A configuration that points at that receiver, with secrets wherever one may be.
fn config(receiver: &Receiver) -> Config {
    Config {
        url: Some(Secret::new(format!("http://{}/robot-hunter2/send?key=query-hunter2", receiver.addr))),
        headers: [("X-Env", "prod"), ("Authorization", "Bearer header/hunter2")]
            .map(|(name, value)| (name.into(), Secret::new(value)))
            .into(),
        secrets: vec![Secret::new(KEY)],
        timeout: Span(Duration::from_millis(500)),
        ..Config::default()
    }
}

fn made(config: &Config, is_batched: bool) -> Webhook {
    Webhook::new("ops", config, is_batched, Clock::start()).unwrap_or_else(|faults| panic!("{faults:?}"))
}

async fn got(receiver: &Receiver, config: &Config, events: &[Event]) -> Got {
    made(config, false).send(events).await.unwrap();
    receiver.got().pop().unwrap()
}

async fn refused(receiver: &Receiver, response: ReceiverResponse) -> Refusal {
    receiver.response(response);
    made(&config(receiver), false).send(&samples::successes(1)).await.unwrap_err()
}

fn with_template(receiver: &Receiver, template: &str) -> Config {
    Config { template: Some(Secret::new(template)), ..config(receiver) }
}

#[tokio::test]
async fn an_event_is_sent_as_it_was_stored_signed_and_with_the_headers() {
    let receiver = Receiver::start().await;
    let [event] = [samples::success("reinstall rack 7")];
    let got = got(&receiver, &config(&receiver), std::slice::from_ref(&event)).await;
    assert_eq!(
        (got.method.as_str(), got.target.as_str(), got.body.as_str()),
        ("POST", "/robot-hunter2/send?key=query-hunter2", &*event.body)
    );
    assert_eq!(
        (got.header("content-type"), got.header("x-env")),
        ("application/cloudevents+json; charset=UTF-8", "prod")
    );
    assert_eq!(got.header("webhook-id"), event.id.to_string());
    let reference = standardwebhooks::Webhook::new(KEY).unwrap();
    reference.verify(got.body.as_bytes(), &got.headers).unwrap();
    assert!(reference.verify(b"{}", &got.headers).is_err());

    let unsigned = Config { secrets: Vec::new(), method: WebhookMethod::Put, ..config(&receiver) };
    let got = self::got(&receiver, &unsigned, std::slice::from_ref(&event)).await;
    assert_eq!((got.method.as_str(), got.header("webhook-id")), ("PUT", event.id.to_string().as_str()));
    assert!(!got.headers.contains_key("webhook-signature"));
}

#[tokio::test]
async fn a_batch_is_one_request_whose_id_is_the_same_for_the_same_events() {
    let receiver = Receiver::start().await;
    let webhook = made(&config(&receiver), true);
    assert!(webhook.batch() > 1);
    let mut events = samples::successes(3);
    for (number, event) in events.iter_mut().enumerate() {
        event.id = Uuid::from_u128(number as u128);
    }
    for events in [&events[..], &events, &events[1..], &events[1..2]] {
        webhook.send(events).await.unwrap();
    }
    let got = receiver.got();
    assert_eq!(got[0].header("content-type"), "application/cloudevents-batch+json; charset=UTF-8");
    let sent: Vec<Value> = serde_json::from_str(&got[0].body).unwrap();
    assert_eq!(
        (sent.len(), sent[0].to_string()),
        (3, serde_json::from_str::<Value>(&events[0].body).unwrap().to_string())
    );
    let ids: Vec<_> = got.iter().map(|got| got.header("webhook-id")).collect();
    assert!(ids[0] == ids[1] && ids[1] != ids[2] && ids[3] == events[1].id.to_string(), "{ids:?}");
    let reference = standardwebhooks::Webhook::new(KEY).unwrap();
    reference.verify(got[0].body.as_bytes(), &got[0].headers).unwrap();
    assert_eq!(
        made(&with_template(&receiver, "x"), true).batch(),
        1,
        "a template makes one message of one event"
    );
}

#[tokio::test]
async fn a_template_makes_the_body_its_type_follows_and_one_that_fails_leaves_the_event_as_it_is() {
    let receiver = Receiver::start().await;
    let event = samples::success("rack \"7\"");
    for (template, content_type, body) in [
        (r#"{"text": {{ data.task.name|tojson }}}"#, "application/json", r#"{"text": "rack \"7\""}"#),
        ("{{ data.task.name }}: {{ data.outcome }}", "text/plain; charset=UTF-8", "rack \"7\": success"),
        ("{{ data.task.name + 1 }}", "application/cloudevents+json; charset=UTF-8", &event.body),
    ] {
        let got = got(&receiver, &with_template(&receiver, template), std::slice::from_ref(&event)).await;
        assert_eq!((got.header("content-type"), got.body.as_str()), (content_type, body));
        standardwebhooks::Webhook::new(KEY).unwrap().verify(got.body.as_bytes(), &got.headers).unwrap();
    }
    let mut typed = with_template(&receiver, "x: 1");
    typed.headers.insert("content-type".to_owned(), Secret::new("application/yaml"));
    assert_eq!(got(&receiver, &typed, &[event]).await.header("content-type"), "application/yaml");
}

#[tokio::test]
async fn every_status_is_put_where_it_belongs() {
    let receiver = Receiver::start().await;
    for (statuses, class) in [
        (&[301, 302, 304, 307, 308][..], RefusalClass::Sink),
        (&[401, 402, 403, 404, 405, 406, 407, 410, 414, 418, 421, 451, 499], RefusalClass::Sink),
        (&[400, 409, 413, 415, 422], RefusalClass::Event),
        (&[408, 423, 425, 429, 500, 501, 502, 503, 504, 599, 600, 999], RefusalClass::Passing),
    ] {
        for status in statuses {
            let refusal = refused(&receiver, ReceiverResponse::status(*status)).await;
            assert_eq!(refusal.class, class, "{status}: {refusal}");
            assert!(
                refusal.what.starts_with(&format!("{} returned HTTP {status}: ", receiver.addr)),
                "{refusal}"
            );
        }
    }
    for status in [200, 201, 202, 204, 299] {
        receiver.response(ReceiverResponse::status(status));
        made(&config(&receiver), false).send(&samples::successes(1)).await.unwrap();
    }
}

#[tokio::test]
async fn retry_after_is_obeyed_in_both_forms_up_to_an_hour() {
    let receiver = Receiver::start().await;
    let date = "Mon, 24 Nov 2025 16:00:00 GMT".to_owned();
    for (value, seconds) in
        [("7", Some(7)), ("Mon, 24 Nov 2025 16:00:30 GMT", Some(30)), ("soon", None), ("999999", Some(3600))]
    {
        for status in [429, 503] {
            let refusal = refused(
                &receiver,
                ReceiverResponse::Status(
                    status,
                    vec![("retry-after", value.into()), ("date", date.clone())],
                    String::new(),
                ),
            )
            .await;
            assert_eq!(refusal.retry_after, seconds.map(Duration::from_secs), "{value}");
        }
    }
}

#[tokio::test]
async fn the_receivers_text_is_reported_cut_and_without_control_characters_or_secrets() {
    let receiver = Receiver::start().await;
    let refusal = refused(&receiver, ReceiverResponse::says(422, "no field\n`team`\u{1b}[31m")).await;
    assert!(
        refusal.what.ends_with("the receiver refuses this event; its text: no field `team`\\u{1b}[31m"),
        "{refusal}"
    );
    let refusal = refused(&receiver, ReceiverResponse::says(400, &"ä".repeat(100_000))).await;
    assert!(refusal.what.len() < 640 && refusal.what.ends_with("ä…"), "{refusal}");

    // As servers echo a request: its target, decoded or as JSON, its headers, and its signature.
    let sent = receiver.got().pop().unwrap();
    let signature = sent.header("webhook-signature").to_owned();
    let echo = format!(
        "Cannot POST {0} {{\"path\":\"{1}\"}} header\\/hunter2 {signature} key=query-hunter2",
        sent.target,
        sent.target.replace('/', "\\/")
    );
    for status in [400, 401, 404, 302, 500] {
        let refusal = refused(
            &receiver,
            ReceiverResponse::Status(status, vec![("location", format!("http://h/{echo}"))], echo.clone()),
        )
        .await;
        // A second may have passed since; then the signature is of an earlier moment and protects nothing.
        assert!(!format!("{refusal} {refusal:?}").contains("hunter2"), "{refusal}");
    }
}

#[tokio::test]
async fn what_a_login_in_the_url_becomes_is_hidden_too() {
    let receiver = Receiver::start().await;
    let url = format!("http://user:hunter%32@{}/hook", receiver.addr);
    let config = Config { url: Some(Secret::new(url)), headers: Default::default(), ..config(&receiver) };
    let sent = got(&receiver, &config, &samples::successes(1)).await;
    let login = sent.header("authorization").to_owned();
    assert!(login.starts_with("Basic "), "{login}");
    receiver.response(ReceiverResponse::says(400, &format!("{login} hunter2 hunter%32")));
    let refusal = made(&config, false).send(&samples::successes(1)).await.unwrap_err();
    assert!(refusal.what.ends_with("text: Basic [secret] [secret] [secret]"), "{refusal}");
}

#[tokio::test]
async fn a_body_that_is_encoded_without_being_asked_for_is_not_reported() {
    let receiver = Receiver::start().await;
    let encoded = vec![("content-encoding", "gzip".to_owned())];
    let refusal = refused(&receiver, ReceiverResponse::Status(422, encoded, "garbage".to_owned())).await;
    assert!(refusal.what.ends_with("the receiver refuses this event"), "{refusal}");
    let identity = vec![("content-encoding", "Identity".to_owned())];
    let refusal = refused(&receiver, ReceiverResponse::Status(422, identity, "no team".to_owned())).await;
    assert!(refusal.what.ends_with("its text: no team"), "{refusal}");
    assert!(receiver.got().iter().all(|got| got.header("accept-encoding") == "identity"));
}

/// The behaviour of a server on a connection that was idle.
#[derive(Clone, Copy)]
enum OnReuse {
    /// Reads the request and closes.
    Close,
    /// Resets at the first byte.
    Reset,
}

/// A server that takes the first request of each connection and no second one, and counts both.
struct OneEach {
    addr: std::net::SocketAddr,
    taken: Arc<std::sync::Mutex<Vec<String>>>,
    cut: Arc<std::sync::atomic::AtomicUsize>,
    _serving: tokio::task::JoinSet<()>,
}

impl OneEach {
    async fn start(on_reuse: OnReuse) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let taken = Arc::new(std::sync::Mutex::default());
        let cut = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let mut serving = tokio::task::JoinSet::new();
        let taken_there = Arc::clone(&taken);
        let cut_there = Arc::clone(&cut);
        serving.spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(one_request(
                    stream,
                    on_reuse,
                    Arc::clone(&taken_there),
                    Arc::clone(&cut_there),
                ));
            }
        });
        Self { addr, taken, cut, _serving: serving }
    }
}

async fn one_request(
    mut stream: tokio::net::TcpStream,
    on_reuse: OnReuse,
    taken: Arc<std::sync::Mutex<Vec<String>>>,
    cut: Arc<std::sync::atomic::AtomicUsize>,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Some(request) = request(&mut stream).await else { return };
    taken.lock().unwrap().push(request);
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    let is_used_again = match on_reuse {
        OnReuse::Close => request_is_read(&mut stream).await,
        // Closing with unread bytes resets the connection.
        OnReuse::Reset => stream.read(&mut [0]).await.unwrap_or_default() > 0,
    };
    cut.fetch_add(usize::from(is_used_again), Ordering::Relaxed);
}

async fn request_is_read(stream: &mut tokio::net::TcpStream) -> bool {
    request(stream).await.is_some()
}

/// One request with its body, or nothing at the end of the connection.
async fn request(stream: &mut tokio::net::TcpStream) -> Option<String> {
    use tokio::io::AsyncReadExt;
    let mut text = String::new();
    loop {
        let mut block = [0; 4096];
        let length = stream.read(&mut block).await.ok().filter(|length| *length > 0)?;
        text.push_str(std::str::from_utf8(&block[..length]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let announced = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        if body.len() == announced.parse::<usize>().unwrap() {
            return Some(body.to_owned());
        }
    }
}

#[tokio::test]
async fn a_reused_connection_that_is_cut_before_a_response_costs_no_attempt() {
    for on_reuse in [OnReuse::Close, OnReuse::Reset] {
        for at_once in [1, 8] {
            let server = OneEach::start(on_reuse).await;
            let url = Some(Secret::new(format!("http://{}/", server.addr)));
            let webhook = Arc::new(made(&Config { url, ..Config::default() }, false));
            let mut attempts = tokio::task::JoinSet::new();
            for number in 0..100 {
                if attempts.len() == at_once {
                    attempts.join_next().await.unwrap().unwrap();
                }
                let webhook = Arc::clone(&webhook);
                attempts.spawn(async move {
                    let event = samples::success(&format!("task {number}"));
                    webhook.send(&[event]).await.unwrap();
                });
            }
            attempts.join_all().await;
            let mut taken = server.taken.lock().unwrap().clone();
            taken.sort();
            taken.dedup();
            assert_eq!(taken.len(), 100);
            assert!(server.cut.load(Ordering::Relaxed) > 0, "no connection was used again");
        }
    }
}

#[tokio::test]
async fn a_new_connection_that_is_cut_is_one_attempt() {
    let receiver = Receiver::start().await;
    let refusal = refused(&receiver, ReceiverResponse::Cut).await;
    assert_eq!((refusal.class, receiver.count()), (RefusalClass::Passing, 1), "{refusal}");
}

#[tokio::test]
async fn a_request_that_is_sent_again_has_what_is_left_of_the_time_of_its_attempt() {
    let receiver = Receiver::start().await;
    let webhook = made(&config(&receiver), false);
    webhook.send(&samples::successes(1)).await.unwrap();
    receiver.respond_next([ReceiverResponse::Cut, ReceiverResponse::Silent]);
    let started = webhook.clock.now().steady;
    let refusal = webhook.send(&samples::successes(1)).await.unwrap_err();
    let took = webhook.clock.now().steady - started;
    assert!(refusal.what.contains("did not respond within"), "{refusal}");
    assert_eq!(receiver.count(), 3);
    assert!(took < 2 * webhook.config.timeout.0, "{took:?}");
}

#[tokio::test]
async fn after_a_timeout_or_a_reset_the_next_attempt_has_other_clients_and_after_a_refusal_the_same() {
    let receiver = Receiver::start().await;
    for (response, are_replaced) in [
        (ReceiverResponse::Silent, true),
        (ReceiverResponse::Cut, true),
        (ReceiverResponse::status(500), false),
        (ReceiverResponse::status(404), false),
        (ReceiverResponse::status(204), false),
    ] {
        let webhook = made(&config(&receiver), false);
        let before = webhook.reached().await.unwrap();
        receiver.response(response.clone());
        _ = webhook.send(&samples::successes(1)).await;
        let after = webhook.reached().await.unwrap();
        assert_eq!(!Arc::ptr_eq(&before, &after), are_replaced, "{response:?}");
        // Once, however many attempts failed with the clients before.
        webhook.standing.distrust(&before);
        assert!(Arc::ptr_eq(&after, &webhook.reached().await.unwrap()) || !are_replaced);
    }
}

#[tokio::test]
async fn clients_are_replaced_at_the_latest_after_five_minutes_and_earlier_by_a_jitter() {
    let receiver = Receiver::start().await;
    let webhook = made(&config(&receiver), false);
    let start = webhook.clock.now().steady;
    let after = |seconds| start + Duration::from_secs(seconds);
    for (spread, before_seconds, at_seconds) in [(0.0, 299, 300), (1.0, 239, 240)] {
        let standing = Standing::new(reach(&webhook.config, &mut |_, _| ()).unwrap(), start, spread);
        let first = standing.current(start).unwrap();
        assert!(Arc::ptr_eq(&first, &standing.current(after(before_seconds)).unwrap()));
        assert!(standing.current(after(at_seconds)).is_none());
        standing.replace(&webhook.config, after(at_seconds), spread).unwrap();
        assert!(!Arc::ptr_eq(&first, &standing.in_use()));
        assert!(standing.current(after(at_seconds + before_seconds)).is_some());
        assert!(standing.current(after(2 * at_seconds)).is_none());
    }
}

/// A server that responds to its only request with interim responses until the client closes.
fn flood() -> (std::net::SocketAddr, std::thread::JoinHandle<()>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let flooding = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        _ = stream.read(&mut [0; 4096]).unwrap();
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
        while stream.write_all(interim.as_bytes()).is_ok() {}
    });
    (addr, flooding)
}

#[tokio::test]
async fn a_receiver_that_floods_interim_responses_times_out_and_delays_no_other() {
    let (addr, flooding) = flood();
    let flooded = Config {
        url: Some(Secret::new(format!("http://{addr}/"))),
        timeout: Span::seconds(2),
        ..Config::default()
    };
    let webhook = made(&flooded, false);
    let receiver = Receiver::start().await;
    let other = made(&config(&receiver), false);
    let started = webhook.clock.now().steady;
    let events = samples::successes(1);
    let others = async {
        let mut slowest = Duration::ZERO;
        while webhook.clock.now().steady - started < flooded.timeout.0 {
            let before = webhook.clock.now().steady;
            other.send(&events).await.unwrap();
            slowest = slowest.max(webhook.clock.now().steady - before);
        }
        slowest
    };
    let (refusal, slowest) = tokio::join!(webhook.send(&events), others);
    let took = webhook.clock.now().steady - started;
    let refusal = refusal.unwrap_err();
    assert!(
        refusal.class == RefusalClass::Passing && refusal.what.contains("did not respond within"),
        "{refusal}"
    );
    assert!(took < 2 * flooded.timeout.0, "the attempt took {took:?}");
    assert!(slowest < flooded.timeout.0 / 2, "another sink waited {slowest:?}");
    // The connection is closed: no byte is read after the attempt.
    tokio::task::spawn_blocking(|| flooding.join().unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_client_certificate_that_nginx_misses_is_no_events_fault() {
    let receiver = Receiver::start().await;
    let refusal = refused(
        &receiver,
        ReceiverResponse::says(400, "<center>No required SSL certificate was sent</center>"),
    )
    .await;
    assert!(refusal.class == RefusalClass::Sink && refusal.what.contains("`tls.cert_file`"), "{refusal}");
}

#[tokio::test]
async fn an_response_acknowledges_by_its_head_however_long_its_body() {
    let receiver = Receiver::start().await;
    receiver.response(ReceiverResponse::says(200, &"x".repeat(10 << 20)));
    made(&config(&receiver), false).send(&samples::successes(1)).await.unwrap();
}

#[tokio::test]
async fn a_name_that_leads_to_this_link_holds_the_sink() {
    let receiver = Receiver::start().await;
    let client = crate::net::client(PeerSettings { is_plain: true, proxy: None, ca: &[] }).unwrap();
    let client = client.dns_resolver(Everywhere("169.254.0.23:0".parse().unwrap())).build().unwrap();
    let error = client
        .get(format!("http://hooks.example:{}/hunter2", receiver.addr.port()))
        .send()
        .await
        .unwrap_err();
    let refusal = response::unanswered(error, "hooks.example:1", "10s", &Hidden::default());
    assert!(
        refusal.class == RefusalClass::Sink
            && refusal.what.contains("allow_link_local")
            && !refusal.what.contains("hunter2"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_host_that_is_not_there_passes() {
    let config = Config { url: Some(Secret::new("https://hooks.invalid/hunter2")), ..Config::default() };
    let refusal = made(&config, false).send(&samples::successes(1)).await.unwrap_err();
    assert!(
        refusal.class == RefusalClass::Passing
            && refusal.what.starts_with("cannot reach hooks.invalid:443: "),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_changed_url_file_applies_from_the_next_attempt_and_a_broken_one_does_not() {
    let old = Receiver::start().await;
    let new = Receiver::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    std::fs::write(&file, format!("http://{}/one\n", old.addr)).unwrap();
    let webhook = made(&Config { url: None, url_file: Some(file.clone()), ..config(&old) }, false);
    webhook.send(&samples::successes(1)).await.unwrap();
    for broken in
        ["", "hunter2", "http://192.0.2.1/hunter2", "https://169.254.0.23/", "https://[::ffff:a9fe:17]/"]
    {
        std::fs::write(&file, broken).unwrap();
        let change = webhook.refresh().await.unwrap();
        assert!(
            matches!(&change, FilesChange::Broken(what) if what.contains("`url_file`") && !what.contains("hunter2")),
            "{broken}"
        );
        assert_eq!(webhook.refresh().await.unwrap(), FilesChange::None, "{broken}: it is told once");
        webhook.send(&samples::successes(1)).await.unwrap();
        std::fs::write(&file, format!("http://{}/one\n", old.addr)).unwrap();
        assert_eq!(webhook.refresh().await.unwrap(), FilesChange::None, "the trouble is over");
    }
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(webhook.refresh().await.unwrap(), FilesChange::Broken(_)));
    webhook.send(&samples::successes(1)).await.unwrap();
    std::fs::write(&file, format!("http://{}/two\n", new.addr)).unwrap();
    assert_eq!(webhook.refresh().await.unwrap(), FilesChange::Read);
    webhook.send(&samples::successes(1)).await.unwrap();
    assert_eq!((old.got().len(), new.got().len()), (7, 1));
}

#[tokio::test]
async fn a_template_file_and_a_ca_file_are_read_again_and_unchanged_files_change_nothing() {
    const CERTIFICATE: &str = include_str!("../../../tests/support/ca.pem");
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (template, ca) = (folder.path().join("template"), folder.path().join("ca.pem"));
    std::fs::write(&template, "one").unwrap();
    std::fs::write(&ca, CERTIFICATE).unwrap();
    let config = Config {
        template_file: Some(template.clone()),
        tls: config::Tls { ca_file: Some(ca.clone()), ..config::Tls::default() },
        ..config(&receiver)
    };
    let webhook = made(&config, false);
    assert_eq!(webhook.released_by(), [template.clone(), ca.clone()]);
    assert_eq!(webhook.refresh().await.unwrap(), FilesChange::None);
    std::fs::write(&template, "two").unwrap();
    assert_eq!(webhook.refresh().await.unwrap(), FilesChange::Read);
    let is_broken = |change, key: &str| matches!(change, FilesChange::Broken(what) if what.contains(key));
    std::fs::write(&template, "{{").unwrap();
    assert!(is_broken(webhook.refresh().await.unwrap(), "`template_file`"));
    std::fs::write(&template, "two").unwrap();
    assert_eq!(webhook.refresh().await.unwrap(), FilesChange::None);
    webhook.send(&samples::successes(1)).await.unwrap();
    assert_eq!(receiver.got()[0].body, "two");
    std::fs::write(&ca, CERTIFICATE.repeat(2)).unwrap();
    assert_eq!(webhook.refresh().await.unwrap(), FilesChange::Read);
    std::fs::write(&ca, "-----BEGIN CERTIFICATE-----").unwrap();
    assert!(is_broken(webhook.refresh().await.unwrap(), "`tls.ca_file`"));
}

#[test]
fn all_that_is_wrong_is_reported_at_once_with_its_key_and_without_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let config = Config {
        url: Some(Secret::new("http://hunter2.example/")),
        headers: ["a b", "Content-Length", "X-Line", "x-twice", "X-Twice"]
            .map(|name| {
                (name.to_owned(), Secret::new(if name == "X-Line" { "hunter2\n" } else { "hunter2" }))
            })
            .into(),
        secrets: vec![Secret::new(KEY), Secret::new("hunter2")],
        tls: config::Tls { ca_file: Some(missing.clone()), cert_file: None, key_file: Some(missing) },
        proxy: Some(Secret::new("socks5://hunter2")),
        timeout: Span::seconds(0),
        template: Some(Secret::new("{{ hunter2 ")),
        ..Config::default()
    };
    let faults = config.check(&mut |_, _| ());
    let reported: Vec<_> = faults.iter().map(|fault| fault.path.join(".")).collect();
    let wanted = "timeout headers.Content-Length headers.X-Line headers.a b headers.x-twice secrets.1 template url proxy tls.ca_file tls.key_file";
    assert_eq!(reported.join(" "), wanted);
    assert!(!format!("{faults:?} {config:?}").contains("hunter2"), "{faults:?} {config:?}");
    assert!(!json!(config).to_string().contains("hunter2"), "nor is it written out");
    let many = |count: usize| (0..count).map(|number| (number.to_string(), Secret::new("x"))).collect();
    let config = Config {
        url: Some(Secret::new("https://h/")),
        headers: many(65),
        secrets: vec![Secret::new(KEY); 9],
        ..Config::default()
    };
    let faults = config.check(&mut |_, _| ());
    assert_eq!(faults.iter().map(|fault| fault.path.join(".")).collect::<Vec<_>>(), ["headers", "secrets"]);
}
