//! Lines: the text, JSON and journal form of an event ([`event`], [`journal`]), and of any other line
//! ([`line`]); output to a descriptor that may be full or slow ([`output`]), or was closed at the start
//! ([`closed`]).

pub mod closed;
pub mod event;
pub mod journal;
pub mod line;
pub mod output;
