//! The sending loop over a real store, with a sink of the test's own.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::*;
use crate::model::delivery::Retry;
use crate::model::event::{Event, Kind};
use crate::model::policy::Policy;
use crate::store;

/// Longer than a write takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sink that reports each attempt, and never ends one.
struct Silent(tokio::sync::mpsc::UnboundedSender<usize>);

#[async_trait]
impl Sink for Silent {
    fn batch(&self) -> usize {
        1
    }

    async fn send(&self, events: &[Event]) -> Result<(), Refusal> {
        self.0.send(events.len()).unwrap();
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_stop_that_does_not_wait_for_an_attempt_keeps_the_sink_s_own_clock() {
    let store: Arc<dyn Store> = store::open(&store::Config::in_memory()).await.unwrap();
    let event = Event::stored(uuid::Uuid::nil(), Kind::AccountHeld, crate::clock::Wall(0), String::new());
    store.add_event(event, vec!["hook".to_owned()]).await.unwrap();
    let (attempted, mut attempts) = tokio::sync::mpsc::unbounded_channel();
    let retry = Retry::default();
    let held = Policy::default().error_waits();
    let deliver = Deliver {
        name: "hook".to_owned(),
        sink: Arc::new(Silent(attempted)),
        sending: Sending { batch: 1, gather: None, max_in_flight: 1, rate: None, retry, held },
        live: live::of_sinks(&["hook"]),
        store: Arc::clone(&store),
        clock: Clock::start(),
        outbox: watch::channel(()).0,
        status: watch::channel(BTreeMap::new()).0,
        commands: crate::live::command::channel().1,
        files: Arc::default(),
    };
    let before = Duration::from_secs(5);
    store.save_active("hook", before).await.unwrap();
    let stop = CancellationToken::new();
    let kept = async {
        attempts.recv().await.unwrap();
        // This clock has a resolution of one millisecond.
        tokio::time::sleep(Duration::from_millis(2)).await;
        stop.cancel();
        while store.active("hook").await.unwrap() == before {
            // A store in memory responds without a wait.
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        ended = deliver.run(stop.clone()) => panic!("the attempt is under way: {ended:?}"),
        kept = tokio::time::timeout(PATIENCE, kept) => kept.expect("it is not kept"),
    }
}
