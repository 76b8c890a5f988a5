//! The idle connections to one server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::dial::{AnyError, Dialer};
use super::exchange::Exchange;
use crate::clock::{Clock, Steady};

/// The longest time without a request. Servers and middleboxes drop idle connections after about a minute.
const IDLE: Duration = Duration::from_secs(30);
/// The longest age of a connection: a name may get other addresses. Jitter takes up to a fifth of it.
const AGE: Duration = Duration::from_secs(300);

/// The connections to one server.
pub struct Pool {
    /// The way to the server.
    pub dialer: Dialer,
    clock: Clock,
    /// The greatest number of idle connections.
    most: usize,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The last one was used last.
    connections: Vec<Pooled>,
    /// Closes what has been idle for too long. At most one task.
    closing: JoinSet<()>,
}

/// A connection, with the moments of its life.
pub struct Pooled {
    /// The connection.
    pub exchange: Exchange,
    /// Whether a request was sent over it before.
    pub is_reused: bool,
    idle_since: Steady,
    expires: Steady,
}

impl Pool {
    /// No connection yet.
    pub fn new(dialer: Dialer, most: usize, clock: Clock) -> Self {
        Self { dialer, clock, most, idle: Mutex::default() }
    }

    /// An idle connection that is open; `None`: a new one is needed.
    pub async fn checked_out(&self) -> Option<Pooled> {
        loop {
            let mut pooled = self.idle().connections.pop()?;
            if self.is_fresh(&pooled) && pooled.exchange.is_ready().await {
                pooled.is_reused = true;
                return Some(pooled);
            }
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn connected(&self) -> Result<Pooled, AnyError> {
        let exchange = Exchange::new(self.dialer.connect().await?).await?;
        let now = self.clock.now().steady;
        let expires = now + AGE.mul_f64(1.0 - self.clock.spread() / 5.0);
        Ok(Pooled { exchange, is_reused: false, idle_since: now, expires })
    }

    /// Keeps a connection whose response was read to its end.
    pub async fn checked_in(self: &Arc<Self>, mut pooled: Pooled) {
        if !pooled.exchange.is_ready().await {
            return;
        }
        pooled.idle_since = self.clock.now().steady;
        let mut idle = self.idle();
        if idle.connections.len() < self.most && self.is_fresh(&pooled) {
            idle.connections.push(pooled);
            while idle.closing.try_join_next().is_some() {}
            if idle.closing.is_empty() {
                let pool = Arc::downgrade(self);
                idle.closing.spawn(async move {
                    loop {
                        tokio::time::sleep(IDLE).await;
                        let Some(pool) = pool.upgrade() else { return };
                        let mut idle = pool.idle();
                        idle.connections.retain(|pooled| pool.is_fresh(pooled));
                        if idle.connections.is_empty() {
                            return;
                        }
                    }
                });
            }
        }
    }

    /// Closes all idle connections: whatever ended one of them may have ended them all.
    pub fn close_idle(&self) {
        self.idle().connections.clear();
    }

    fn is_fresh(&self, pooled: &Pooled) -> bool {
        let now = self.clock.now().steady;
        now < pooled.expires && now - pooled.idle_since < IDLE
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        // No code panics while it holds the lock, and a list stays a list.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
