//! DECIDES what happens next, and does nothing.
//!
//! No `async`, clock, randomness, file or socket: moments and random numbers are arguments, so that a test
//! can replay any history. The loops carry out the results and decide nothing.

pub mod attribution;
pub mod backoff;
pub mod board;
pub mod clock_offset;
pub mod compact;
pub mod delivery;
pub mod due;
pub mod event;
pub mod gate;
pub mod lane;
pub mod lasting;
pub mod pace;
pub mod policy;
pub mod reading;
pub mod records;
pub mod route;
pub mod step;
pub mod sweep;
pub mod task;
pub mod test_event;
pub mod waiting;
