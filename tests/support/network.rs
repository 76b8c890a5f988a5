//! Servers between the program and the cloud: a forward proxy, a TLS front, a server that echoes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Something that listens on a port of its own until it is dropped.
pub struct Front {
    pub addr: SocketAddr,
    /// The head of the first request of each connection; empty where it is encrypted.
    heads: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Front {
    /// The bytes read from each connection so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    async fn start<F>(serve: impl Fn(TcpStream, Arc<Mutex<Vec<String>>>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let mut tasks = JoinSet::new();
        let read = Arc::clone(&heads);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let connection = serve(stream, Arc::clone(&read));
                // Clients come and go.
                connections.spawn(async move { drop(connection.await) });
            }
        });
        Self { addr, heads, _tasks: tasks }
    }
}

/// A forward proxy: `CONNECT` opens a tunnel, and a request for a whole `http://` address is passed on as it
/// is.
pub async fn proxy() -> Front {
    Front::start(|mut client, heads| async move {
        let head = head(&mut client).await?;
        heads.lock().unwrap().push(head.clone());
        let target = head.split(' ').nth(1).unwrap_or_default().trim_start_matches("http://");
        let mut server = TcpStream::connect(target.split('/').next().unwrap_or_default()).await?;
        match head.starts_with("CONNECT ") {
            true => client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?,
            false => server.write_all(head.as_bytes()).await?,
        }
        copy_bidirectional(&mut client, &mut server).await.map(|_| ())
    })
    .await
}

/// A forward proxy that accepts no login.
pub async fn closed_proxy() -> Front {
    Front::start(|mut client, heads| async move {
        let head = head(&mut client).await?;
        heads.lock().unwrap().push(head);
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await
    })
    .await
}

/// A server with that certificate, which passes on to that address what it decrypts.
pub async fn tls(certificate: &Certificate, to: SocketAddr) -> Front {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::pem_file_iter(&certificate.chain).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor =
        TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()));
    Front::start(move |client, heads| {
        let acceptor = acceptor.clone();
        async move {
            heads.lock().unwrap().push(String::new());
            let mut client = acceptor.accept(client).await?;
            copy_bidirectional(&mut client, &mut TcpStream::connect(to).await?).await.map(|_| ())
        }
    })
    .await
}

/// A server of API 3.0 that refuses every request, and repeats its signature.
pub async fn echo() -> Front {
    Front::start(|mut client, heads| async move {
        let head = head(&mut client).await?;
        heads.lock().unwrap().push(head.clone());
        let authorization = head.lines().find(|line| line.starts_with("authorization: ")).unwrap_or_default();
        let body = format!(r#"{{"Response":{{"Error":{{"Code":"FailedOperation","Message":"{authorization}"}},"RequestId":"r"}}}}"#);
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        client.write_all(response.as_bytes()).await
    })
    .await
}

/// Everything up to the empty line, and what of the body came along.
async fn head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") && stream.read_buf(&mut bytes).await? > 0 {}
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A certificate for 127.0.0.1, its key, and the one that signed it.
pub struct Certificate {
    pub ca: PathBuf,
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// Makes one, with the program `openssl`.
pub fn certificate(folder: &Path) -> Certificate {
    let (ca, _) = made(folder, "ca", &[]);
    let (chain, key) = signed(folder, "server");
    Certificate { ca, chain, key }
}

/// One more of that name, signed by the `ca` in this folder, and its key.
pub fn signed(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let by_ca = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"];
    made(folder, name, &[&by_ca[..], &["-addext", "subjectAltName=IP:127.0.0.1"]].concat())
}

/// One that is signed by itself, as `openssl req -x509` makes it (an authority's), or one of a server.
pub fn self_signed(folder: &Path, is_authority: bool) -> Certificate {
    let constraints = format!("basicConstraints=critical,CA:{}", is_authority.to_string().to_uppercase());
    let extra = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", &constraints];
    let (chain, key) = made(folder, "self", &extra);
    Certificate { ca: chain.clone(), chain, key }
}

fn made(folder: &Path, name: &str, extra: &[&str]) -> (PathBuf, PathBuf) {
    let key = folder.join(format!("{name}.key"));
    let certificate = folder.join(format!("{name}.pem"));
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
    ]);
    command
        .arg(format!("/CN=opwatch {name}"))
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .args(extra)
        .current_dir(folder);
    let made = command.output().expect("openssl, which tests/run installs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}
