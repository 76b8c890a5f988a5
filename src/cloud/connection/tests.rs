//! Connections to a server on a real socket.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::clock::Wall;
use crate::cloud::operations::{Api, Operations};
use crate::cloud::{Cloud, Stamp};
use crate::model::task::{Target, TaskId};
use crate::secret::Secret;

/// A server that responds to every request with these bytes, and keeps the connection open.
struct Server {
    url: String,
    /// Heads of the requests, each with the number of its connection.
    heads: Arc<Mutex<Vec<(usize, String)>>>,
    _tasks: JoinSet<()>,
}

async fn server(response: impl Into<Vec<u8>>) -> Server {
    let response = response.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::<Mutex<Vec<_>>>::default();
    let seen = Arc::clone(&heads);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        for number in 0.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let seen = Arc::clone(&seen);
            let response = response.clone();
            connections.spawn(async move {
                let mut bytes = Vec::new();
                while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                    if bytes.windows(4).any(|end| end == b"\r\n\r\n") {
                        seen.lock()
                            .unwrap()
                            .push((number, String::from_utf8(std::mem::take(&mut bytes)).unwrap()));
                        if stream.write_all(&response).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Server { url, heads, _tasks: tasks }
}

fn response(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn account(server: &Server, api: Api) -> Account {
    let endpoint = server.url.parse().ok();
    Account { api, endpoint, ..Account::new("default", "AKID", Secret::new("key")) }
}

async fn get(
    connections: &Arc<dyn Connections>,
    server: &Server,
    fresh: bool,
    max_body_bytes: usize,
) -> Result<Received, TransportFailure> {
    let url: Url = server.url.parse().unwrap();
    let mut headers = headers();
    headers.insert(reqwest::header::HOST, HeaderValue::from_str(url.authority()).unwrap());
    let request = SignedRequest {
        method: Method::GET,
        url: Arc::new(url),
        query: "a=b".to_owned(),
        headers,
        body: String::new(),
    };
    connections.send(request, fresh, max_body_bytes).await
}

#[tokio::test]
async fn a_body_is_read_up_to_its_bound_and_a_larger_one_is_named() {
    let server = server(response("", &[b'x'; 1_000])).await;
    let connections = pools(&account(&server, Api::V2)).unwrap();
    let whole = get(&connections, &server, false, 1_000).await.unwrap();
    assert_eq!((whole.status, whole.body.map(|body| body.len())), (200, Ok(1_000)));
    let larger = get(&connections, &server, false, 999).await.unwrap().body.unwrap_err();
    let wanted = ("the response is larger than 999 bytes", Missing::TooLarge);
    assert_eq!((larger.message.as_str(), larger.missing), wanted);
}

#[tokio::test]
async fn a_connection_is_used_again_unless_a_new_one_is_asked_for() {
    let server = server(response("", b"{}")).await;
    let connections = pools(&account(&server, Api::V2)).unwrap();
    let kinds = [false, false, true, true, false, false];
    for fresh in kinds {
        get(&connections, &server, fresh, 10).await.unwrap().body.unwrap();
    }
    let heads = server.heads.lock().unwrap();
    let numbers: Vec<_> = heads.iter().map(|(number, _)| *number).collect();
    // A new connection is kept as any other, and the last one is used first.
    assert_eq!(numbers, [0, 0, 1, 2, 2, 2]);
}

/// A server that follows a script on each connection: bytes for each request, then the end or silence.
async fn scripted_server(scripts: Vec<Vec<Vec<u8>>>, is_silent_at_the_end: bool) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::<Mutex<Vec<_>>>::default();
    let seen = Arc::clone(&heads);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut silent = JoinSet::new();
        for (number, script) in scripts.into_iter().enumerate() {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let seen = Arc::clone(&seen);
            silent.spawn(async move {
                for bytes in script {
                    let mut request = Vec::new();
                    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                        if stream.read_buf(&mut request).await.is_ok_and(|read| read == 0) {
                            return;
                        }
                    }
                    seen.lock().unwrap().push((number, String::from_utf8(request).unwrap()));
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                if is_silent_at_the_end {
                    std::future::pending::<()>().await;
                }
            });
        }
        while silent.join_next().await.is_some() {}
    });
    Server { url, heads, _tasks: tasks }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_it_was_idle_is_not_used_again() {
    let ok = response("", b"{}");
    let server = scripted_server(vec![vec![ok.clone()], vec![ok]], false).await;
    let connections = pools(&account(&server, Api::V2)).unwrap();
    get(&connections, &server, false, 10).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    get(&connections, &server, false, 10).await.unwrap().body.unwrap();
    assert_eq!(server.heads.lock().unwrap().iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn after_a_request_without_an_end_the_other_idle_connections_are_closed() {
    let ok = response("", b"{}");
    // Two connections have a response and are silent then, as behind a middlebox that forgot them.
    let scripts = vec![vec![ok.clone()], vec![ok.clone()], vec![ok]];
    let server = scripted_server(scripts, true).await;
    let connections = pools(&account(&server, Api::V2)).unwrap();
    let both = [get(&connections, &server, true, 10), get(&connections, &server, true, 10)];
    for got in futures_of(both).await {
        got.unwrap().body.unwrap();
    }
    let limit = Duration::from_millis(100);
    let timed_out = tokio::time::timeout(limit, get(&connections, &server, false, 10)).await;
    assert!(timed_out.is_err());
    get(&connections, &server, false, 10).await.unwrap().body.unwrap();
    assert_eq!(server.heads.lock().unwrap().last().unwrap().0, 2, "a new connection");
}

async fn futures_of<F: Future>(futures: [F; 2]) -> [F::Output; 2] {
    let [one, other] = futures;
    tokio::join!(one, other).into()
}

#[tokio::test]
async fn a_flood_of_interim_responses_ends_its_request_alone() {
    let flood = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n".repeat(10_000);
    let server = scripted_server(vec![vec![flood], vec![response("", b"{}")]], true).await;
    let connections = pools(&account(&server, Api::V2)).unwrap();
    let flooded = get(&connections, &server, false, 10).await.unwrap_err();
    assert!(flooded.message.contains("more than 64 KiB arrived before the headers"), "{}", flooded.message);
    assert_eq!(flooded.missing, Missing::Transport);
    get(&connections, &server, false, 10).await.unwrap().body.unwrap();
}

#[tokio::test]
async fn a_head_that_is_too_large_ends_its_request() {
    let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(100_000));
    let server = scripted_server(vec![vec![head.into_bytes()]], true).await;
    let connections = pools(&account(&server, Api::V2)).unwrap();
    let refused = get(&connections, &server, false, 10).await.unwrap_err();
    assert!(
        refused.message.contains("too large") || refused.message.contains("64 KiB"),
        "{}",
        refused.message
    );
}

#[tokio::test]
async fn a_connection_that_closes_before_a_response_is_lost_and_one_in_the_body_is_a_fault() {
    let short = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".to_vec();
    let server = scripted_server(vec![vec![Vec::new()], vec![short]], false).await;
    let connections = pools(&account(&server, Api::V2)).unwrap();
    let lost = get(&connections, &server, false, 10).await.unwrap_err();
    assert_eq!(lost.missing, Missing::ConnectionLost, "{}", lost.message);
    let cut = get(&connections, &server, false, 10).await.unwrap().body.unwrap_err();
    assert_eq!(cut.missing, Missing::Transport, "{}", cut.message);
    assert!(!format!("{lost:?}{cut:?}").contains("a=b"), "no query in a message");
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "the virtual time of the test")]
async fn a_connection_is_used_for_5_minutes_and_idle_for_30_seconds_at_most() {
    let many = vec![response("", b"{}"); 100];
    let server = scripted_server(vec![many.clone(), many.clone(), many], true).await;
    let connections = pools(&account(&server, Api::V2)).unwrap();
    let number = || server.heads.lock().unwrap().last().unwrap().0;
    let start = tokio::time::Instant::now();
    while {
        get(&connections, &server, false, 10).await.unwrap();
        number()
    } == 0
    {
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    let age = start.elapsed().as_secs();
    assert!((230..=310).contains(&age), "{age} s");
    tokio::time::advance(Duration::from_secs(31)).await;
    get(&connections, &server, false, 10).await.unwrap();
    assert_eq!(number(), 2);
}

#[tokio::test]
async fn no_encoding_is_requested_and_one_that_comes_anyway_is_named_over_either_api() {
    const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabV\xca\xcfNM";
    for api in [Api::V2, Api::V3] {
        let server = server(response("Content-Encoding: gzip\r\n", GZIP)).await;
        let accounts = [("default".to_owned(), account(&server, api))].into();
        let cloud = Cloud::new(accounts, Operations::built_in(), Duration::from_secs(10), pools).unwrap();
        let target = Target { account: "default".into(), region: "bj".into(), operation: "bm".into() };
        let stamp = Stamp { nonce: 1, at: Wall(1_764_000_000_000) };
        let polled = cloud.route(&target).unwrap().poll(&TaskId::Int(1), &[], stamp, false).await;
        let fault = polled.poll.unwrap_err();
        assert_eq!(fault.code.to_string(), "content_encoding");
        assert!(fault.message.contains("gzip"), "{fault}");
        let heads = server.heads.lock().unwrap();
        assert!(heads[0].1.to_lowercase().contains("\r\naccept-encoding: identity\r\n"), "{}", heads[0].1);
    }
}
