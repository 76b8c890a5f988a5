//! A file for each promise of the design, named like it.

mod bad_configuration_changes_nothing;
mod faults_are_put_where_they_belong;
mod nothing_lost;
mod one_final_word;
mod polite;
mod secrets_stay_inside;
mod the_lag_is_known;
