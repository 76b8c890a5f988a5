//! Events to an HTTP server: one request per attempt, as CloudEvents (structured JSON) or as the output of a
//! template, signed as Standard Webhooks if signing secrets are configured.
//!
//! `response.rs` interprets responses; `reach.rs` builds the clients and reads files again. The URL is a
//! secret: URLs of robots carry keys.

pub mod config;
mod response;
mod guard;
mod reach;
mod signature;
mod thread;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Response, Url};
use serde_json::Value;
use uuid::Uuid;

pub use config::Config;

use self::config::WebhookMethod;
use self::reach::{Materials, Standing, WebhookClients, reach};
use self::signature::SigningKey;
use self::thread::WebhookThread;
use super::sink::{Building, PathForm, PathKey, Sink, TypeConfig, blocking, timeout_fault};
use super::template::Template;
use crate::clock::{Clock, Steady};
use crate::files::{self, FilesChange};
use crate::model::delivery::Refusal;
use crate::model::event::Event;
use crate::net;
use crate::secret::hidden::{self, Hidden};
use crate::section::{self, TableFault};
use crate::units::rounded;

/// About a hundred kilobytes; receivers of batches accept this.
const BATCH: usize = 64;
/// The fixed namespace of a batch's `webhook-id`; a change would break the deduplication of every reader.
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
    keys: Vec<SigningKey>,
    /// The secrets of the whole configuration.
    configured: Hidden,
    standing: Arc<Standing>,
    thread: WebhookThread,
    clock: Clock,
}

/// The strict types of a webhook's keys.
struct WebhookParts {
    headers: HeaderMap,
    keys: Vec<SigningKey>,
    reached: WebhookClients,
}

/// The content of one request.
struct Message {
    /// Equal for every repetition of these events.
    id: String,
    content_type: &'static str,
    body: Vec<u8>,
}

impl TypeConfig for Config {
    fn keys() -> Value {
        section::keys::<Self>(&["url", "proxy", "template"])
    }

    fn paths() -> &'static [PathKey] {
        &[
            PathKey { key: "url_file", form: PathForm::Credential },
            PathKey { key: "template_file", form: PathForm::Plain },
            PathKey { key: "tls.ca_file", form: PathForm::Plain },
            PathKey { key: "tls.cert_file", form: PathForm::Plain },
            PathKey { key: "tls.key_file", form: PathForm::Credential },
        ]
    }

    fn check(&self, doubt: &mut dyn FnMut(&'static str, String)) -> Vec<TableFault> {
        settle(self, doubt).err().unwrap_or_default()
    }

    fn shown(&self) -> String {
        let destination = match (&self.url, &self.url_file) {
            // A URL can be a secret beyond host and port.
            (Some(url), _) => url.expose().parse().map(|url| receiver(&url)).unwrap_or_default(),
            (None, Some(file)) => format!("to the URL in {}", file.display()),
            (None, None) => String::new(),
        };
        format!("webhook {destination}")
    }

    fn secrets(&self) -> Vec<String> {
        self.written_secrets().collect()
    }

    fn sends_singly(&self) -> bool {
        self.template.is_some() || self.template_file.is_some()
    }

    fn build(&self, building: Building<'_>) -> Result<Box<dyn Sink>, Vec<TableFault>> {
        let Building { name, is_batched, clock, .. } = building;
        let webhook = Webhook::new(name, self, is_batched, clock)?;
        Ok(Box::new(Webhook { configured: building.hidden.clone(), ..webhook }))
    }
}

/// Reads every file and checks every key; `doubt` receives warnings, each with its key.
fn settle(
    config: &Config,
    doubt: &mut dyn FnMut(&'static str, String),
) -> Result<WebhookParts, Vec<TableFault>> {
    let mut faults = Vec::from_iter(timeout_fault(config.timeout));
    let headers = config.header_map(&mut faults);
    let keys = config.signing_keys(&mut faults, doubt);
    match reach(config, doubt) {
        Ok(reached) if faults.is_empty() => {
            let key = if config.template.is_some() { "template" } else { "template_file" };
            for field in reached.materials.template.iter().flat_map(|template| template.unknown_fields()) {
                doubt(key, format!("uses `{field}`, which no event has; see docs/events.md"));
            }
            Ok(WebhookParts { headers, keys, reached })
        }
        Ok(_) => Err(faults),
        Err(more) => Err(faults.into_iter().chain(more).collect()),
    }
}

impl Webhook {
    /// The sink of that name. With `is_batched`, a request carries a CloudEvents batch; a template makes one
    /// message of one event, so with one nothing is batched. Nothing is connected yet.
    ///
    /// # Errors
    /// Everything that is wrong, each with its key, without a secret.
    pub fn new(name: &str, config: &Config, is_batched: bool, clock: Clock) -> Result<Self, Vec<TableFault>> {
        // Warnings were reported when the configuration was loaded.
        let WebhookParts { headers, keys, reached } = settle(config, &mut |_, _| ())?;
        let is_batched = is_batched && reached.materials.template.is_none();
        let no_thread =
            |error| format!("a thread cannot be started ({error}); raise the limits of this process");
        let thread = WebhookThread::start().map_err(|error| vec![TableFault::new(&[], no_thread(error))])?;
        let standing = Arc::new(Standing::new(reached, clock.now().steady, clock.spread()));
        Ok(Self {
            name: name.to_owned(),
            config: Arc::new(config.clone()),
            is_batched,
            headers,
            keys,
            configured: Hidden::default(),
            standing,
            thread,
            clock,
        })
    }

    /// The clients to use; they are replaced at a certain age and after a timeout or a reset.
    async fn reached(&self) -> Result<Arc<WebhookClients>, Refusal> {
        let now = self.clock.now().steady;
        if let Some(reached) = self.standing.current(now) {
            return Ok(reached);
        }
        let standing = Arc::clone(&self.standing);
        let config = Arc::clone(&self.config);
        let spread = self.clock.spread();
        let replaced = blocking(move || Ok(standing.replace(&config, now, spread))).await?;
        if let Err(error) = replaced {
            tracing::warn!(
                sink = self.name,
                error,
                "the connections of the webhook cannot be replaced; the previous ones stay in use"
            );
        }
        Ok(self.standing.in_use())
    }

    /// Sends a request and waits for the head of its response, within the time limit of the attempt.
    async fn exchange(
        &self,
        reached: &Arc<WebhookClients>,
        request: Result<reqwest::Request, reqwest::Error>,
    ) -> Result<Response, Refusal> {
        let receiver = receiver(&reached.materials.url);
        let timeout = self.config.timeout.0;
        let deadline = self.clock.now().steady + timeout;
        let unanswered = |error| {
            response::unanswered(error, &receiver, rounded(timeout), &self.hidden(&reached.materials.url, ""))
        };
        let request = request.map_err(unanswered)?;
        let exchanged = tokio::select! {
            biased;
            exchanged = self.thread.run(exchange(Arc::clone(reached), request, deadline, self.clock)) => exchanged,
            // The client has the same limit, and may miss it while its thread is busy with a flood.
            () = self.clock.sleep_until(deadline) => {
                self.standing.distrust(reached);
                return Err(response::late(&receiver, rounded(timeout)));
            }
        };
        match exchanged {
            Ok(Exchanged { response, is_suspect }) => {
                if is_suspect {
                    self.standing.distrust(reached);
                }
                response.map_err(unanswered)
            }
            Err(failed) => Err(Refusal::passing(format!("the attempt failed: {failed}"))),
        }
    }

    async fn attempt(&self, reached: &Arc<WebhookClients>, events: &[Event]) -> Result<(), Refusal> {
        let now = self.clock.now().wall;
        let Materials { url, template, .. } = &*reached.materials;
        let Message { id, content_type, body } = self.message(template.as_ref(), events);
        let mut headers = self.headers.clone();
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
        // A compressed response could not be read.
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        // Signed or not, a receiver can drop repeats by it. An id fits into a header.
        HeaderValue::from_str(&id).into_iter().for_each(|id| _ = headers.insert("webhook-id", id));
        let mut signature = String::new();
        if !self.keys.is_empty() {
            let timestamp_seconds = now.0.div_euclid(1000);
            signature = signature::header(&self.keys, &id, timestamp_seconds, &body);
            headers.insert("webhook-timestamp", timestamp_seconds.into());
            // Base64 fits into a header.
            let value = HeaderValue::from_str(&signature);
            value.into_iter().for_each(|value| _ = headers.insert("webhook-signature", value));
        }
        let method = match self.config.method {
            WebhookMethod::Post => reqwest::Method::POST,
            WebhookMethod::Put => reqwest::Method::PUT,
        };
        let request = reached.client.request(method, url.clone()).headers(headers).body(body).build();
        let response = self.exchange(reached, request).await?;
        let hidden = || self.hidden(url, &signature);
        // The output of a template may be a secret, and a response may echo the body.
        let words = template.is_none();
        response::judge(response, &receiver(url), words, hidden, now.into()).await
    }

    /// All secrets that a response may repeat; the address may come from a file.
    fn hidden(&self, url: &Url, signature: &str) -> Hidden {
        let signatures = signature.split([' ', ',']).map(str::to_owned);
        self.configured.and(self.config.written_secrets().chain(hidden::of_url(url)).chain(signatures))
    }

    fn message(&self, template: Option<&Template>, events: &[Event]) -> Message {
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
        let made = event.and_then(|event| template?.text(event, &self.name));
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

    fn released_by(&self) -> Vec<PathBuf> {
        self.config.files().map(Path::to_owned).collect()
    }

    async fn refresh(&self) -> io::Result<FilesChange> {
        let standing = Arc::clone(&self.standing);
        let config = Arc::clone(&self.config);
        let now = self.clock.now().steady;
        let spread = self.clock.spread();
        files::off_loop(move || standing.refresh(&config, now, spread)).await
    }

    /// Connects, through proxy and TLS, and sends a request without the path, headers and login of the
    /// webhook.
    async fn reach(&self) -> Result<Option<&'static str>, Refusal> {
        let reached = self.reached().await?;
        let mut root = reached.materials.url.clone();
        root.set_path("/");
        root.set_query(None);
        // They fail only for a URL without a host.
        let _ = root.set_username("").and_then(|()| root.set_password(None));
        self.exchange(&reached, reached.client.head(root).build()).await?;
        Ok(Some("the server responds; `opwatch events test` shows whether it accepts events"))
    }

    async fn send(&self, events: &[Event]) -> Result<(), Refusal> {
        let reached = self.reached().await?;
        for events in events.chunks(self.batch()) {
            self.attempt(&reached, events).await?;
        }
        Ok(())
    }
}

/// The result of one exchange.
struct Exchanged {
    response: Result<Response, reqwest::Error>,
    /// Whether other connections of the client may be dead too.
    is_suspect: bool,
}

/// Sends a request and waits for the head of its response.
///
/// A server may close an idle connection just when it is used again, which is no failure of the server or the
/// event. The request is then sent again at once on a new connection: its `webhook-id` is the same.
async fn exchange(
    reached: Arc<WebhookClients>,
    request: reqwest::Request,
    deadline: Steady,
    clock: Clock,
) -> Exchanged {
    let again = request.try_clone();
    let error = match reached.client.execute(request).await {
        Ok(response) => {
            reached.has_answered.store(true, Ordering::Relaxed);
            return Exchanged { response: Ok(response), is_suspect: false };
        }
        Err(error) => error,
    };
    let was_cut = !error.is_connect() && net::was_cut(&error);
    let is_suspect = was_cut || error.is_timeout();
    // Read now: the connection of another attempt may have become idle while this one waited for its own.
    let may_be_reused = reached.has_answered.load(Ordering::Relaxed);
    let left = deadline - clock.now().steady;
    let response = match again.filter(|_| was_cut && may_be_reused && !left.is_zero()) {
        Some(mut request) => {
            *request.timeout_mut() = Some(left);
            reached.unpooled.execute(request).await
        }
        None => Err(error),
    };
    Exchanged { response, is_suspect }
}

/// The `webhook-id` of a batch: the id of its only event, else derived from the ids in their order. A
/// repetition has the same id; another batch is another message.
fn batch_id(events: &[Event]) -> String {
    match events {
        [event] => event.id.to_string(),
        _ => {
            let ids: Vec<u8> = events.iter().flat_map(|event| *event.id.as_bytes()).collect();
            Uuid::new_v5(&BATCHES, &ids).to_string()
        }
    }
}

/// Host and port: the only part of the address in messages.
fn receiver(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}
