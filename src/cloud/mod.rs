//! ASKS: one call is one signed request; every retry is an effect of the model.
//!
//! The only folder that interprets a code or a status.

pub mod credentials;
pub mod operations;
