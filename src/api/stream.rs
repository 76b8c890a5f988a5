//! The stream of events. It reads the store from the last event on, so a client that comes back misses none.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use http_body_util::channel::{Channel, Sender};
use hyper::body::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::Interface;
use super::problem::HttpError;
use crate::model::records::Seq;
use crate::model::records::view::EventFilter;

/// Events in one read.
const PAGE: usize = 100;
/// Parts of a stream that wait for its reader.
const QUEUE: usize = 4;
/// A comment follows after this time without an event, so that a dead connection is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events are gathered for that time.
const GATHER: Duration = Duration::from_millis(100);

/// One stream.
pub struct EventStream {
    interface: Interface,
    after: Seq,
    /// Whether the client does not know the number yet.
    is_new: bool,
    _place: OwnedSemaphorePermit,
}

impl EventStream {
    /// The response that streams the events after that number; `None`: new events.
    ///
    /// # Errors
    /// When all places are taken, or the store fails.
    pub async fn start(interface: Interface, after: Option<Seq>) -> Result<Response, HttpError> {
        let place = Arc::clone(&interface.streams).try_acquire_owned().map_err(|_| {
            let detail = "as many streams are open as the daemon serves; close one, or try again later";
            HttpError::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })?;
        let is_new = after.is_none();
        let after = match after {
            Some(after) => after,
            None => interface.store.newest_seq().await?,
        };
        let (sender, body) = Channel::<Bytes>::new(QUEUE);
        let stream = Self { interface, after, is_new, _place: place };
        #[expect(clippy::disallowed_methods, reason = "it ends with its connection, which drops the body")]
        tokio::spawn(stream.run(sender));
        let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
        Ok((headers, Body::new(body)).into_response())
    }

    async fn run(mut self, mut sender: Sender<Bytes>) {
        let mut outbox = self.interface.outbox.subscribe();
        // The position alone: a client that is cut off before the first event continues from there.
        if self.is_new && sender.send_data(format!("id: {}\n\n", self.after.0).into()).await.is_err() {
            return;
        }
        loop {
            outbox.mark_unchanged();
            let Ok(page) = self.interface.store.events(EventFilter::default(), self.after, PAGE).await else {
                return;
            };
            let is_last = page.len() < PAGE;
            for view in page {
                self.after = view.seq;
                let text = format!(
                    "id: {}\nevent: {}\ndata: {}\n\n",
                    view.seq.0,
                    view.event.kind.name(),
                    view.event.body
                );
                // An error means that the connection is closed.
                if sender.send_data(text.into()).await.is_err() {
                    return;
                }
            }
            if !is_last {
                continue;
            }
            tokio::select! {
                changed = outbox.changed() => match changed {
                    Ok(()) => tokio::time::sleep(GATHER).await,
                    Err(_) => return,
                },
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    if sender.send_data(Bytes::from_static(b":\n\n")).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
