//! A cloud that checks signatures and misbehaves on demand: for tests, benches, `opwatch demo` and `opwatch
//! sim` alone.
//!
//! Its verifier is its own (`request`): it shares nothing with the signer in `cloud`. A [`Scenario`] says how
//! it behaves, one script of [`Answer`]s a task; a running [`Sim`] can be told otherwise at any moment, and
//! keeps a journal of what it [`Seen`]. Nothing in it waits by guess: [`Sim::wait_until`] wakes with every
//! request.
//!
//! Both APIs answer on one port, API 2.0 at `/v2/index.php` and API 3.0 at `/`, and one scenario serves both:
//! a status takes the form of the API that asks, a code its name there (`codes`). What is wrong with a
//! request itself is told in the codes of its own API (`check`).

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

/// A running simulator. It ends, with all its connections, when it is dropped or stopped.
pub struct Sim {
    addr: SocketAddr,
    shared: Arc<SimShared>,
    tasks: JoinSet<()>,
}

/// What connections and the owner have in common.
struct SimShared {
    clock: Clock,
    state: Mutex<SimState>,
    /// Says "look": a request was answered.
    changed: Notify,
}

impl Sim {
    /// Listens and serves; port 0 takes a free one.
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

    /// What an account's `endpoint` is to say, whatever its `api` says.
    pub fn endpoint(&self) -> String {
        format!("http://{}{}", self.addr, server::PATH)
    }

    /// The latest requests, oldest first: at least 50,000 of them, if there were so many.
    pub fn received(&self) -> Vec<ReceivedRequest> {
        self.shared.state().journal.entries().to_vec()
    }

    /// How many requests arrived in all.
    pub fn requests(&self) -> u64 {
        self.shared.state().journal.total()
    }

    /// Returns as soon as the journal is as wanted; it looks now and after every request, so keep the closure
    /// cheap.
    pub async fn wait_until(&self, mut wanted: impl FnMut(&[ReceivedRequest]) -> bool) {
        self.until(|journal| wanted(journal.entries())).await;
    }

    /// The next few requests after so many in all, once there is one, and how many before these are forgotten
    /// already.
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
            // Registered before looking: a request in between is not lost.
            changed.as_mut().enable();
            if wanted(&self.shared.state().journal) {
                return;
            }
            changed.await;
        }
    }

    /// Gives a task a new script, which starts with its next poll; an end answered before is forgotten.
    pub fn set_responses(&self, id: &str, answers: impl Into<Vec<SimResponse>>) {
        self.shared.state().set_answers(id, answers.into());
    }

    /// From now on only this key signs.
    pub fn set_secret_key(&self, key: Secret) {
        self.shared.state().scenario.secret_key = key;
    }

    /// From now on this token must come along, or none.
    pub fn set_token(&self, token: Option<Secret>) {
        self.shared.state().scenario.token = token;
    }

    /// From now on the cloud's clock is so far ahead.
    pub fn set_clock_offset(&self, offset: Offset) {
        self.shared.state().scenario.clock_offset = offset;
    }

    /// From now on so many calls are served.
    pub fn set_rate(&self, rate: Option<Quota>) {
        self.shared.state().scenario.rate = rate;
    }

    /// Answers everything with this until it is over (`None`). Scripts stand still meanwhile; flaws are still
    /// noted.
    pub fn outage(&self, answer: Option<SimResponse>) {
        self.shared.state().outage = answer;
    }
}

impl SimShared {
    /// No code panics while it holds the lock halfway through a change, so a poisoned state is as good as
    /// any.
    fn state(&self) -> MutexGuard<'_, SimState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, request: &Request, now: Moment) -> SimResponse {
        let answer = self.state().take(request, now);
        self.changed.notify_waiters();
        answer
    }

    fn cloud_time(&self) -> Wall {
        self.state().scenario.cloud_time(self.clock.now())
    }
}
