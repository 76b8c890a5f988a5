//! Which sinks hear of an event. Decided when the event is made, and committed with it: a sink added later gets later events.

use super::task::Settings;

/// The sink that hears of everything, always configured.
pub const LOG: &str = "log";

/// The configured sinks, as far as routing needs them.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Their names, `log` included.
    pub sinks: Vec<String>,
}

impl Routes {
    /// The sinks that hear of an event of this task: `log`, and those that it names or, where it names none, all.
    pub fn of(&self, settings: &Settings) -> Vec<String> {
        let chosen = |sink: &String| sink == LOG || settings.sinks.as_ref().is_none_or(|chosen| chosen.contains(sink));
        self.sinks.iter().filter(|sink| chosen(sink)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_names_sinks_is_told_to_those_and_to_the_log() {
        let routes = Routes { sinks: vec!["audit".into(), LOG.into(), "ops".into()] };
        assert_eq!(routes.of(&Settings::default()), ["audit", "log", "ops"]);
        assert_eq!(routes.of(&Settings { sinks: Some(vec!["ops".into()]), ..Settings::default() }), ["log", "ops"]);
        assert_eq!(routes.of(&Settings { sinks: Some(vec![]), ..Settings::default() }), ["log"]);
    }
}
