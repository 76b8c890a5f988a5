//! The boundaries of the program in a history.
//!
//! Each call passes the world (behaviour) and the witness (observation), may crash the process, and may be
//! broken on purpose ([`Breakage`]).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{DATE, HeaderMap, HeaderValue};
use tokio::sync::Notify;

use super::SINKS;
use super::witness::Witness;
use super::world::{Reply, UNKNOWN_SECRET, World};
use crate::clock::{Virtual, Wall};
use crate::cloud::codes::Missing;
use crate::cloud::connection::{Connections, Received, SignedRequest, TransportFailure};
use crate::model::delivery::{Refusal, RefusalClass};
use crate::model::event::Event;
use crate::model::records::view::{DeliveryFilter, EventFilter, EventName, EventView, TaskFilter, TaskView};
use crate::model::records::{
    Commit, DeadLetter, EvidenceRow, FinishedTask, GroupRound, GroupRow, HotRow, OpenTask, OutboxRow,
    PauseScope, Record, Registered, Seq, TargetRow,
};
use crate::model::task::{NewTask, Origin, PaceKey, Row, Target};
use crate::sinks::Sink;
use crate::store::{Error, Store};

/// More rows than any outbox of a history has.
const EVERYTHING: usize = 100_000;

/// A fault at a boundary that a history must find, and the promise that it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// The store loses the deliveries of an end.
    LostDeliveries,
    /// A sink treats a failed attempt as a success.
    FalseAcknowledgement,
    /// The store gives two events of a task one id.
    OneIdForTwo,
    /// The store loses the end of a task.
    ForgottenEnd,
    /// The store swaps two events of a task.
    SwappedEvents,
    /// A connection sends each request twice.
    SentTwice,
    /// A sink treats a refused login as refused content.
    LoginIsContent,
    /// A server echoes a secret that the program does not know.
    UnknownSecret,
    /// The store treats every last response as one of now.
    LagFromTheStart,
}

impl Breakage {
    /// All variants.
    pub const ALL: [Self; 9] = [
        Self::LostDeliveries,
        Self::FalseAcknowledgement,
        Self::OneIdForTwo,
        Self::ForgottenEnd,
        Self::SwappedEvents,
        Self::SentTwice,
        Self::LoginIsContent,
        Self::UnknownSecret,
        Self::LagFromTheStart,
    ];

    /// The broken promise.
    pub fn promise(self) -> &'static str {
        match self {
            Self::LostDeliveries | Self::FalseAcknowledgement => "promise 1",
            Self::OneIdForTwo => "promise 2",
            Self::ForgottenEnd => "promise 3",
            Self::SwappedEvents => "promise 4",
            Self::SentTwice => "promise 5",
            Self::LoginIsContent => "promise 6",
            Self::UnknownSecret => "promise 7",
            Self::LagFromTheStart => "promise 9",
        }
    }
}

/// A history, as all boundaries see it.
pub struct Outside {
    pub clock: &'static Virtual,
    pub broken: Option<Breakage>,
    state: Mutex<HistoryState>,
    /// Notified when the process crashes, or a promise is broken.
    pub over: Notify,
}

/// The world, the witness and the planned crash.
pub struct HistoryState {
    pub world: World,
    pub witness: Witness,
    /// Calls at boundaries until the crash.
    pub crash_in: Option<u32>,
    /// Whether the process crashed: none of its calls continues.
    pub has_crashed: bool,
    /// The first broken promise.
    pub violation: Option<String>,
}

impl Outside {
    pub fn new(
        clock: &'static Virtual,
        world: World,
        witness: Witness,
        broken: Option<Breakage>,
    ) -> Arc<Self> {
        let state = HistoryState { world, witness, crash_in: None, has_crashed: false, violation: None };
        Arc::new(Self { clock, broken, state: Mutex::new(state), over: Notify::new() })
    }

    pub fn state(&self) -> MutexGuard<'_, HistoryState> {
        self.state.lock().unwrap()
    }

    /// Microseconds since the start of the history.
    pub fn now(&self) -> i64 {
        i64::try_from(self.clock.elapsed().as_micros()).unwrap()
    }

    /// Notes a broken promise.
    pub fn check<T>(&self, found: Result<T, String>) -> Option<T> {
        match found {
            Ok(value) => Some(value),
            Err(what) => {
                self.state().violation.get_or_insert(what);
                self.over.notify_one();
                None
            }
        }
    }

    /// A call passes the boundary, unless the process crashes at this point; then it never continues.
    async fn pass(&self) {
        let has_crashed = {
            let mut state = self.state();
            match &mut state.crash_in {
                Some(0) => {
                    state.crash_in = None;
                    state.has_crashed = true;
                    self.over.notify_one();
                }
                Some(calls) => *calls -= 1,
                None => {}
            }
            state.has_crashed
        };
        if has_crashed {
            std::future::pending().await
        }
    }

    fn is(&self, broken: Breakage) -> bool {
        self.broken == Some(broken)
    }
}

async fn sleep(microseconds: i64) {
    tokio::time::sleep(Duration::from_micros(microseconds.unsigned_abs())).await;
}

/// The cloud.
pub struct ScriptedCloud(pub Arc<Outside>);

#[async_trait]
impl Connections for ScriptedCloud {
    async fn send(&self, request: SignedRequest, _: bool, _: usize) -> Result<Received, TransportFailure> {
        let Self(outside) = self;
        let query = reqwest::Url::parse(&format!("http://cloud/?{}", request.query)).unwrap();
        let query: HashMap<_, _> = query.query_pairs().into_owned().collect();
        let id: u64 = query["taskId"].parse().unwrap();
        let key = PaceKey {
            secret_id: query["SecretId"].clone(),
            region: query["Region"].clone(),
            host: request.url.host_str().unwrap_or_default().to_owned(),
            action: query["Action"].clone(),
        };
        outside.pass().await;
        let now = outside.now();
        let Reply { body, date, latency } = {
            let state = &mut *outside.state();
            let times = if outside.is(Breakage::SentTwice) { 2 } else { 1 };
            for _ in 0..times {
                let polled = state.witness.polled(id, &key, now, &state.world);
                if let Err(what) = polled {
                    state.violation.get_or_insert(what);
                    outside.over.notify_one();
                }
            }
            let secret = if outside.is(Breakage::UnknownSecret) {
                UNKNOWN_SECRET
            } else {
                query["Signature"].as_str()
            };
            state.witness.add_secret(secret);
            state.world.respond(id, now, secret)
        };
        let is_silent = body.as_ref().is_err_and(|missing| *missing == Missing::Timeout);
        if is_silent {
            // The time limit of the request ends it.
            std::future::pending::<()>().await;
        }
        sleep(latency).await;
        let text = body.as_ref().ok().map(String::as_str);
        outside.state().witness.responded(id, text, date.is_some(), outside.now());
        outside.pass().await;
        let mut headers = HeaderMap::new();
        if let Some(date) = date {
            headers.insert(DATE, HeaderValue::from_str(&httpdate::fmt_http_date(date.into())).unwrap());
        }
        match body {
            Ok(body) => Ok(Received { status: 200, headers, body: Ok(body.into()) }),
            Err(missing) => Err(TransportFailure { missing, message: "scripted".to_owned() }),
        }
    }
}

/// A sink.
pub struct ScriptedSink {
    pub outside: Arc<Outside>,
    /// Its place in the list of sinks.
    pub place: usize,
    pub batch: usize,
}

#[async_trait]
impl Sink for ScriptedSink {
    fn batch(&self) -> usize {
        self.batch
    }

    async fn send(&self, events: &[Event]) -> Result<(), Refusal> {
        let Self { outside, place, .. } = self;
        let attempted = outside.state().witness.attempted(*place, outside.now());
        outside.check(attempted);
        let (result, takes, accepts) = outside.state().world.attempt(*place, events);
        if accepts {
            let received = |event| outside.state().witness.received(*place, event);
            outside.check(events.iter().try_for_each(received));
        }
        outside.pass().await;
        sleep(takes).await;
        outside.pass().await;
        match result {
            Err(Refusal { class: RefusalClass::Passing, .. })
                if outside.is(Breakage::FalseAcknowledgement) =>
            {
                Ok(())
            }
            Err(refusal @ Refusal { class: RefusalClass::Sink, .. })
                if outside.is(Breakage::LoginIsContent) =>
            {
                Err(Refusal { class: RefusalClass::Event, ..refusal })
            }
            other => other,
        }
    }
}

/// The store, with the time that a disk takes.
pub struct ScriptedStore {
    pub outside: Arc<Outside>,
    pub inner: Arc<dyn Store>,
}

impl ScriptedStore {
    /// A write takes its time, and the process may crash before or after it.
    async fn write<T>(&self, write: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let takes = {
            let world = &mut self.outside.state().world;
            let is_slow = rand::RngExt::random_bool(&mut world.rng, 0.1);
            world.within(if is_slow { 20_000_000 } else { 50_000 })
        };
        sleep(takes).await;
        self.outside.pass().await;
        write.await
    }

    /// The same event under the id of its subject alone.
    fn with_one_id(event: Event) -> Event {
        let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, event.subject().as_bytes());
        let body = event.body.replace(&event.id.hyphenated().to_string(), &id.hyphenated().to_string());
        Event::stored(id, event.kind, event.time, body)
    }
}

#[async_trait]
impl Store for ScriptedStore {
    async fn register(
        &self,
        tasks: Vec<NewTask>,
        now: Wall,
        due: Vec<Wall>,
    ) -> Result<Vec<Registered>, Error> {
        let registered = self.inner.register(tasks.clone(), now, due).await?;
        if tasks.iter().all(|task| task.origin == Origin::Command) {
            let state = &mut *self.outside.state();
            let now = self.outside.now();
            let result = state.witness.registered(&tasks, &registered, now, &state.world);
            if let Err(what) = result {
                state.violation.get_or_insert(what);
                self.outside.over.notify_one();
            }
        }
        Ok(registered)
    }

    async fn open_among(&self, tasks: Vec<NewTask>) -> Result<Vec<Row>, Error> {
        self.inner.open_among(tasks).await
    }

    async fn open_from_files(&self) -> Result<usize, Error> {
        self.inner.open_from_files().await
    }

    async fn targets(&self) -> Result<HashMap<TargetRow, Target>, Error> {
        self.inner.targets().await
    }

    async fn open_tasks(
        &self,
        targets: Option<&[TargetRow]>,
        after: Row,
        limit: usize,
    ) -> Result<Vec<OpenTask>, Error> {
        let mut tasks = self.inner.open_tasks(targets, after, limit).await?;
        if self.outside.is(Breakage::LagFromTheStart) {
            let now = self.outside.clock.clock().now().wall;
            tasks.iter_mut().for_each(|task| task.hot.seen = task.hot.seen.map(|_| now));
        }
        Ok(tasks)
    }

    async fn open_of(&self, rows: Vec<Row>) -> Result<Vec<OpenTask>, Error> {
        self.inner.open_of(rows).await
    }

    async fn tasks(&self, filter: TaskFilter, after: Row, limit: usize) -> Result<Vec<TaskView>, Error> {
        self.inner.tasks(filter, after, limit).await
    }

    async fn task(&self, row: Row) -> Result<Option<TaskView>, Error> {
        self.inner.task(row).await
    }

    async fn events(&self, filter: EventFilter, after: Seq, limit: usize) -> Result<Vec<EventView>, Error> {
        self.inner.events(filter, after, limit).await
    }

    async fn event(&self, name: EventName) -> Result<Option<EventView>, Error> {
        self.inner.event(name).await
    }

    async fn redeliver(&self, filter: DeliveryFilter) -> Result<Vec<(String, Seq)>, Error> {
        let inner = Arc::clone(&self.inner);
        self.write(async move { inner.redeliver(filter).await }).await
    }

    async fn discard(&self, filter: DeliveryFilter) -> Result<u64, Error> {
        let inner = Arc::clone(&self.inner);
        self.write(async move { inner.discard(filter).await }).await
    }

    async fn newest_seq(&self) -> Result<Seq, Error> {
        self.inner.newest_seq().await
    }

    async fn paused(&self) -> Result<BTreeSet<PauseScope>, Error> {
        self.inner.paused().await
    }

    async fn set_paused(&self, scope: PauseScope, paused: bool) -> Result<(), Error> {
        let inner = Arc::clone(&self.inner);
        self.write(async move { inner.set_paused(scope, paused).await }).await
    }

    async fn record(&self, row: Row) -> Result<Option<Record>, Error> {
        self.inner.record(row).await
    }

    async fn commit(&self, mut commit: Commit) -> Result<bool, Error> {
        let decided = {
            let state = &mut *self.outside.state();
            state.witness.decided(&commit, self.outside.now(), &state.world)
        };
        let number = self.outside.check(decided);
        if self.outside.is(Breakage::LostDeliveries)
            && commit.end.is_some()
            && let Some((_, sinks)) = &mut commit.event
        {
            sinks.clear();
        }
        if self.outside.is(Breakage::OneIdForTwo) {
            commit.event = commit.event.map(|(event, sinks)| (Self::with_one_id(event), sinks));
        }
        if self.outside.is(Breakage::ForgottenEnd) {
            commit.end = None;
        }
        let inner = Arc::clone(&self.inner);
        let is_open = self.write(async move { inner.commit(commit).await }).await?;
        if let Some(number) = number.filter(|_| is_open) {
            self.outside.state().witness.committed(number);
        }
        self.outside.pass().await;
        Ok(is_open)
    }

    async fn add_event(&self, event: Event, sinks: Vec<String>) -> Result<(), Error> {
        self.write(self.inner.add_event(event, sinks)).await
    }

    async fn save(&self, hot: Vec<HotRow>) -> Result<(), Error> {
        self.inner.save(hot).await
    }

    async fn undelivered(&self, sink: &str, after: Seq, limit: usize) -> Result<Vec<OutboxRow>, Error> {
        let mut rows = self.inner.undelivered(sink, after, limit).await?;
        if self.outside.is(Breakage::SwappedEvents) {
            let mut first: HashMap<Row, usize> = HashMap::new();
            for index in 0..rows.len() {
                let Some(task) = rows[index].task else { continue };
                if let Some(before) = first.insert(task, index) {
                    let event = rows[index].event.clone();
                    rows[index].event = std::mem::replace(&mut rows[before].event, event);
                }
            }
        }
        Ok(rows)
    }

    async fn acknowledge(&self, sink: &str, seqs: Vec<Seq>) -> Result<(), Error> {
        self.write(self.inner.acknowledge(sink, seqs)).await
    }

    async fn mark_tried(&self, sink: &str, seqs: Vec<Seq>, active: Duration) -> Result<(), Error> {
        self.write(self.inner.mark_tried(sink, seqs, active)).await
    }

    async fn active(&self, sink: &str) -> Result<Duration, Error> {
        self.inner.active(sink).await
    }

    async fn save_active(&self, sink: &str, active: Duration) -> Result<(), Error> {
        self.inner.save_active(sink, active).await
    }

    async fn dead_letter(&self, letter: DeadLetter) -> Result<(), Error> {
        let sink = letter.sink.clone();
        let seq = letter.seq;
        self.outside.check(Witness::may_give_up(&letter));
        let event = self.inner.undelivered(&sink, Seq(seq.0 - 1), 1).await?.into_iter().next();
        let event = event.filter(|row| row.seq == seq).map(|row| row.event);
        self.write(self.inner.dead_letter(letter)).await?;
        if let Some(event) = event {
            // A dead letter counts as received: the witness detects silent losses.
            let received = self.outside.state().witness.received_by(&sink, &event);
            self.outside.check(received);
        }
        self.outside.pass().await;
        Ok(())
    }

    async fn expire_unconfigured(
        &self,
        configured: Vec<String>,
        before: Wall,
        at: Wall,
    ) -> Result<HashMap<String, u64>, Error> {
        // As after a dead letter: an expired delivery counts as received.
        let removed: Vec<_> =
            SINKS.into_iter().filter(|sink| !configured.iter().any(|name| name == sink)).collect();
        let mut waiting = Vec::new();
        for sink in removed {
            waiting.extend(
                self.inner.undelivered(sink, Seq(0), EVERYTHING).await?.into_iter().map(|row| (sink, row)),
            );
        }
        let expired = self.inner.expire_unconfigured(configured, before, at).await?;
        for (sink, row) in waiting {
            let left = self.inner.undelivered(sink, Seq(row.seq.0 - 1), 1).await?;
            if left.first().is_none_or(|left| left.seq != row.seq) {
                let received = self.outside.state().witness.received_by(sink, &row.event);
                self.outside.check(received);
            }
        }
        Ok(expired)
    }

    async fn outbox(&self) -> Result<HashMap<String, u64>, Error> {
        self.inner.outbox().await
    }

    async fn dead_letters(&self) -> Result<HashMap<String, u64>, Error> {
        self.inner.dead_letters().await
    }

    async fn finished_before(
        &self,
        before: Wall,
        after: FinishedTask,
        limit: usize,
    ) -> Result<Vec<FinishedTask>, Error> {
        self.inner.finished_before(before, after, limit).await
    }

    async fn delete_finished(&self, before: Wall, tasks: Vec<FinishedTask>) -> Result<(), Error> {
        let deleted = self.outside.state().witness.deleted(&tasks);
        self.outside.check(deleted);
        self.write(self.inner.delete_finished(before, tasks)).await
    }

    async fn finished_groups(&self) -> Result<Vec<GroupRound>, Error> {
        self.inner.finished_groups().await
    }

    async fn close_group(&self, group: GroupRow, event: Event, sinks: Vec<String>) -> Result<bool, Error> {
        self.write(self.inner.close_group(group, event, sinks)).await
    }

    async fn evidence(&self) -> Result<Vec<EvidenceRow>, Error> {
        self.inner.evidence().await
    }

    async fn save_evidence(&self, rows: Vec<EvidenceRow>) -> Result<(), Error> {
        self.write(self.inner.save_evidence(rows)).await
    }

    async fn newest(&self) -> Result<Option<Wall>, Error> {
        self.inner.newest().await
    }

    async fn delete_events(&self, before: Wall, limit: usize) -> Result<u64, Error> {
        self.inner.delete_events(before, limit).await
    }

    async fn failed(&self) -> Error {
        self.inner.failed().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
