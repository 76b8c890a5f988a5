//! A fast local responder: every request gets the same unfinished status. It runs in a process of its own, so
//! that its CPU is not counted, and returns the number of requests for `/count`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::process::Process;

/// The responses of `/over` and of every other path.
const OVER: &str = r#"{"code":0,"message":"OK","data":{"status":1}}"#;
const ANSWER: &str =
    r#"{"code":0,"message":"OK","data":{"status":4,"instanceIds":[{"instanceId":"cpm-3dw234","status":4}]}}"#;

/// A running responder.
pub struct Counter {
    pub address: SocketAddr,
    _process: Process,
}

/// Starts one.
pub fn start() -> Counter {
    let mut child = Command::new(std::env::current_exe().expect("its own path"))
        .arg("answer")
        .stdout(Stdio::piped())
        .spawn()
        .expect("an responder");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("its address");
    Counter { address: line.trim().parse().expect("an address"), _process: Process(child) }
}

impl Counter {
    /// The number of requests.
    pub fn count(&self) -> u64 {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.write_all(b"GET /count HTTP/1.1\r\nConnection: close\r\n\r\n").expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text.rsplit("\r\n").next().and_then(|count| count.parse().ok()).expect("a number")
    }

    /// Waits until it sees another request.
    pub fn wait_for_more(&self) {
        let before = self.count();
        while self.count() == before {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Responds until it is killed.
pub fn run() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    let count = Arc::new(AtomicU64::new(0));
    for stream in listener.incoming().flatten() {
        let count = Arc::clone(&count);
        std::thread::spawn(move || serve(&stream, &count));
    }
}

fn serve(mut stream: &TcpStream, count: &AtomicU64) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let counted = !line.starts_with("GET /count");
        let over = line.starts_with("GET /over");
        let mut length = 0;
        while line.trim_end() != "" {
            line.clear();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let response = if over { OVER } else { ANSWER };
        let body = if counted { response.to_owned() } else { count.load(Ordering::Relaxed).to_string() };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
        if !counted {
            return Some(());
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}
