//! An HTTP server, before a webhook.

use std::time::Duration;

use serde_json::value::RawValue;

use super::{Counterpart, CounterpartBehaviour};
use crate::clock::Clock;
use crate::secret::Secret;
use crate::sinks::Sink;
use crate::sinks::receiver::{Receiver, ReceiverResponse};
use crate::sinks::webhook::{Config, Webhook};
use crate::units::Span;

/// One that takes single events.
pub struct Server(Receiver);

impl Server {
    fn webhook(&self, is_batched: bool) -> Box<dyn Sink> {
        let [path, query, header, key] = self.secrets().try_into().unwrap();
        let config = Config {
            url: Some(Secret::new(format!("http://{}/{path}?key={query}", self.0.addr))),
            headers: [("Authorization".to_owned(), Secret::new(format!("Bearer {header}")))].into(),
            secrets: vec![Secret::new(format!("whsec_{key}"))],
            timeout: Span(Duration::from_millis(400)),
            ..Config::default()
        };
        let webhook = Webhook::new("ops", &config, is_batched, Clock::start());
        Box::new(webhook.unwrap_or_else(|faults| panic!("{faults:?}")))
    }
}

impl Counterpart for Server {
    const TYPE: &'static str = "webhook";

    async fn start() -> Self {
        Self(Receiver::start().await)
    }

    fn sink(&self) -> Box<dyn Sink> {
        self.webhook(false)
    }

    async fn turn(&mut self, mood: CounterpartBehaviour) -> bool {
        self.0.down().await;
        // Some servers echo the request.
        let echo = self.secrets().join(" ");
        self.0.response(match mood {
            CounterpartBehaviour::Taking | CounterpartBehaviour::Down => ReceiverResponse::status(202),
            CounterpartBehaviour::Dying => ReceiverResponse::Cut,
            CounterpartBehaviour::Silent => ReceiverResponse::Silent,
            CounterpartBehaviour::Slow => ReceiverResponse::Late(Duration::from_millis(50), 200),
            CounterpartBehaviour::Closed => ReceiverResponse::says(401, &echo),
            CounterpartBehaviour::Picky => ReceiverResponse::says(422, &echo),
        });
        if mood != CounterpartBehaviour::Down {
            self.0.up().await;
        }
        true
    }

    async fn taken(&mut self) -> Vec<String> {
        let taken = self.0.got().into_iter().filter(|got| got.was_accepted);
        let record = |value: Box<RawValue>| value.get().to_owned();
        let records = |body: String| match serde_json::from_str::<Vec<Box<RawValue>>>(&body) {
            Ok(batch) => batch.into_iter().map(record).collect(),
            Err(_) => vec![body],
        };
        taken.flat_map(|got| records(got.body)).collect()
    }

    fn secrets(&self) -> Vec<String> {
        ["hook-hunter2", "query-hunter2", "header-hunter2", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]
            .map(str::to_owned)
            .into()
    }
}

/// The same, of a webhook that sends several events at once.
pub struct BatchedServer(Server);

impl Counterpart for BatchedServer {
    const TYPE: &'static str = "webhook";

    async fn start() -> Self {
        Self(Server::start().await)
    }

    fn sink(&self) -> Box<dyn Sink> {
        self.0.webhook(true)
    }

    async fn turn(&mut self, mood: CounterpartBehaviour) -> bool {
        self.0.turn(mood).await
    }

    async fn taken(&mut self) -> Vec<String> {
        self.0.taken().await
    }

    fn secrets(&self) -> Vec<String> {
        self.0.secrets()
    }
}
