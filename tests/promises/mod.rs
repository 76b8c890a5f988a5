//! A file for each promise of docs/architecture.md §3, named after its title.

mod bad_configuration_changes_nothing;
mod fault_isolation;
mod nothing_lost;
mod one_final_event;
mod order;
mod rate_limit_respected;
mod same_event_same_id;
mod secrets_stay_inside;
mod the_lag_is_known;
