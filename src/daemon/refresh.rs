//! Files that are read again when they change: those of accounts, and those that may release a sink on hold.
//!
//! The watcher announces the accounts and sinks with changed files. The files are read off the loop, one
//! after another. If a file is unusable, its content before stays in use, which is logged once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cloud::connection::pools;
use crate::files::{self, AnnounceReason, FilesChange, Watched};
use crate::live::Current;
use crate::live::command::{Action, Commands};
use crate::problem::chain;
use crate::sinks::Sink;
use crate::store::Error;

/// The watch over the files.
pub struct Refresh {
    /// The live configuration, replaced when the files of an account changed.
    pub live: watch::Sender<Arc<Current>>,
    /// The sinks, with the way into their loops.
    pub sinks: BTreeMap<String, (Arc<dyn Sink>, Commands)>,
    /// The files of accounts, by name.
    pub account_files: Arc<Watched>,
    /// The files of sinks, by name.
    pub sink_files: Arc<Watched>,
}

impl Refresh {
    /// Runs until the stop.
    ///
    /// # Errors
    /// None: the type is that of every loop of the daemon.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        for (account, files) in self.live.borrow().cloud.files() {
            self.account_files.set(account, files.paths());
        }
        for (name, (sink, _)) in &self.sinks {
            self.sink_files.set(name, sink.released_by());
        }
        tokio::select! {
            () = self.refresh() => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    }

    async fn refresh(&self) {
        let mut reported = HashMap::new();
        loop {
            tokio::select! {
                announced = self.account_files.announced() => {
                    for account in announced.into_keys() {
                        let error = self.read_account(&account).await.err();
                        let is_new = error.is_some() && reported.get(&account) != Some(&error);
                        if let Some(error) = error.as_deref().filter(|_| is_new) {
                            tracing::error!(
                                account,
                                error,
                                "a changed file of the account cannot be used; its previous content stays in use"
                            );
                        }
                        reported.insert(account, error);
                    }
                }
                announced = self.sink_files.announced() => {
                    for (sink, cause) in announced {
                        self.refresh_sink(&sink, cause).await;
                    }
                }
            }
        }
    }

    async fn read_account(&self, account: &str) -> Result<(), String> {
        let current = Arc::clone(&self.live.borrow());
        let Some(files) = current.cloud.files_of(account) else { return Ok(()) };
        let read = files::off_loop(move || files.read()).await;
        let contents = read.map_err(|error| error.to_string())??;
        let replaced =
            current.cloud.with_contents(account, &contents, pools).map_err(|error| chain(&error))?;
        let Some(cloud) = replaced else { return Ok(()) };
        for doubt in &contents.doubts {
            tracing::warn!(account, doubt, "a changed file is in use, with a warning");
        }
        tracing::info!(account, "a file of the account changed and was read again");
        self.live.send_replace(Arc::new(current.with_cloud(cloud)));
        Ok(())
    }

    async fn refresh_sink(&self, name: &str, cause: AnnounceReason) {
        let Some((sink, commands)) = self.sinks.get(name) else { return };
        let change = sink.refresh().await.unwrap_or_else(|error| FilesChange::Broken(error.to_string()));
        match &change {
            FilesChange::None => {}
            FilesChange::Read => tracing::info!(sink = name, "a file of the sink changed and was read again"),
            FilesChange::Broken(error) => {
                tracing::warn!(
                    sink = name,
                    error,
                    "a changed file of the sink cannot be used; its previous content stays in use"
                );
            }
        }
        // A program or a folder has no content, and its change may release the hold.
        if change == FilesChange::Read || cause == AnnounceReason::Changed {
            // A loop that ended needs no probe.
            let _ = commands.send(Action::Retry(name.to_owned())).await;
        }
    }
}
