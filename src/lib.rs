//! `opwatch` watches asynchronous cloud operations until they are over, then tells your systems.
//!
//! # Two loops around one store
//! ```text
//! config, task files ─► register ─► STORE ──► watch: who is due? ─► cloud: sign, ask, read ─► model: what does it mean?
//!                                     ▲                ▲                                              │
//!                                     │                └──────────── not over yet: next poll ◄────────┤
//!                                     └──── over: one Commit {task's end, event, deliveries} ◄────────┘
//!                                   STORE ──► deliver: whose turn? ─► sink: one attempt ─► acknowledged │ again
//! ```
//! **model decides, cloud asks, store keeps, watch and deliver drive, sinks try once.**
//!
//! # Import order
//! A file imports only from the folders and files named before its own, and from its own (`tests/layers.rs`
//! reads this list):
//!
//! `clock` `files` `secret` `units` `problem` `section` `net` `model` `lines` `telemetry` `cloud` `sim` `store`
//! `sinks` `register` `live` `watch` `deliver` `config` `daemon` `cli`
//!
//! # A task's life
//! 1. A line of a file becomes a [`register::Written`] task, is validated and resolved once, and is kept by
//!    [`store::Store::register`].
//! 2. `watch` loads it as a [`model::waiting::Waiting`] row into the queue of its pace key. When its turn
//!    comes, [`cloud::Route::ask`] signs and sends one request, and answers with a reading or a fault.
//! 3. `watch::board` puts a fault where it belongs (task, pace key, account), [`model::step::step`] says what
//!    the answer means for the task, and `watch` carries the effect out: queue it again, or commit its change
//!    or its end.
//!
//! # An event's life
//! 1. [`model::event::final_word`] makes it, with its derived id, and [`model::route::Routes`] says which
//!    sinks are owed it; both are part of the one [`store::Commit`] that ends the task.
//! 2. `deliver` wakes the lane of each such sink. A lane reads what is owed, oldest first, and hands it to
//!    [`sinks::Sink::send`], one attempt at a time.
//! 3. What the sink acknowledged leaves the outbox; all else stays and comes again.

pub mod clock;
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
pub mod config;
pub mod daemon;
pub mod cli;
