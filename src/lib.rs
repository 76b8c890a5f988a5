//! `opwatch` polls asynchronous tasks of Tencent Cloud until they finish, then delivers one final event per task.
//!
//! # Two loops around one store
//! ```text
//! register ─► STORE ─► watch: next task ─► cloud: sign, send, decode ─► model: decide
//!               ▲             ▲                                           │
//!               │             └────────── unfinished: next poll ◄─────────┤
//!               └──── finished: one Commit {end, event, deliveries} ◄─────┘
//!             STORE ─► deliver: next delivery ─► sink: one attempt ─► acknowledged │ retry │ dead letter
//! ```
//! **model decides, cloud polls, store keeps, watch and deliver drive, sinks make one attempt.** `live` holds the one
//! configuration snapshot and the commands into the loops. `daemon` assembles everything, and runs deliveries on a thread
//! of their own.
//!
//! # Import order
//! A file imports only from the folders and files named before its own, and from its own (`tests/layers.rs`
//! reads this list):
//!
//! `clock` `threads` `files` `secret` `units` `problem` `section` `net` `model` `lines` `telemetry` `cloud` `sim` `store`
//! `sinks` `register` `live` `watch` `deliver` `api` `heartbeat` `config` `daemon` `cli`
//!
//! # Life of a task
//! 1. A line of a file becomes a [`register::TaskEntry`], is validated and resolved once, and is stored by
//!    [`store::Store::register`].
//! 2. `watch` loads it as a [`model::waiting::Waiting`] row onto the [`model::board`]. When it is due,
//!    [`cloud::PollRoute::poll`] signs and sends one request, and returns a reading or a fault.
//! 3. The board attributes a fault to its scope (task, pace key, account). The [`model::gate::Gate`] of that
//!    scope decides the consequence, and [`model::step::step`] the effect on the task. `watch` carries the
//!    effect out: it puts the task back, or commits its change or its end.
//!
//! # Life of an event
//! 1. [`model::event::final_event`] makes it, with its derived id, and [`model::route::Routes`] selects its
//!    sinks; both are part of the one [`model::records::Commit`] that ends the task.
//! 2. `deliver` wakes the [`model::lane`] of each sink. The lane plans the oldest deliveries, and [`sinks::Sink::send`]
//!    makes one attempt at a time.
//! 3. An acknowledged delivery leaves the outbox. Any other is attempted again, or becomes a dead letter.

pub mod clock;
pub mod threads;
pub mod files;
pub mod secret;
pub mod units;
pub mod problem;
pub mod section;
pub mod net;
pub mod model;
pub mod lines;
pub mod telemetry;
pub mod cloud;
pub mod sim;
pub mod store;
pub mod sinks;
pub mod register;
pub mod live;
pub mod watch;
pub mod deliver;
pub mod api;
pub mod heartbeat;
pub mod config;
pub mod daemon;
pub mod cli;
