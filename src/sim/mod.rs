//! A simulated cloud that checks signatures and misbehaves on demand: for tests, benches, `opwatch demo` and
//! `opwatch sim`.
//!
//! Its verifier (`request`) shares no code with the signer in `cloud`. A [`Scenario`] defines its behaviour,
//! one script of [`SimResponse`]s for each task. A running [`Sim`] can be changed at any time, and keeps a
//! journal of [`ReceivedRequest`]s. No wait is a guess: [`Sim::wait_until`] wakes with every request.
//!
//! Both APIs share one port, API 2.0 at `/v2/index.php` and API 3.0 at `/`, and one scenario: statuses and
//! codes take the form of the request's API (`codes`). Errors of the request itself have codes of its API
//! (`check`).

mod response;
mod check;
mod codes;
mod journal;
mod reply;
mod request;
mod request_3_0;
mod scenario;
mod script;
mod server;
mod state;
mod used;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_3_0;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub use journal::{ReceivedRequest, RequestOutcome};
pub use response::{ArrayName, ErrorResponse, SimResponse};
pub use scenario::{Offset, Quota, SECRET_ID, SECRET_KEY, Scenario, ServedAction, Unlisted};

use crate::clock::{Clock, Moment, Wall};
use crate::secret::Secret;
use check::Request;
use journal::RequestJournal;
use state::SimState;

/// A running simulator. Dropping or stopping it ends all its connections.
pub struct Sim {
    addr: SocketAddr,
    shared: Arc<SimShared>,
    tasks: JoinSet<()>,
}

/// The state that connections and owner share.
struct SimShared {
    clock: Clock,
    state: Mutex<SimState>,
    /// Notified after each response.
    changed: Notify,
}

impl Sim {
    /// Listens and serves; port 0 selects a free one.
    pub async fn start(scenario: Scenario, listen: SocketAddr, clock: Clock) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let shared =
            Arc::new(SimShared { clock, state: Mutex::new(SimState::new(scenario)), changed: Notify::new() });
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self { addr, shared, tasks })
    }

    /// Ends it; its port is free afterwards.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The value of an account's `endpoint`, for either `api`.
    pub fn endpoint(&self) -> String {
        format!("http://{}{}", self.addr, server::PATH)
    }

    /// The latest requests, oldest first: at least the last 50,000.
    pub fn received(&self) -> Vec<ReceivedRequest> {
        self.shared.state().journal.entries().to_vec()
    }

    /// The number of requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.state().journal.total()
    }

    /// Returns once the journal is as `wanted`. The closure runs now and after every request, so it must be
    /// cheap.
    pub async fn wait_until(&self, mut wanted: impl FnMut(&[ReceivedRequest]) -> bool) {
        self.until(|journal| wanted(journal.entries())).await;
    }

    /// The next requests after the first `total`, once there is one, and the number of dropped ones before
    /// these.
    pub async fn requests_after(&self, total: u64) -> (Vec<ReceivedRequest>, u64) {
        /// Some ten kilobytes of lines.
        const FEW: usize = 100;
        self.until(|journal| journal.total() > total).await;
        let state = self.shared.state();
        let (entries, forgotten) = state.journal.after(total);
        (entries.iter().take(FEW).cloned().collect(), forgotten)
    }

    async fn until(&self, mut wanted: impl FnMut(&RequestJournal) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            // Registered before the check: a request in between is not lost.
            changed.as_mut().enable();
            if wanted(&self.shared.state().journal) {
                return;
            }
            changed.await;
        }
    }

    /// Gives a task a new script from its next poll on; an end that was returned before is forgotten.
    pub fn set_responses(&self, id: &str, responses: impl Into<Vec<SimResponse>>) {
        self.shared.state().set_answers(id, responses.into());
    }

    /// From now on only this key signs.
    pub fn set_secret_key(&self, key: Secret) {
        self.shared.state().scenario.secret_key = key;
    }

    /// From now on requests need this token, or none.
    pub fn set_token(&self, token: Option<Secret>) {
        self.shared.state().scenario.token = token;
    }

    /// From now on the cloud's clock has this offset.
    pub fn set_clock_offset(&self, offset: Offset) {
        self.shared.state().scenario.clock_offset = offset;
    }

    /// Changes the quota.
    pub fn set_rate(&self, rate: Option<Quota>) {
        self.shared.state().scenario.rate = rate;
    }

    /// Responds to every request with this response until `None` is set. Scripts pause meanwhile; errors of
    /// requests are still recorded.
    pub fn outage(&self, scripted: Option<SimResponse>) {
        self.shared.state().outage = scripted;
    }
}

impl SimShared {
    /// No code panics during a change under the lock, so a poisoned lock is usable.
    fn state(&self) -> MutexGuard<'_, SimState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, request: &Request, now: Moment) -> SimResponse {
        let scripted = self.state().take(request, now);
        self.changed.notify_waiters();
        scripted
    }

    fn cloud_time(&self) -> Wall {
        self.state().scenario.cloud_time(self.clock.now())
    }
}
