//! Files that are read again when they changed: credentials of accounts, and whatever may release a sink on hold.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::live::Current;
use crate::live::command::{Action, Commands};
use crate::sinks::Sink;
use crate::store::Error;

/// Time between two looks at the files: as fast as a person who just wrote one expects.
const EVERY: Duration = Duration::from_secs(1);

/// The watch over the files.
pub struct Refresh {
    /// The live configuration, replaced when credentials changed.
    pub live: watch::Sender<Arc<Current>>,
    /// The sinks, with the way into their loops.
    pub sinks: Vec<(String, Arc<dyn Sink>, Commands)>,
    /// Time.
    pub clock: Clock,
}

/// The owner of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owner {
    Account(String),
    /// The sink of that place in the list.
    Sink(usize),
}

/// A file and its modification time; `None` while there is no such file.
type Seen = (Owner, PathBuf, Option<SystemTime>);

impl Refresh {
    /// Runs until the stop.
    ///
    /// # Errors
    /// None: the type is that of every loop of the daemon.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let mut seen = self.look();
        while !stop.is_cancelled() {
            tokio::select! {
                () = self.clock.sleep_until(self.clock.now().steady + EVERY) => {}
                () = stop.cancelled() => return Ok(()),
            }
            let now = self.look();
            let mut changed: Vec<_> =
                now.iter().filter(|file| !seen.contains(file)).map(|(owner, ..)| owner.clone()).collect();
            changed.dedup();
            for owner in changed {
                self.refresh(owner).await;
            }
            seen = now;
        }
        Ok(())
    }

    fn look(&self) -> Vec<Seen> {
        let current = Arc::clone(&self.live.borrow());
        let modified = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        let credentials = current.cloud.key_files();
        let accounts = credentials.map(|(name, path)| (Owner::Account(name.to_owned()), path.to_owned()));
        let of_sink = |(index, (_, sink, _)): (usize, &(String, Arc<dyn Sink>, Commands))| {
            sink.mended_by().into_iter().map(move |path| (Owner::Sink(index), path))
        };
        let sinks = self.sinks.iter().enumerate().flat_map(of_sink);
        let files = accounts.chain(sinks);
        files
            .map(|(owner, path)| (owner, modified(&path), path))
            .map(|(owner, at, path)| (owner, path, at))
            .collect()
    }

    async fn refresh(&self, owner: Owner) {
        match owner {
            Owner::Account(account) => self.read_again(&account),
            Owner::Sink(index) => {
                let (name, _, commands) = &self.sinks[index];
                // A loop that ended needs no probe.
                let _ = commands.send(Action::Retry(name.clone())).await;
            }
        }
    }

    fn read_again(&self, account: &str) {
        let current = Arc::clone(&self.live.borrow());
        match current.cloud.with_credentials_read_again(account) {
            None => {}
            Some(Err(error)) => {
                tracing::error!(
                    account,
                    error,
                    "the key of a held account could not be read again; the one before stays"
                );
            }
            Some(Ok(cloud)) => {
                tracing::info!(account, "the key of a held account was read again; it is tried at once");
                self.live.send_replace(Arc::new(current.with_cloud(cloud)));
            }
        }
    }
}
