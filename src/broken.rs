//! Deliberately broken variants, for the one build in which they can be switched on: a history that is worth
//! something sees each (daemon/history, tests/README.md). Only code on the thread of the loops may ask.

use std::cell::Cell;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Promise 1: an end is committed without its deliveries.
    LostDelivery,
    /// Promise 1: an attempt that passes without success counts as one.
    AcknowledgedUnheard,
    /// Promise 2: the id of an event that is no final word forgets its time and its sequence.
    OneIdForTwo,
    /// Promise 3: a task that ended stays in the queue.
    AskedAfterItsEnd,
    /// Promise 4: a task goes on before its change is durable.
    OutOfOrder,
    /// Promise 4: a task's next event does not wait for the one before.
    Overtaking,
    /// Promise 5: the first call after a start leaves at once.
    BurstAtStart,
    /// Promise 6: one refusal is believed.
    OneRefusalIsEnough,
    /// Promise 6: a list that is refused alike tells nothing.
    NoEvidence,
    /// Promise 6: what holds an account backs off task by task.
    NoHold,
    /// Promise 6: a refused login is believed to be the event's fault.
    LoginIsContent,
    /// Promise 6: the deadline is the local clock's alone.
    LocalDeadline,
    /// Promise 7: what a server echoes of a request is told as it is.
    SecretEchoed,
    /// Promise 8: a list with a mistake is registered without it.
    MistakesPass,
    /// Promise 9: the last sighting is when its answer came.
    LagFromTheAnswer,
    /// Promise 9: a start forgets how long ago the last sighting was.
    LagFromTheStart,
}

thread_local! {
    static BROKEN: Cell<Option<Broken>> = const { Cell::new(None) };
}

impl Broken {
    /// The promise that a history must find broken.
    pub fn breaks(self) -> &'static str {
        match self {
            Self::LostDelivery | Self::AcknowledgedUnheard => "promise 1",
            Self::OneIdForTwo => "promise 2",
            Self::AskedAfterItsEnd => "promise 3",
            Self::OutOfOrder | Self::Overtaking => "promise 4",
            Self::BurstAtStart => "promise 5",
            Self::OneRefusalIsEnough
            | Self::NoEvidence
            | Self::NoHold
            | Self::LoginIsContent
            | Self::LocalDeadline => "promise 6",
            Self::SecretEchoed => "promise 7",
            Self::MistakesPass => "promise 8",
            Self::LagFromTheAnswer | Self::LagFromTheStart => "promise 9",
        }
    }

    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::LostDelivery,
        Self::AcknowledgedUnheard,
        Self::OneIdForTwo,
        Self::AskedAfterItsEnd,
        Self::OutOfOrder,
        Self::Overtaking,
        Self::BurstAtStart,
        Self::OneRefusalIsEnough,
        Self::NoEvidence,
        Self::NoHold,
        Self::LoginIsContent,
        Self::LocalDeadline,
        Self::SecretEchoed,
        Self::MistakesPass,
        Self::LagFromTheAnswer,
        Self::LagFromTheStart,
    ];
}

/// Whether that is broken now, on this thread.
pub fn is(variant: Broken) -> bool {
    BROKEN.get() == Some(variant)
}

/// Breaks it on this thread, or mends it.
pub fn set(variant: Option<Broken>) {
    BROKEN.set(variant);
}

#[test]
fn the_list_in_tests_readme_has_each_variant_and_its_promise() {
    let page = std::fs::read_to_string("tests/README.md").unwrap();
    for variant in Broken::ALL {
        let promise = variant.breaks().trim_start_matches("promise ");
        assert!(
            page.lines().any(|line| line.starts_with(&format!("| `{variant:?}` |"))
                && line.ends_with(&format!("| {promise} |"))),
            "{variant:?}"
        );
    }
}
