use std::time::Duration;

use serde_json::{Value, json};

use super::guard::tests::Everywhere;
use super::*;
use crate::model::delivery::RefusalClass;
use crate::net::Way;
use crate::secret::Secret;
use crate::sinks::receiver::{Answer, Got, Receiver};
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

async fn refused(receiver: &Receiver, answer: Answer) -> Refusal {
    receiver.answer(answer);
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

    let unsigned = Config { secrets: Vec::new(), method: Method::Put, ..config(&receiver) };
    let got = self::got(&receiver, &unsigned, &[event]).await;
    assert_eq!((got.method.as_str(), got.headers.contains_key("webhook-id")), ("PUT", false));
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
            let refusal = refused(&receiver, Answer::status(*status)).await;
            assert_eq!(refusal.class, class, "{status}: {refusal}");
            assert!(
                refusal.what.starts_with(&format!("{} answers HTTP {status}: ", receiver.addr)),
                "{refusal}"
            );
        }
    }
    for status in [200, 201, 202, 204, 299] {
        receiver.answer(Answer::status(status));
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
                Answer::Status(
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
async fn the_receivers_words_are_told_cut_and_without_control_characters_or_anything_secret() {
    let receiver = Receiver::start().await;
    let refusal = refused(&receiver, Answer::says(422, "no field\n`team`\u{1b}[31m")).await;
    assert!(
        refusal.what.ends_with("it refuses this event, and says: no field `team`\\u{1b}[31m"),
        "{refusal}"
    );
    let refusal = refused(&receiver, Answer::says(400, &"ä".repeat(100_000))).await;
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
            Answer::Status(status, vec![("location", format!("http://h/{echo}"))], echo.clone()),
        )
        .await;
        // The signature is of an earlier moment, if the second went by meanwhile; then it is nobody's any
        // more.
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
    receiver.answer(Answer::says(400, &format!("{login} hunter2 hunter%32")));
    let refusal = made(&config, false).send(&samples::successes(1)).await.unwrap_err();
    assert!(refusal.what.ends_with("says: Basic [secret] [secret] [secret]"), "{refusal}");
}

#[tokio::test]
async fn a_client_certificate_that_nginx_misses_is_no_events_fault() {
    let receiver = Receiver::start().await;
    let refusal =
        refused(&receiver, Answer::says(400, "<center>No required SSL certificate was sent</center>")).await;
    assert!(refusal.class == RefusalClass::Sink && refusal.what.contains("`tls.cert_file`"), "{refusal}");
}

#[tokio::test]
async fn an_answer_acknowledges_by_its_head_however_long_its_body() {
    let receiver = Receiver::start().await;
    receiver.answer(Answer::says(200, &"x".repeat(10 << 20)));
    made(&config(&receiver), false).send(&samples::successes(1)).await.unwrap();
}

#[tokio::test]
async fn a_name_that_leads_to_this_link_holds_the_sink() {
    let receiver = Receiver::start().await;
    let client = crate::net::client(Way { is_plain: true, proxy: None, ca: &[] }).unwrap();
    let client = client.dns_resolver(Everywhere("169.254.0.23:0".parse().unwrap())).build().unwrap();
    let error = client
        .get(format!("http://hooks.example:{}/hunter2", receiver.addr.port()))
        .send()
        .await
        .unwrap_err();
    let refusal = answer::unanswered(error, "hooks.example:1", "10s");
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
async fn a_url_file_that_changes_counts_from_the_next_attempt_and_a_broken_one_leaves_what_was_there() {
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
        let (_, change) = webhook.standing.look(&webhook.config);
        assert!(
            matches!(&change, Change::Broken(what) if what.contains("`url_file`") && !what.contains("hunter2")),
            "{broken}"
        );
        assert!(
            matches!(webhook.standing.look(&webhook.config).1, Change::None),
            "{broken}: it is told once"
        );
        webhook.send(&samples::successes(1)).await.unwrap();
    }
    std::fs::remove_file(&file).unwrap();
    webhook.send(&samples::successes(1)).await.unwrap();
    std::fs::write(&file, format!("http://{}/two\n", new.addr)).unwrap();
    webhook.send(&samples::successes(1)).await.unwrap();
    assert_eq!((old.got().len(), new.got().len()), (7, 1));
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_key_and_without_a_secret() {
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
    let faults = config.settle(|_, _| ()).map(|_| ()).unwrap_err();
    let told: Vec<_> = faults.iter().map(|fault| fault.path.join(".")).collect();
    let wanted = "timeout headers.Content-Length headers.X-Line headers.a b headers.x-twice secrets.1 template url proxy tls.ca_file tls.key_file";
    assert_eq!(told.join(" "), wanted);
    assert!(!format!("{faults:?} {config:?}").contains("hunter2"), "{faults:?} {config:?}");
    assert!(!json!(config).to_string().contains("hunter2"), "nor is it written out");
    let many = |count: usize| (0..count).map(|number| (number.to_string(), Secret::new("x"))).collect();
    let config = Config {
        url: Some(Secret::new("https://h/")),
        headers: many(65),
        secrets: vec![Secret::new(KEY); 9],
        ..Config::default()
    };
    let faults = config.settle(|_, _| ()).map(|_| ()).unwrap_err();
    assert_eq!(faults.iter().map(|fault| fault.path.join(".")).collect::<Vec<_>>(), ["headers", "secrets"]);
}
