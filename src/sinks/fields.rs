//! What a log line says of an event: one row per kind (design.md §7).
//!
//! The keys are promised to those who watch the log, and are the same in text, in JSON and, in upper case, in
//! the journal. Rows and fields are only ever added.

use serde_json::Value;
use uuid::Uuid;

use crate::model::event::{Event, Kind};
use crate::telemetry::line::{Fields, MAX_VALUE_BYTES, cut};

/// What a log line says of events of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The message.
    pub message: &'static str,
    /// The journal's `MESSAGE_ID`: explained in `systemd/opwatch.catalog`, and never changed.
    pub message_id: Uuid,
    /// Keys in their order, each with a JSON pointer into the event.
    fields: &'static [(&'static str, &'static str)],
}

const FINISHED: Row = Row {
    message: "task finished",
    message_id: Uuid::from_u128(0x053e_0b96_e045_47b7_b376_6025_25e0_a207),
    fields: &[
        ("task", "/data/task/id"),
        ("operation", "/data/task/operation"),
        ("outcome", "/data/outcome"),
        ("status", "/data/status"),
        ("elapsed", "/data/elapsed_seconds"),
        ("polls", "/data/polls"),
        ("name", "/data/task/name"),
    ],
};

const ABANDONED: Row = Row {
    message: "task abandoned",
    message_id: Uuid::from_u128(0x87c4_bd83_ee6a_4a19_a3a4_7b11_877a_c186),
    fields: &[
        ("task", "/data/task/id"),
        ("operation", "/data/task/operation"),
        ("reason", "/data/reason"),
        ("status", "/data/status"),
        ("error", "/data/error/code"),
        // Not `message`: in JSON that key is taken by the line's own.
        ("error_message", "/data/error/message"),
        ("elapsed", "/data/elapsed_seconds"),
        ("polls", "/data/polls"),
        ("name", "/data/task/name"),
    ],
};

const PROGRESSED: Row = Row {
    message: "task progressed",
    message_id: Uuid::from_u128(0x3b0c_9d57_4f5e_4a06_8d1c_60a2_9a77_15e4),
    fields: &[
        ("task", "/data/task/id"),
        ("operation", "/data/task/operation"),
        ("status", "/data/status"),
        ("previous_status", "/data/previous_status"),
        ("name", "/data/task/name"),
    ],
};

const OVERDUE: Row = Row {
    message: "task overdue",
    message_id: Uuid::from_u128(0x9e41_22cf_0d3b_4c8c_b1a9_7e55_d0f6_3b28),
    fields: &[
        ("task", "/data/task/id"),
        ("operation", "/data/task/operation"),
        ("status", "/data/status"),
        ("elapsed", "/data/elapsed_seconds"),
        ("name", "/data/task/name"),
    ],
};

const GROUP_FINISHED: Row = Row {
    message: "group finished",
    message_id: Uuid::from_u128(0x4d92_a7f0_1c6e_4b58_86b3_f5d1_9a20_e73c),
    fields: &[
        ("group", "/data/group"),
        ("round", "/data/round"),
        ("success", "/data/counts/success"),
        ("failure", "/data/counts/failure"),
        ("partial", "/data/counts/partial"),
        ("abandoned", "/data/counts/abandoned"),
    ],
};

const ACCOUNT_HELD: Row = Row {
    message: "account held",
    message_id: Uuid::from_u128(0xc5a8_e0b1_7d92_4f3f_a6f4_1c0b_83de_9a61),
    fields: &[
        ("account", "/data/account"),
        ("region", "/data/region"),
        ("operation", "/data/operation"),
        ("error", "/data/error/code"),
        ("error_message", "/data/error/message"),
        ("since", "/data/since"),
        ("tasks", "/data/tasks"),
    ],
};

/// Without the error, which is over: whoever searches a log for errors is to find those that are.
const ACCOUNT_RELEASED: Row = Row {
    message: "account released",
    message_id: Uuid::from_u128(0x61d7_3f9a_58c4_4be2_9e0d_b27a_4405_c8f7),
    fields: &[
        ("account", "/data/account"),
        ("region", "/data/region"),
        ("operation", "/data/operation"),
        ("since", "/data/since"),
        ("tasks", "/data/tasks"),
    ],
};

const SINK_HELD: Row = Row {
    message: "sink held",
    message_id: Uuid::from_u128(0x2f60_7c4e_9b1d_4a83_8a52_d3e6_0f71_c4b9),
    fields: &[
        ("sink", "/data/sink"),
        ("error_message", "/data/error/message"),
        ("since", "/data/since"),
        ("waiting", "/data/waiting"),
    ],
};

/// Without the error, as [`ACCOUNT_RELEASED`].
const SINK_RELEASED: Row = Row {
    message: "sink released",
    message_id: Uuid::from_u128(0xb83d_1e95_60fa_4c27_93d8_5a7f_e214_0c6d),
    fields: &[("sink", "/data/sink"), ("since", "/data/since"), ("waiting", "/data/waiting")],
};

const DELIVERY_DEAD: Row = Row {
    message: "delivery dead",
    message_id: Uuid::from_u128(0x7a19_c6d2_f38b_4e50_b7c4_2d9e_8f03_61a5),
    fields: &[
        ("sink", "/data/sink"),
        ("event", "/data/event/id"),
        ("type", "/data/event/type"),
        ("subject", "/data/event/subject"),
        ("attempts", "/data/attempts"),
        ("error_message", "/data/error/message"),
    ],
};

impl Row {
    /// The row of that kind.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Finished => FINISHED,
            Kind::Abandoned => ABANDONED,
            Kind::Progressed => PROGRESSED,
            Kind::Overdue => OVERDUE,
            Kind::GroupFinished => GROUP_FINISHED,
            Kind::AccountHeld => ACCOUNT_HELD,
            Kind::AccountReleased => ACCOUNT_RELEASED,
            Kind::SinkHeld => SINK_HELD,
            Kind::SinkReleased => SINK_RELEASED,
            Kind::DeliveryDead => DELIVERY_DEAD,
        }
    }
}

/// The message and the values of that event; what it lacks is left out, and long texts are cut.
pub fn of(event: &Event) -> (&'static str, Fields) {
    let row = Row::of(event.kind);
    // The record was written by this program. Should it not parse after all, a line without values still
    // tells that it happened.
    let record: Value = serde_json::from_str(&event.body).unwrap_or_default();
    let value = |pointer| match record.pointer(pointer)? {
        Value::Null => None,
        Value::String(text) => Some(cut(text, MAX_VALUE_BYTES).into()),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Some(other.clone())
        }
    };
    let fields = row.fields.iter().filter_map(|(key, pointer)| Some((*key, value(pointer)?))).collect();
    (row.message, fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sinks::samples;

    #[test]
    fn an_abandoned_task_tells_why() {
        let event = samples::event(
            Kind::Abandoned,
            "x",
            json!({"reason": "rejected", "error": {"code": 10001, "message": "no such task"}, "status": null}),
        );
        let (message, fields) = of(&event);
        let shown: Vec<_> = fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(message, "task abandoned");
        assert_eq!(
            shown.join(" "),
            r#"task="1000800001" operation="bm" reason="rejected" error=10001 error_message="no such task" elapsed=723.4 polls=17 name="x""#
        );
    }

    #[test]
    fn a_release_does_not_tell_the_error_that_is_over() {
        let data = json!({"account": "default", "error": {"code": 4100, "message": "wrong key"}, "since": "2025-11-24T16:00:00.000Z"});
        let keys = |kind| {
            of(&samples::event(kind, "x", data.clone())).1.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys(Kind::AccountReleased), ["account", "since"]);
        assert_eq!(keys(Kind::AccountHeld), ["account", "error", "error_message", "since"]);
    }

    #[test]
    fn a_long_name_is_cut() {
        let (_, fields) = of(&samples::success(&"n".repeat(100_000)));
        assert!(fields.iter().all(|(_, value)| value.to_string().len() <= MAX_VALUE_BYTES + 2));
    }

    #[test]
    fn a_record_that_does_not_parse_still_makes_a_line() {
        let event = Event { body: "{".into(), ..samples::success("x") };
        assert_eq!(of(&event), ("task finished", Fields::new()));
    }

    #[test]
    fn the_catalog_explains_exactly_the_message_ids_of_the_code() {
        let catalog = include_str!("../../systemd/opwatch.catalog");
        let mut explained: Vec<_> =
            catalog.lines().filter_map(|line| line.strip_prefix("-- ")).map(str::to_owned).collect();
        let mut used: Vec<_> =
            Kind::ALL.into_iter().map(|kind| Row::of(kind).message_id.simple().to_string()).collect();
        explained.sort();
        used.sort();
        assert_eq!(explained, used);
    }
}
