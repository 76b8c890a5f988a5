//! The live control of a running daemon: its Unix socket, TCP with tokens, and clients that misbehave.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use opwatch::sim::{Scenario, Sim, SimResponse};
use serde_json::{Value, json};
use tokio::process::Child;

use crate::support::receiver::{Receiver, ReceiverResponse};
use crate::support::{Home, cloud, eventually, output_of, signal};

/// A daemon with a socket, a TCP address and a token, that polls.
struct Served {
    cloud: Sim,
    home: Home,
    daemon: Child,
}

async fn served(tasks: &[u64], more: &str) -> Served {
    let mut scenario = Scenario::default();
    for id in tasks {
        scenario = scenario.with_task(*id, [SimResponse::status(4)]);
    }
    let cloud = cloud(scenario).await;
    let http = "[http]\nsocket = \"o.sock\"\nlisten = \"127.0.0.1:0\"\ntoken_file = \"tokens\"\n";
    let home = Home::new(&cloud, &format!("{http}{more}"));
    home.list(tasks.iter().copied());
    home.write("tokens", "ops:a token of this test\n");
    fs::set_permissions(home.path("tokens"), fs::Permissions::from_mode(0o600)).unwrap();
    let daemon = started(&home).await;
    Served { cloud, home, daemon }
}

async fn started(home: &Home) -> Child {
    let line = format!("exec {} run -c opwatch.toml 2>>log", env!("CARGO_BIN_EXE_opwatch"));
    let before = log(home).matches("\"watching\"").count();
    let daemon = home.in_shell(&line).spawn().unwrap();
    eventually("it runs", || log(home).matches("\"watching\"").count() > before).await;
    daemon
}

fn log(home: &Home) -> String {
    fs::read_to_string(home.path("log")).unwrap_or_default()
}

impl Served {
    fn tcp(&self) -> SocketAddr {
        let log = log(&self.home);
        let line = log.lines().rfind(|line| line.contains("\"listening\"")).expect("an address");
        let line: Value = serde_json::from_str(line).unwrap();
        line["address"].as_str().unwrap().parse().unwrap()
    }

    fn client(&self) -> reqwest::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder().unix_socket(self.home.path("o.sock")).no_proxy().build().unwrap()
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.client().get(format!("http://opwatch{path}"))).await
    }

    async fn post(&self, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = self.client().post(format!("http://opwatch{path}"));
        answer(match body {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request,
        })
        .await
    }

    /// The only task of that id, as the list has it.
    async fn task(&self, id: u64) -> Value {
        let (status, page) = self.get(&format!("/api/v1/tasks?state=all&id={id}")).await;
        assert_eq!((status, page["tasks"].as_array().map(Vec::len)), (200, Some(1)), "{page}");
        page["tasks"][0].clone()
    }

    async fn command(&self, id: u64, command: &str) -> u16 {
        let key = self.task(id).await["key"].clone();
        self.post(&format!("/api/v1/tasks/{key}/{command}"), None).await.0
    }

    fn is_polled(&self, id: &str) -> bool {
        self.cloud.received().iter().any(|request| request.task == id)
    }

    async fn stop(self) {
        signal(&self.daemon, "TERM");
        assert_eq!(output_of(self.daemon).await.code, Some(0), "{}", log(&self.home));
        assert!(!self.home.path("o.sock").exists(), "the socket is removed");
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    let text = response.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    if status >= 400 {
        assert_eq!(content_type.as_deref(), Some("application/problem+json"), "{body}");
        assert!(body["status"] == status && body["detail"].is_string(), "{body}");
    }
    (status, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_added_shown_and_commanded_and_the_results_outlive_a_kill() {
    let served = served(&[1], "").await;
    assert_eq!(fs::metadata(served.home.path("o.sock")).unwrap().permissions().mode() & 0o777, 0o660);
    let body = json!({"tasks": [{"id": 7, "name": "seven", "labels": {"team": "dba"}}, {"id": "8"}]});
    served.cloud.set_responses("7", [SimResponse::status(4)]);
    served.cloud.set_responses("8", [SimResponse::status(4)]);
    let (status, added) = served.post("/api/v1/tasks", Some(body.clone())).await;
    let states = |added: &Value| -> Vec<String> {
        added["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|task| task["state"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!((status, states(&added)), (200, vec!["new".to_owned(); 2]), "{added}");
    let (_, again) = served.post("/api/v1/tasks", Some(body)).await;
    assert_eq!(states(&again), ["known", "known"]);
    eventually("both are polled", || ["7", "8"].iter().all(|id| served.is_polled(id))).await;
    let (_, page) = served.get("/api/v1/tasks?label=team%3Ddba&text=SEV").await;
    assert_eq!(page["tasks"].as_array().unwrap().len(), 1, "{page}");

    assert_eq!(served.command(7, "pause").await, 204);
    assert_eq!((served.command(7, "poll").await, served.command(7, "pause").await), (409, 204));
    let key = served.task(8).await["key"].clone();
    let (status, _) =
        served.post(&format!("/api/v1/tasks/{key}/extend"), Some(json!({"duration": "3h"}))).await;
    assert_eq!(status, 204);
    assert_eq!(served.post("/api/v1/sinks/audit/pause", None).await.0, 204);
    assert_eq!(served.command(1, "cancel").await, 204);

    let Served { cloud, home, mut daemon } = served;
    daemon.kill().await.unwrap();
    let daemon = started(&home).await;
    let served = Served { cloud, home, daemon };
    assert_eq!(served.task(7).await["state"], "paused");
    let (one, eight) = (served.task(1).await, served.task(8).await);
    assert_eq!((&one["state"], &one["reason"]), (&json!("abandoned"), &json!("cancelled")));
    let left = humantime::parse_rfc3339(eight["deadline"].as_str().unwrap()).unwrap();
    let registered = humantime::parse_rfc3339(eight["registered_at"].as_str().unwrap()).unwrap();
    let timeout = left.duration_since(registered).unwrap();
    assert!(
        timeout > Duration::from_secs(3 * 3600 - 60) && timeout < Duration::from_secs(3 * 3600 + 600),
        "{eight}"
    );
    let (_, sinks) = served.get("/api/v1/sinks").await;
    let audit = sinks.as_array().unwrap().iter().find(|sink| sink["name"] == "audit").unwrap();
    assert_eq!((&audit["is_paused"], &audit["undelivered"]), (&json!(true), &json!(1)), "{audit}");
    assert_eq!(served.post("/api/v1/sinks/audit/resume", None).await.0, 204);
    eventually("the event is delivered", || !served.home.events().is_empty()).await;
    assert_eq!(served.command(7, "resume").await, 204);
    assert_eq!(served.command(7, "poll").await, 204);
    served.cloud.set_responses("7", [SimResponse::status(1)]);
    eventually("7 ends", || served.home.events().len() == 2).await;
    let key = served.task(7).await["key"].clone();
    let (_, shown) = served.get(&format!("/api/v1/tasks/{key}")).await;
    assert_eq!(shown["events"][0]["event"]["type"], "opwatch.task.finished", "{shown}");
    assert!(shown["recent_polls"].as_array().is_some_and(|polls| !polls.is_empty()), "{shown}");
    let command = log(&served.home).lines().filter(|line| line.contains("a command was carried out")).count();
    assert!(command >= 9, "{command}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_problems_and_change_nothing() {
    let served = served(&[1], "").await;
    let wrong = [
        (json!({"tasks": [{"id": 5}, {"id": "x"}, {"id": 6, "sinks": ["nobody"]}]}), 422, 2),
        (json!({"tasks": [{"id": 5, "nmae": "x"}]}), 422, 1),
        (json!({"tasks": []}), 422, 0),
        (json!({"tasks": [5]}), 422, 1),
        (json!({"task": []}), 400, 0),
    ];
    for (body, wanted, errors) in wrong {
        let (status, problem) = served.post("/api/v1/tasks", Some(body)).await;
        let count = problem["errors"].as_array().map_or(0, Vec::len);
        assert_eq!((status, count), (wanted, errors), "{problem}");
    }
    assert_eq!(served.get("/api/v1/tasks?state=all").await.1["tasks"].as_array().unwrap().len(), 1);
    for (path, wanted) in [
        ("/nowhere", 404),
        ("/api/v1/tasks/99", 404),
        ("/api/v1/tasks/x", 404),
        ("/api/v1/events/4711", 404),
        ("/api/v1/tasks?limit=0", 400),
        ("/api/v1/tasks?sort=id", 400),
        ("/api/v1/events?since=yesterday", 400),
        ("/metrics", 404),
        ("/", 404),
    ] {
        assert_eq!(served.get(path).await.0, wanted, "{path}");
    }
    assert_eq!(served.post("/api/v1/status", None).await.0, 405);
    assert_eq!(served.post("/api/v1/tasks", None).await.0, 415);
    assert_eq!(served.post("/api/v1/tasks/99/cancel", None).await.0, 404);
    assert_eq!(served.post("/api/v1/accounts/nobody/pause", None).await.0, 404);
    let large = answer(
        served
            .client()
            .post("http://opwatch/api/v1/tasks")
            .header("content-type", "application/json")
            .body(vec![b' '; 9 << 20]),
    );
    assert_eq!(large.await.0, 413);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_changes_through_tcp_without_a_token() {
    let served = served(&[1], "").await;
    let at = served.tcp();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = || reqwest::Client::builder().no_proxy().build().unwrap();
    let url = |path: &str| format!("http://{at}{path}");
    let pause = "/api/v1/accounts/default/pause";
    let bearer = |token: &str| client().post(url(pause)).bearer_auth(token);
    assert_eq!(answer(client().get(url("/api/v1/status"))).await.0, 200);
    assert_eq!(answer(client().post(url(pause))).await.0, 401);
    assert_eq!(answer(bearer("wrong")).await.0, 401);
    assert_eq!(answer(bearer("")).await.0, 401);
    // A page of another site, and one whose name was rebound to a loopback address.
    assert_eq!(answer(client().get(url("/api/v1/status")).header("host", "evil.example")).await.0, 401);
    let origin = bearer("a token of this test").header("origin", "https://evil.example");
    assert_eq!(answer(origin).await.0, 403);
    let site = client().get(url("/api/v1/status")).header("sec-fetch-site", "cross-site");
    assert_eq!(answer(site).await.0, 403);
    assert_eq!(answer(bearer("a token of this test")).await.0, 204);
    let (_, accounts) = served.get("/api/v1/accounts").await;
    assert_eq!(accounts[0]["is_paused"], true);
    // The file is read again.
    served.home.write("tokens", "# none\nother:second\n");
    assert_eq!(answer(bearer("a token of this test")).await.0, 401);
    assert_eq!(answer(bearer("second")).await.0, 204);
    assert!(log(&served.home).contains("token ops"));
    assert!(!log(&served.home).contains("a token of this test"));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_through_the_interface_returns_its_result() {
    let served = served(&[1, 2], "").await;
    served.home.list([2]);
    let (status, body) = served.post("/api/v1/reload", Some(json!({}))).await;
    assert_eq!((status, body["open"].is_u64()), (200, true), "{body}");
    eventually("1 is removed", || served.home.events().len() == 1).await;
    served.home.edit("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:1\"");
    let (status, problem) = served.post("/api/v1/reload", Some(json!({}))).await;
    assert!(status == 422 && problem["errors"][0].as_str().unwrap().contains("http"), "{problem}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_event_goes_to_the_sinks_of_the_daemon_and_each_has_a_result() {
    let receiver = Receiver::start().await;
    receiver.response(ReceiverResponse::status(413));
    let more = format!("[sinks.hook]\ntype = \"webhook\"\nurl = \"http://{}/\"\n", receiver.addr);
    let served = served(&[1], &more).await;
    let (status, body) =
        served.post("/api/v1/events/test", Some(json!({ "sinks": ["audit", "hook"] }))).await;
    assert_eq!(status, 200, "{body}");
    let results: Vec<_> =
        body["results"].as_array().unwrap().iter().map(|result| &result["result"]).collect();
    assert_eq!(results, ["delivered", "refused"], "{body}");
    assert!(body["results"][1]["error"].as_str().unwrap().contains("413"), "{body}");
    assert_eq!(served.home.events()[0]["data"]["task"]["id"], "test");
    let wrong = [json!({ "type": "ended" }), json!({ "outcome": "good" })];
    for body in wrong {
        let (status, problem) = served.post("/api/v1/events/test", Some(body)).await;
        assert!(status == 422 && problem["detail"].as_str().unwrap().contains("write "), "{problem}");
    }
    let (status, _) = served.post("/api/v1/events/test", Some(json!({ "sinks": ["nobody"] }))).await;
    assert_eq!(status, 404);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_for_the_credentials_and_the_host_of_an_account_alone() {
    let served = served(&[1], "").await;
    let host = served.cloud.addr().ip().to_string();
    let request = |secret_id: &str, host: &str, id: &str| {
        let (region, operation) = ("bj", "bm");
        json!({ "secret_id": secret_id, "host": host, "region": region, "operation": operation, "id": id })
    };
    let own = opwatch::sim::SECRET_ID;
    for (body, wanted) in [
        (request(own, &host, "99"), 200),
        (request("AKIDother", &host, "99"), 404),
        (request(own, "bm.api.qcloud.com", "99"), 404),
    ] {
        let (status, found) = served.post("/api/v1/slots", Some(body)).await;
        assert_eq!(status, wanted, "{found}");
    }
    let (_, known) = served.post("/api/v1/slots", Some(request(own, &host, "1"))).await;
    assert_eq!(known["task"]["id"], "1", "{known}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_resumes_behind_the_last_event() {
    let served = served(&[1, 2, 3], "").await;
    let events = async |after: &str, count: usize| {
        let mut response = served
            .client()
            .get("http://opwatch/api/v1/events/stream")
            .header("last-event-id", after)
            .send()
            .await
            .unwrap();
        let mut text = String::new();
        while text.matches("\ndata: ").count() < count {
            text += std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap();
        }
        let ids: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned).collect();
        ids
    };
    assert_eq!(served.command(1, "cancel").await, 204);
    assert_eq!(events("0", 1).await, ["1"]);
    assert_eq!(served.command(2, "cancel").await, 204);
    let (seen, ()) = tokio::join!(events("1", 2), async {
        assert_eq!(served.command(3, "cancel").await, 204);
    });
    assert_eq!(seen, ["2", "3"]);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_delivered_again_and_discarded() {
    let receiver = Receiver::start().await;
    receiver.response(ReceiverResponse::status(413));
    let more = format!("[sinks.hook]\ntype = \"webhook\"\nurl = \"http://{}/\"\n", receiver.addr);
    let served = served(&[1, 2], &more).await;
    assert_eq!(served.command(1, "cancel").await, 204);
    assert_eq!(served.command(2, "cancel").await, 204);
    let path = "/api/v1/events?failed=true&sink=hook";
    for _ in 0..200 {
        if served.get(path).await.1["events"].as_array().unwrap().len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (_, page) = served.get(path).await;
    let delivery = &page["events"][0]["deliveries"][0];
    assert_eq!((&delivery["sink"], &delivery["is_dead"]), (&json!("hook"), &json!(true)), "{page}");
    let ids: Vec<_> = (0..2).map(|index| page["events"][index]["event"]["id"].clone()).collect();
    let discard = json!({"events": [ids[0]], "sink": "hook"});
    assert_eq!(served.post("/api/v1/discards", Some(discard)).await.1, json!({"count": 1}));
    receiver.response(ReceiverResponse::status(200));
    let before = receiver.got().len();
    assert_eq!(
        served.post("/api/v1/redeliveries", Some(json!({"sink": "hook"}))).await.1,
        json!({"count": 1})
    );
    eventually("it arrives", || receiver.got().len() > before).await;
    assert_eq!(served.get(path).await.1["events"], json!([]));
    let again = json!({"events": [ids[0]], "sink": "hook"});
    assert_eq!(served.post("/api/v1/redeliveries", Some(again)).await.1, json!({"count": 1}));
    eventually("it arrives again", || receiver.got().len() > before + 1).await;
    assert_eq!(served.post("/api/v1/redeliveries", Some(json!({}))).await.0, 422);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_misbehave_disturb_nobody() {
    let served = served(&[1], "").await;
    let at = served.tcp();
    let polite = json!({"tasks": [{"id": 1}]});
    let mut held = Vec::new();
    for number in 0..100 {
        let mut stream = TcpStream::connect(at).unwrap();
        let sent: &[u8] = match number % 4 {
            0 => b"\x16\x03\x01 no HTTP at all\r\n\r\n",
            1 => b"GET /api/v1/status HTTP/1.1\r\nHost: lo",
            2 => b"POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n{",
            _ => b"GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n",
        };
        // The daemon may have closed it already.
        let _ = stream.write_all(sent);
        held.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(served.get("/api/v1/status").await.0, 200);
        assert_eq!(served.post("/api/v1/tasks", Some(polite.clone())).await.0, 200);
    }
    let mut raw = UnixStream::connect(served.home.path("o.sock")).unwrap();
    raw.write_all(format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)).as_bytes()).ok();
    raw.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut response = Vec::new();
    let _ = raw.read_to_end(&mut response);
    assert!(!response.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&response));
    drop(held);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_of_another_daemon_is_an_error_and_one_that_was_left_is_replaced() {
    let served = served(&[1], "").await;
    let other =
        Home::new(&served.cloud, &format!("[http]\nsocket = \"{}\"\n", served.home.path("o.sock").display()));
    let ended = output_of(other.opwatch(&["run", "-c", "opwatch.toml"]).spawn().unwrap()).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("http.socket") && ended.stderr.contains("another daemon"),
        "{}",
        ended.stderr
    );
    let Served { cloud, home, mut daemon } = served;
    daemon.kill().await.unwrap();
    assert!(home.path("o.sock").exists());
    let daemon = started(&home).await;
    Served { cloud, home, daemon }.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs schemathesis, which tests/run --all installs"]
async fn the_interface_keeps_to_its_own_description_under_schemathesis() {
    let served = served(&[1, 2, 3], "").await;
    let at = served.tcp();
    let program = std::env::var("SCHEMATHESIS").unwrap_or_else(|_| "target/sdk/bin/schemathesis".to_owned());
    let mut command = tokio::process::Command::new(program);
    command
        .args(["run", &format!("http://{at}/openapi.json"), "--url", &format!("http://{at}")])
        .args(["-H", "Authorization: Bearer a token of this test", "--max-examples", "50"])
        // A stream has no end.
        .args(["--exclude-path", "/api/v1/events/stream", "--checks"])
        .arg(
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        )
        .current_dir(served.home.path(""));
    let ran = command.output().await.expect("schemathesis, which tests/run --all installs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    served.stop().await;
}

/// A client that sends commands at random and remembers what was acknowledged.
struct RandomClient {
    state: u64,
    /// Tasks that an acknowledged command added, with whether they are cancelled or paused.
    known: std::collections::BTreeMap<u64, (bool, bool)>,
    /// Tasks whose last command has no result.
    unsure: std::collections::BTreeSet<u64>,
}

impl RandomClient {
    fn random(&mut self, below: u64) -> u64 {
        // A linear congruential generator: the seed is the number of the client.
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % below
    }

    /// One command. A daemon that is being killed gives no result.
    async fn step(&mut self, client: &reqwest::Client, base: u64) {
        let send = async |path: String, body: Value| -> Option<u16> {
            let request = client.post(format!("http://opwatch/api/v1/{path}"));
            let request = request.header("content-type", "application/json").body(body.to_string());
            Some(request.timeout(Duration::from_secs(20)).send().await.ok()?.status().as_u16())
        };
        if self.known.len() < 3 || self.random(3) == 0 {
            let first = base + self.known.len() as u64 + self.unsure.len() as u64;
            let ids: Vec<u64> = (first..first + 5).collect();
            let tasks: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
            match send("tasks".to_owned(), json!({"tasks": tasks})).await {
                Some(200) => self.known.extend(ids.into_iter().map(|id| (id, (false, false)))),
                _ => self.unsure.extend(ids),
            }
            return;
        }
        let place = usize::try_from(self.random(self.known.len() as u64)).unwrap();
        let id = *self.known.keys().nth(place).unwrap();
        let list = client.get(format!("http://opwatch/api/v1/tasks?state=all&id={id}")).send().await;
        let Ok(list) = list else { return };
        let Ok(page) = list.text().await else { return };
        let page: Value = serde_json::from_str(&page).unwrap_or_default();
        let Some(key) = page["tasks"][0]["key"].as_i64() else { return };
        let (cancelled, paused) = self.known[&id];
        let (command, after) = match self.random(5) {
            0 => ("cancel", (true, paused)),
            1 | 2 => ("pause", (cancelled, true)),
            3 => ("resume", (cancelled, false)),
            _ => ("extend", (cancelled, paused)),
        };
        let body = if command == "extend" { json!({"duration": "5h"}) } else { json!({}) };
        match send(format!("tasks/{key}/{command}"), body).await {
            Some(204) => _ = self.known.insert(id, after),
            Some(409) => {}
            _ => {
                self.known.remove(&id);
                self.unsure.insert(id);
            }
        }
    }
}

/// Adds, pauses, resumes, extends and cancels tasks at random while the daemon is killed again and again.
async fn what_was_acknowledged_is_there(clients: u64, kills: usize) {
    let Served { cloud, home, daemon } = served(&[1], "").await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut running = tokio::task::JoinSet::new();
    for number in 0..clients {
        let (stop, socket) = (std::sync::Arc::clone(&stop), home.path("o.sock"));
        running.spawn(async move {
            let mut client =
                RandomClient { state: number, known: Default::default(), unsure: Default::default() };
            let http = reqwest::Client::builder().unix_socket(socket).no_proxy().build().unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                client.step(&http, 1_000_000 * (number + 1)).await;
                // A daemon that is down refuses at once.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            client
        });
    }
    let mut daemon = daemon;
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(250)).await;
        daemon.kill().await.unwrap();
        daemon = started(&home).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let served = Served { cloud, home, daemon };
    let mut count = 0;
    while let Some(client) = running.join_next().await {
        let client = client.unwrap();
        for (id, (cancelled, paused)) in &client.known {
            let task = served.task(*id).await;
            count += 1;
            match (cancelled, paused) {
                (true, _) => assert_eq!(task["reason"], "cancelled", "{task}"),
                (false, true) => assert_eq!(task["state"], "paused", "{task}"),
                (false, false) => assert_ne!(task["state"], "abandoned", "{task}"),
            }
        }
    }
    assert!(count > 20, "{count}");
    let mut ends: Vec<String> =
        served.home.events().iter().map(|event| event["subject"].to_string()).collect();
    let all = ends.len();
    ends.sort_unstable();
    ends.dedup();
    // A kill between the delivery and its acknowledgement repeats an event, under the same id.
    let ids: std::collections::BTreeSet<String> =
        served.home.events().iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), ends.len(), "one final event for each of {all}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_commands_outlive_kills() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    what_was_acknowledged_is_there(4, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes longer: tests/run --all"]
async fn acknowledged_commands_of_20_clients_outlive_40_kills() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    what_was_acknowledged_is_there(20, 40).await;
}
