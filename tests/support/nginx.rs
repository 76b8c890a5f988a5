//! nginx before a receiver, on a port and in a folder of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::eventually;
use super::network::Certificate;

/// nginx with TLS. It requires a client certificate of the same authority, except below `/open`, and responds
/// slowly below `/slow`. Dropping it stops it.
pub struct Nginx {
    pub addr: SocketAddr,
    _child: Child,
    _folder: tempfile::TempDir,
}

/// Starts one with that certificate before that server.
pub async fn start(certificate: &Certificate, to: SocketAddr) -> Nginx {
    let folder = tempfile::tempdir().unwrap();
    // The port is free again at once, and no other test takes one by its number.
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let path = |path: &Path| path.display().to_string();
    let here = path(folder.path());
    let chain = path(&certificate.chain);
    let key = path(&certificate.key);
    let ca = path(&certificate.ca);
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {here}/{what};"))
        .join("\n");
    let configuration = format!(
        "daemon off;
master_process off;
pid {here}/pid;
error_log {here}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  {temporary}
  server {{
    listen {addr} ssl;
    ssl_certificate {chain};
    ssl_certificate_key {key};
    ssl_client_certificate {ca};
    ssl_verify_client optional;
    proxy_http_version 1.1;
    location / {{
      if ($ssl_client_verify != SUCCESS) {{ return 496; }}
      proxy_pass http://{to};
    }}
    location /open {{ proxy_pass http://{to}; }}
    location /slow {{ proxy_pass http://{to}; limit_rate 100; limit_rate_after 1k; }}
  }}
}}
"
    );
    fs::write(folder.path().join("nginx.conf"), configuration).unwrap();
    let mut command = Command::new("nginx");
    command
        .arg("-e")
        .arg(folder.path().join("error.log"))
        .arg("-p")
        .arg(folder.path())
        .args(["-c", "nginx.conf"]);
    let child =
        command.stdin(Stdio::null()).kill_on_drop(true).spawn().expect("nginx, which tests/run installs");
    eventually("nginx listens", || TcpStream::connect(addr).is_ok()).await;
    Nginx { addr, _child: child, _folder: folder }
}
