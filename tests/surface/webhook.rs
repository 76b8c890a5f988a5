//! Webhooks: what a receiver gets of the built program, and what an operator reads when it does not.

use std::collections::BTreeMap;
use std::fs;

use opwatch::sim::{Scenario, Sim, SimResponse, Unlisted};
use serde_json::Value;
use tokio::process::Child;

use crate::support::receiver::{self, Receiver};
use crate::support::{Home, cloud, eventually, network, nginx, output_of, signal};

const KEY: &str = "C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const PASSWORD: &str = "hunter2";

async fn one_task() -> Sim {
    cloud(Scenario::default().with_task(1, [SimResponse::status(4), SimResponse::status(1)])).await
}

/// A home with one task and a webhook `ops` of these keys.
fn home(cloud: &Sim, keys: &str) -> Home {
    let home = Home::new(
        cloud,
        &format!(
            "[sinks.ops]\ntype = \"webhook\"\nretry = {{ initial = \"20ms\", max = \"50ms\" }}\n{keys}\n"
        ),
    );
    home.list([1]);
    home
}

/// A daemon that writes everything it has to say into the file `stderr`.
fn start_at_trace(home: &Home) -> Child {
    let stderr = fs::File::create(home.path("stderr")).unwrap();
    home.opwatch(&["run", "-c", "opwatch.toml"]).env("RUST_LOG", "trace").stderr(stderr).spawn().unwrap()
}

async fn says(home: &Home, part: &str) {
    eventually(part, || fs::read_to_string(home.path("stderr")).unwrap().contains(part)).await;
}

/// Stops the daemon, and returns its log.
async fn stopped(child: Child, home: &Home) -> String {
    signal(&child, "TERM");
    let ended = output_of(child).await;
    let stderr = fs::read_to_string(home.path("stderr")).unwrap();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{stderr}");
    stderr
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_and_outages_lose_no_event_and_each_repetition_has_its_id() {
    const TASKS: u64 = 40;
    let cloud = cloud(Scenario {
        unlisted: Unlisted::Follows(vec![SimResponse::status(4), SimResponse::status(1)]),
        ..Scenario::default()
    })
    .await;
    let receiver = Receiver::start().await;
    let home = home(&cloud, &format!("url = \"http://{}/hook\"\nsecrets = [\"whsec_{KEY}\"]", receiver.addr));
    home.list(1..=TASKS);
    for kill in 0..8 {
        // The event arrives and its acknowledgement is lost; or the gateway fails.
        receiver.respond_next([
            receiver::ReceiverResponse::Cut,
            receiver::ReceiverResponse::status(503),
            receiver::ReceiverResponse::status(502),
        ]);
        let mut child = home.start();
        eventually("some deliveries", || receiver.got().len() >= 5 * (kill + 1)).await;
        child.kill().await.unwrap();
    }
    let ended = home.run_until_done().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let reference = standardwebhooks::Webhook::new(KEY).unwrap();
    for got in receiver.got() {
        let event: Value = serde_json::from_str(&got.body).unwrap();
        assert_eq!(got.header("webhook-id"), event["id"]);
        reference.verify(got.body.as_bytes(), &got.headers).unwrap();
        let known = ids.entry(event["subject"].as_str().unwrap().to_owned()).or_default();
        if !known.iter().any(|id| event["id"] == *id) {
            known.push(event["id"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(ids.len() as u64, TASKS);
    assert!(ids.values().all(|ids| ids.len() == 1), "{ids:?}");
    let in_file: BTreeMap<String, Vec<String>> =
        home.events().iter().map(|event| (text(&event["subject"]), vec![text(&event["id"])])).collect();
    assert_eq!(ids, in_file);
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_makes_the_message_and_without_it_the_event_still_arrives() {
    for (template, content_type, reported) in [
        (
            "template = '{\"text\": {{ (data.task.id ~ \": \" ~ data.outcome)|tojson }}}'",
            "application/json",
            None,
        ),
        ("template_file = \"ops.j2\"", "text/plain; charset=UTF-8", None),
        (
            "template = '{{ data.task.id() }}'",
            "application/cloudevents+json; charset=UTF-8",
            Some("the sink's template failed"),
        ),
    ] {
        let cloud = one_task().await;
        let receiver = Receiver::start().await;
        let home = home(&cloud, &format!("url = \"http://{}/hook\"\n{template}", receiver.addr));
        home.write("ops.j2", "task {{ data.task.id }}\n{% if data.outcome == 'success' %}is done{% endif %}");
        let ended = home.run_until_done().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let [got] = receiver.got().try_into().unwrap();
        assert_eq!(got.header("content-type"), content_type);
        assert_eq!(ended.stderr.contains("template failed"), reported.is_some(), "{}", ended.stderr);
        let in_file = fs::read_to_string(home.path("events.jsonl")).unwrap();
        let wanted = [r#"{"text": "1: success"}"#, "task 1\nis done", in_file.trim_end()];
        assert!(wanted.contains(&got.body.as_str()), "{}", got.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_batch_the_events_go_out_together_as_a_cloudevents_batch() {
    let follows =
        Scenario { unlisted: Unlisted::Follows(vec![SimResponse::status(1)]), ..Scenario::default() };
    let cloud = cloud(follows).await;
    let receiver = Receiver::start().await;
    let home = home(&cloud, &format!("url = \"http://{}/hook\"\nbatch = \"1s\"", receiver.addr));
    home.list(1..=20);
    assert_eq!(home.run_until_done().await.code, Some(0));
    let got = receiver.got();
    let sizes: Vec<usize> =
        got.iter().map(|got| serde_json::from_str::<Vec<Value>>(&got.body).unwrap().len()).collect();
    assert!(sizes.iter().sum::<usize>() == 20 && sizes.len() < 20, "{sizes:?}");
    assert!(
        got.iter()
            .all(|got| got.header("content-type") == "application/cloudevents-batch+json; charset=UTF-8")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_file_that_changes_counts_while_the_daemon_runs_and_a_broken_one_does_not() {
    let cloud = one_task().await;
    let wrong = Receiver::start().await;
    let right = Receiver::start().await;
    wrong.response(receiver::ReceiverResponse::status(404));
    let home = home(&cloud, "url_file = \"ops_url\"");
    home.write("ops_url", &format!("http://{}/{PASSWORD}\n", wrong.addr));
    let child = start_at_trace(&home);
    eventually("it is held", || wrong.got().len() >= 3).await;
    // In one step: half a file would be one more that is broken.
    let replace = |text: &str| {
        home.write("new", text);
        fs::rename(home.path("new"), home.path("ops_url")).unwrap();
    };
    replace(&format!("http://192.0.2.1/{PASSWORD}\n"));
    let before = wrong.got().len();
    eventually("what was there still counts", || wrong.got().len() >= before + 3).await;
    replace(&format!("http://{}/{PASSWORD}\n", right.addr));
    eventually("the right one has it", || right.got().len() == 1).await;
    let stderr = stopped(child, &home).await;
    for reported in [
        "returned HTTP 404: the receiver has nothing at this address; check `url`",
        "is plain http to another machine",
        "was read again",
    ] {
        assert!(stderr.contains(reported), "{reported} in {stderr}");
    }
    assert_eq!(stderr.matches("cannot be used; its previous content stays in use").count(), 1, "{stderr}");
    assert!(!stderr.contains(PASSWORD), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_a_webhook_is_printed_at_trace_whatever_the_receiver_responses() {
    for with_template in [true, false] {
        no_secret_is_printed(with_template).await;
    }
}

async fn no_secret_is_printed(with_template: bool) {
    const SECRETS: [&str; 5] = ["path-hunter2", "query-hunter2", "header-hunter2", "template-hunter2", KEY];
    let [path, query, header, template, key] = SECRETS;
    let follows =
        Scenario { unlisted: Unlisted::Follows(vec![SimResponse::status(1)]), ..Scenario::default() };
    let cloud = cloud(follows).await;
    let receiver = Receiver::start().await;
    let home = home(
        &cloud,
        &format!(
            "url = \"http://{}/{path}?key={query}\"\nheaders = {{ Authorization = \"Bearer {header}\" }}\nsecrets = [\"whsec_{key}\"]\n\
             {}timeout = \"200ms\"",
            receiver.addr,
            if with_template {
                format!("template = '{template} {{{{ data.task.id() }}}}'\n")
            } else {
                String::new()
            }
        ),
    );
    // Some of them become dead letters.
    home.list(1..=8);
    let echo = format!(
        "Cannot POST /{path}?key={query} {header} {key} {}",
        if with_template { template } else { "" }
    );
    receiver.respond_next(
        [400, 401, 404, 422, 429, 500].map(|status| receiver::ReceiverResponse::says(status, &echo)),
    );
    let location = vec![("location", format!("/{path}?key={query}"))];
    receiver.respond_next([
        receiver::ReceiverResponse::Status(302, location, echo),
        receiver::ReceiverResponse::Cut,
        receiver::ReceiverResponse::Silent,
    ]);
    let child = start_at_trace(&home);
    eventually("the event is taken", || receiver.got().iter().any(|got| got.was_accepted)).await;
    receiver.down().await;
    let stderr = stopped(child, &home).await;
    // The output of a template may be secret, so an echo is not reported.
    assert_eq!(stderr.contains("its text: Cannot POST"), !with_template, "{stderr}");
    for secret in SECRETS.into_iter().chain(["v1,"]) {
        assert!(!stderr.contains(secret), "{secret} in {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_gets_the_client_certificate_and_a_renewed_one_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = network::certificate(folder.path());
    let cloud = one_task().await;
    let receiver = Receiver::start().await;
    let nginx = nginx::start(&certificate, receiver.addr).await;
    let home = home(
        &cloud,
        &format!(
            "url = \"https://{}/hook\"\ntls = {{ ca_file = \"ca.pem\", cert_file = \"me.pem\", key_file = \"me.key\" }}",
            nginx.addr
        ),
    );
    fs::copy(&certificate.ca, home.path("ca.pem")).unwrap();
    let put = |(certificate, key): &(std::path::PathBuf, std::path::PathBuf)| {
        fs::copy(certificate, home.path("me.pem")).unwrap();
        fs::copy(key, home.path("me.key")).unwrap();
    };
    let foreign = tempfile::tempdir().unwrap();
    network::certificate(foreign.path());
    let strange = network::signed(foreign.path(), "me");
    let right = network::signed(folder.path(), "me");
    put(&strange);
    let child = start_at_trace(&home);
    says(
        &home,
        "the receiver does not accept the client certificate; check `tls.cert_file` and `tls.key_file`",
    )
    .await;
    put(&right);
    eventually("the event arrives", || receiver.got().len() == 1).await;
    stopped(child, &home).await;

    // A pair that does not fit is refused before anything starts.
    fs::copy(&strange.1, home.path("me.key")).unwrap();
    let ended = home.run_until_done().await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("sinks.ops.tls.key_file: does not fit `tls.cert_file`"),
        "{}",
        ended.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untrusted_certificate_passes_and_names_the_fix() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = network::certificate(folder.path());
    let cloud = one_task().await;
    let receiver = Receiver::start().await;
    let nginx = nginx::start(&certificate, receiver.addr).await;
    let home = home(&cloud, &format!("url = \"https://{}/open\"", nginx.addr));
    let child = start_at_trace(&home);
    says(&home, "has a certificate that is not trusted").await;
    let stderr = stopped(child, &home).await;
    assert!(
        stderr.contains("name the certificate of its issuer in `tls.ca_file`")
            && stderr.contains("it is retried"),
        "{stderr}"
    );
    assert_eq!(receiver.got().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_in_ca_file_is_trusted_and_one_of_an_authority_is_reported_apart() {
    for is_authority in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let certificate = network::self_signed(folder.path(), is_authority);
        let cloud = one_task().await;
        let receiver = Receiver::start().await;
        let front = network::tls(&certificate, receiver.addr).await;
        let keys = format!("url = \"https://{}/open\"\ntls = {{ ca_file = \"ca.pem\" }}", front.addr);
        let home = home(&cloud, &keys);
        fs::copy(&certificate.ca, home.path("ca.pem")).unwrap();
        let child = start_at_trace(&home);
        if is_authority {
            says(
                &home,
                "make one with basicConstraints=CA:FALSE, install it there, and name it in `tls.ca_file`",
            )
            .await;
        } else {
            eventually("the event arrives", || receiver.got().len() == 1).await;
        }
        stopped(child, &home).await;
        assert_eq!(receiver.got().len(), usize::from(!is_authority));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_server_is_down_is_asked_again_and_a_slow_body_delays_no_acknowledgement() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = network::certificate(folder.path());
    let cloud = one_task().await;
    let receiver = Receiver::start().await;
    let nginx = nginx::start(&certificate, receiver.addr).await;
    // At a hundred bytes a second it takes longer than this test would ever wait.
    receiver.response(receiver::ReceiverResponse::says(200, &"x".repeat(1 << 20)));
    receiver.down().await;
    let home = home(
        &cloud,
        &format!("url = \"https://{}/slow\"\ntimeout = \"1h\"\ntls = {{ ca_file = \"ca.pem\" }}", nginx.addr),
    );
    fs::copy(&certificate.ca, home.path("ca.pem")).unwrap();
    let stderr = fs::File::create(home.path("stderr")).unwrap();
    let child = home.opwatch(&["run", "-c", "opwatch.toml", "--until-done"]).stderr(stderr).spawn().unwrap();
    says(&home, "returned HTTP 502: the receiver failed").await;
    receiver.up().await;
    // Ends once the event is acknowledged.
    assert_eq!((output_of(child).await.code, receiver.got().len()), (Some(0), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_pass_a_proxy_and_one_that_denies_access_holds_the_sink() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = network::certificate(folder.path());
    let cloud = one_task().await;
    let receiver = Receiver::start().await;
    let nginx = nginx::start(&certificate, receiver.addr).await;
    let closed = network::closed_proxy().await;
    let open = network::proxy().await;
    let keys = format!(
        "url = \"https://{}/open\"\ntls = {{ ca_file = \"ca.pem\" }}\nproxy = \"http://user:{PASSWORD}@{}\"",
        nginx.addr, closed.addr
    );
    let home = home(&cloud, &keys);
    fs::copy(&certificate.ca, home.path("ca.pem")).unwrap();
    let child = start_at_trace(&home);
    eventually("the proxy refuses", || closed.connections() >= 3).await;
    let stderr = stopped(child, &home).await;
    assert!(
        stderr.contains("the proxy before") && stderr.contains("write user and password into `proxy`"),
        "{stderr}"
    );
    assert!(!stderr.contains(PASSWORD), "{stderr}");

    home.edit(&closed.addr.to_string(), &open.addr.to_string());
    assert_eq!(home.run_until_done().await.code, Some(0));
    let tunnel = format!("CONNECT {} ", nginx.addr);
    assert!(
        !open.heads().is_empty() && open.heads().iter().all(|head| head.starts_with(&tunnel)),
        "{:?}",
        open.heads()
    );
    assert_eq!(receiver.got().len(), 1);
}
