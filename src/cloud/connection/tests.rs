//! Connections through reqwest, to a server on a real socket.

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
    let url = server.url.parse().unwrap();
    let request = SignedRequest { method: Method::GET, url, headers: HeaderMap::new(), body: String::new() };
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
    let numbers = |fresh: bool| kinds.iter().zip(heads.iter()).filter(move |(kind, _)| **kind == fresh);
    let times = |number: usize| heads.iter().filter(|(other, _)| *other == number).count();
    assert!(numbers(true).all(|(_, (number, _))| times(*number) == 1));
    assert!(numbers(false).any(|(_, (number, _))| times(*number) > 1));
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
