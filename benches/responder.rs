//! A fast local responder: every request gets the same unfinished status. It runs in a process of its own, so
//! that its CPU is not counted, and returns the number of requests for `/count`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::process::Process;

/// The responses of `/over` and of every other path.
const OVER: &str = r#"{"code":0,"message":"OK","data":{"status":1}}"#;
const ANSWER: &str =
    r#"{"code":0,"message":"OK","data":{"status":4,"instanceIds":[{"instanceId":"cpm-3dw234","status":4}]}}"#;

/// A running responder.
pub struct Counter {
    pub address: SocketAddr,
    /// The folder of its certificate, if it speaks https.
    pub certificate: Option<tempfile::TempDir>,
    _process: Process,
}

/// Starts one over http.
pub fn start() -> Counter {
    start_with(None)
}

/// Starts one over https. Its requests are counted over http at the next port.
pub fn start_https() -> Counter {
    let folder = tempfile::tempdir().expect("a folder");
    let make = |name: &str, more: &[&str]| {
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", "/CN=bench", "-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")])
            .args(more)
            .current_dir(folder.path())
            .stderr(Stdio::null())
            .status();
        assert!(made.is_ok_and(|status| status.success()), "openssl makes a certificate");
    };
    make("ca", &[]);
    let own = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1"];
    make("server", &[&["-CA", "ca.pem", "-CAkey", "ca.key"], own.as_slice()].concat());
    start_with(Some(folder))
}

fn start_with(certificate: Option<tempfile::TempDir>) -> Counter {
    let mut child = Command::new(std::env::current_exe().expect("its own path"))
        .arg("answer")
        .args(certificate.iter().map(|folder| folder.path()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a responder");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("its address");
    let address = line.trim().parse().expect("an address");
    Counter { address, certificate, _process: Process(child) }
}

impl Counter {
    /// The endpoint of its polls.
    pub fn url(&self) -> String {
        let SocketAddr::V4(address) = self.address else { panic!("an address of version 4") };
        match self.certificate {
            Some(_) => format!("https://{}:{}/v2/index.php", address.ip(), address.port() + 1),
            None => format!("http://{address}/v2/index.php"),
        }
    }

    /// The certificate authority of an https responder.
    pub fn ca(&self) -> Option<std::path::PathBuf> {
        Some(self.certificate.as_ref()?.path().join("ca.pem"))
    }

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

/// Responds until it is killed: over http, and at the next port over https with the certificate in that folder.
pub fn run(folder: Option<&str>) {
    let (listener, secure) = loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let Some(folder) = folder else { break (listener, None) };
        if let Ok(secure) = TcpListener::bind((address.ip(), address.port().saturating_add(1))) {
            break (listener, Some((secure, tls(Path::new(folder)))));
        }
    };
    println!("{}", listener.local_addr().expect("an address"));
    let count = Arc::new(AtomicU64::new(0));
    if let Some((secure, tls)) = secure {
        let count = Arc::clone(&count);
        std::thread::spawn(move || {
            for stream in secure.incoming().flatten() {
                let (count, tls) = (Arc::clone(&count), Arc::clone(&tls));
                std::thread::spawn(move || {
                    stream.set_nodelay(true).ok()?;
                    let session = rustls::ServerConnection::new(tls).expect("a session");
                    serve(rustls::StreamOwned::new(session, stream), &count)
                });
            }
        });
    }
    for stream in listener.incoming().flatten() {
        let count = Arc::clone(&count);
        std::thread::spawn(move || {
            stream.set_nodelay(true).ok()?;
            serve(stream, &count)
        });
    }
}

fn tls(folder: &Path) -> Arc<rustls::ServerConfig> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).expect("a key");
    let config =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    Arc::new(config.expect("a certificate and its key"))
}

fn serve(stream: impl Read + Write, count: &AtomicU64) -> Option<()> {
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
        let stream = reader.get_mut();
        stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
        stream.flush().ok()?;
        if !counted {
            return Some(());
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}
