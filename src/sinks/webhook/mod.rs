//! Events to an HTTP server: one request per attempt, as CloudEvents (structured JSON) or in the words of a
//! template, signed as Standard Webhooks where secrets are given.
//!
//! What an answer means stands in `answer.rs`, where the webhook leads and what of that is read again in
//! `reach.rs`. The URL is a secret: robots carry their keys in it.

pub mod config;
mod answer;
mod guard;
mod reach;
mod signature;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use uuid::Uuid;

pub use config::Config;

use self::answer::Hidden;
use self::config::{Method, Settled};
use self::reach::{Change, Reached, Standing};
use self::signature::Key;
use super::template::Template;
use super::{Sink, blocking};
use crate::clock::Clock;
use crate::model::delivery::Refusal;
use crate::model::event::Event;
use crate::section::Fault;
use crate::units::rounded;

/// Some hundred kilobytes as a rule; receivers that take batches take these.
const BATCH: usize = 64;
/// The fixed namespace of a batch's `webhook-id`; a change of it would break every reader's deduplication.
const BATCHES: Uuid = Uuid::from_u128(0x0c1d_95b4_7a27_4c0e_9d0b_6f3e_51c8_2ad7);

const STRUCTURED: &str = "application/cloudevents+json; charset=UTF-8";
const STRUCTURED_BATCH: &str = "application/cloudevents-batch+json; charset=UTF-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=UTF-8";

/// A sink of type `webhook`.
pub struct Webhook {
    name: String,
    config: Arc<Config>,
    /// Whether one request carries several events.
    is_batched: bool,
    headers: HeaderMap,
    keys: Vec<Key>,
    template: Option<Template>,
    standing: Arc<Standing>,
    clock: Clock,
}

/// What one request says.
struct Message {
    /// The same for every repetition of these events.
    id: String,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Webhook {
    /// The sink of that name. With `is_batched`, a request carries a CloudEvents batch; a template makes one
    /// message of one event, so with one nothing is batched. Nothing is connected yet.
    ///
    /// # Errors
    /// Everything that is wrong, each with its key, without a secret.
    pub fn new(name: &str, config: &Config, is_batched: bool, clock: Clock) -> Result<Self, Vec<Fault>> {
        // What is doubtful was told when the configuration was loaded.
        let Settled { headers, keys, template, reached } = config.settle(|_, _| ())?;
        let is_batched = is_batched && template.is_none();
        let standing = Arc::new(Standing::new(reached));
        Ok(Self {
            name: name.to_owned(),
            config: Arc::new(config.clone()),
            is_batched,
            headers,
            keys,
            template,
            standing,
            clock,
        })
    }

    /// Where to send, after a look at the files that may have changed.
    async fn reached(&self) -> Result<Arc<Reached>, Refusal> {
        if self.config.files().next().is_none() {
            return Ok(self.standing.current());
        }
        let standing = Arc::clone(&self.standing);
        let config = Arc::clone(&self.config);
        let (reached, change) = blocking(move || Ok(standing.look(&config))).await?;
        match change {
            Change::None => {}
            Change::Read => {
                tracing::info!(sink = self.name, "the webhook's files changed and were read again")
            }
            Change::Broken(error) => {
                tracing::warn!(
                    sink = self.name,
                    error,
                    "the webhook's files changed and cannot be used; what they said before still counts"
                )
            }
        }
        Ok(reached)
    }

    async fn attempt(&self, reached: &Reached, events: &[Event]) -> Result<(), Refusal> {
        let now = self.clock.now().wall;
        let Message { id, content_type, body } = self.message(events);
        let mut headers = self.headers.clone();
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
        let mut signature = String::new();
        if !self.keys.is_empty() {
            let timestamp_seconds = now.0.div_euclid(1000);
            signature = signature::header(&self.keys, &id, timestamp_seconds, &body);
            headers.insert("webhook-timestamp", timestamp_seconds.into());
            for (name, value) in [("webhook-id", &id), ("webhook-signature", &signature)] {
                // An id and base64 fit into a header.
                HeaderValue::from_str(value).into_iter().for_each(|value| _ = headers.insert(name, value));
            }
        }
        let method = match self.config.method {
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
        };
        let asked = asked(&reached.url);
        match reached.client.request(method, reached.url.clone()).headers(headers).body(body).send().await {
            Ok(response) => {
                let hidden = || {
                    let login = login(&reached.url);
                    let sent = self
                        .headers
                        .values()
                        .filter_map(|value| value.to_str().ok())
                        .chain([signature.as_str(), &login]);
                    Hidden::new(&reached.url, sent.chain(self.config.secrets.iter().map(signature::encoded)))
                };
                // What a template says may be a secret, and whoever echoes the body tells it.
                let words = self.template.is_none();
                answer::judge(response, &asked, words, hidden, now.into()).await
            }
            Err(error) => Err(answer::unanswered(error, &asked, rounded(self.config.timeout.0))),
        }
    }

    fn message(&self, events: &[Event]) -> Message {
        if self.is_batched {
            let bodies: Vec<_> = events.iter().map(|event| event.body.as_str()).collect();
            return Message {
                id: batch_id(events),
                content_type: STRUCTURED_BATCH,
                body: format!("[{}]", bodies.join(",")).into_bytes(),
            };
        }
        let event = events.first();
        let id = event.map(|event| event.id.to_string()).unwrap_or_default();
        let made = event.and_then(|event| self.template.as_ref()?.text(event, &self.name));
        match made {
            Some(text) => {
                let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
                Message { id, content_type: if is_json { JSON } else { TEXT }, body: text.into_bytes() }
            }
            None => Message {
                id,
                content_type: STRUCTURED,
                body: event.map(|event| event.body.clone().into_bytes()).unwrap_or_default(),
            },
        }
    }
}

#[async_trait]
impl Sink for Webhook {
    fn batch(&self) -> usize {
        if self.is_batched { BATCH } else { 1 }
    }

    fn mended_by(&self) -> Vec<PathBuf> {
        self.config.files().map(Path::to_owned).collect()
    }

    /// Connects, through the proxy and TLS, and asks the server for nothing: not the webhook's path, and
    /// without its headers and login.
    async fn reach(&self) -> Result<Option<&'static str>, Refusal> {
        let reached = self.reached().await?;
        let mut root = reached.url.clone();
        root.set_path("/");
        root.set_query(None);
        // They fail where a URL has no host, and this one has.
        let _ = root.set_username("").and_then(|()| root.set_password(None));
        match reached.client.head(root).send().await {
            Ok(_) => Ok(Some("a server answers there; whether it takes events, `opwatch events test` tells")),
            Err(error) => {
                Err(answer::unanswered(error, &asked(&reached.url), rounded(self.config.timeout.0)))
            }
        }
    }

    async fn send(&self, events: &[Event]) -> Result<(), Refusal> {
        let reached = self.reached().await?;
        for events in events.chunks(self.batch()) {
            self.attempt(&reached, events).await?;
        }
        Ok(())
    }
}

/// The `webhook-id` of a batch: its event's own if there is one, else derived from the ids in their order.
/// The same events make the same id whenever they are sent again; another batch is another message.
fn batch_id(events: &[Event]) -> String {
    match events {
        [event] => event.id.to_string(),
        _ => {
            let ids: Vec<u8> = events.iter().flat_map(|event| *event.id.as_bytes()).collect();
            Uuid::new_v5(&BATCHES, &ids).to_string()
        }
    }
}

/// Host and port: all of a webhook's address that is ever told.
fn asked(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

/// User and password of a URL as they are sent; empty where it has neither.
fn login(url: &Url) -> String {
    use base64::Engine;
    use percent_encoding::percent_decode_str;
    if url.username().is_empty() && url.password().is_none() {
        return String::new();
    }
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
    base64::engine::general_purpose::STANDARD.encode(format!(
        "{}:{}",
        decoded(url.username()),
        decoded(url.password().unwrap_or_default())
    ))
}
