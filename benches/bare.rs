//! The bare loop: what a poll cannot do without, and nothing else. Sign, GET, read, parse, at the same rate.

use std::time::{Duration, SystemTime};

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Client;
use sha1::Sha1;
use tokio::task::JoinSet;

/// Requests in flight without a rate, as many as the daemon has by default.
const IN_FLIGHT: u64 = 32;

/// Polls that URL so often a second until it is killed; 0: as often as it can. With a certificate authority for https.
pub fn run(url: &str, rate: u32, ca: Option<&str>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let address = url.to_owned();
    runtime.block_on(async move {
        let mut client = Client::builder().timeout(Duration::from_secs(10));
        if let Some(ca) = ca {
            let pem = std::fs::read(ca).expect("a certificate");
            client = client.tls_certs_only([reqwest::Certificate::from_pem(&pem).expect("a certificate")]);
        }
        let client = client.build().expect("a client");
        if rate == 0 {
            let mut loops = JoinSet::new();
            for first in 0..IN_FLIGHT {
                let (client, address) = (client.clone(), address.clone());
                loops.spawn(async move {
                    for id in (first..).step_by(IN_FLIGHT as usize) {
                        poll(&client, &address, id).await;
                    }
                });
            }
            while loops.join_next().await.is_some() {}
            return;
        }
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
        // A pause is not caught up.
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        for id in 0.. {
            ticks.tick().await;
            poll(&client, &address, id).await;
        }
    });
}

async fn poll(client: &Client, url: &str, id: u64) {
    let seconds =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970").as_secs();
    let nonce = rand::random::<u64>() >> 1;
    let fields = format!(
        "Action=DescriptionOperationResult&Nonce={nonce}&Region=bj&SecretId=AKIDbench12345678901234567890123456&Timestamp={seconds}&taskId={}",
        id % 200 + 1
    );
    let mut mac = Hmac::<Sha1>::new_from_slice(b"bench123456789012345678901234567").expect("a key");
    mac.update(format!("GET127.0.0.1/v2/index.php?{fields}").as_bytes());
    let signature = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    let signature = utf8_percent_encode(&signature, NON_ALPHANUMERIC);
    let url = format!("{url}?{fields}&Signature={signature}");
    // Requests in flight time out while the process is paused.
    let Ok(response) = client.get(url).send().await else { return };
    let Ok(body) = response.bytes().await else { return };
    let response: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(response["data"]["status"], 4);
}
