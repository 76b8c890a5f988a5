//! Values of opwatch's types in columns.

use rusqlite::Row as Record;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::clock::Wall;
use crate::model::event::{Event, Kind};
use crate::model::reading::{Code, Outcome};
use crate::model::records::{GroupRow, Seq, TargetRow};
use crate::model::step::Reason;
use crate::model::task::{Origin, Row, Settings, TaskId};

/// A newtype over an integer is stored as that integer.
macro_rules! as_integer {
    ($($type:ident)*) => {$(
        impl ToSql for $type {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.0.to_sql()
            }
        }
        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_i64().map(Self)
            }
        }
    )*};
}
as_integer!(Wall Row TargetRow Seq GroupRow);

impl ToSql for TaskId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Int(number) => number.cast_signed().into(),
            Self::Text(text) => text.as_ref().into(),
        })
    }
}

impl FromSql for TaskId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(number) => Ok(Self::Int(number.cast_unsigned())),
            ValueRef::Text(_) => value.as_str().map(|text| Self::Text(text.into())),
            ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => Err(FromSqlError::InvalidType),
        }
    }
}

impl ToSql for Code {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Int(number) => (*number).into(),
            Self::Text(text) => text.as_ref().into(),
        })
    }
}

impl FromSql for Code {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(number) => Ok(Self::Int(number)),
            ValueRef::Text(_) => value.as_str().map(|text| Self::Text(text.into())),
            ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => Err(FromSqlError::InvalidType),
        }
    }
}

impl ToSql for Outcome {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

impl FromSql for Outcome {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        of_text(value)
    }
}

impl FromSql for Reason {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        of_text(value)
    }
}

/// A value that is stored as its name in events.
fn of_text<T: DeserializeOwned>(value: ValueRef<'_>) -> FromSqlResult<T> {
    let text = value.as_str()?;
    serde_json::from_value(text.into()).map_err(|error| FromSqlError::Other(error.into()))
}

impl ToSql for Reason {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

impl ToSql for Origin {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::File => "file",
            Self::Command => "command",
        }
        .into())
    }
}

impl FromSql for Origin {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "file" => Ok(Self::File),
            "command" => Ok(Self::Command),
            other => Err(FromSqlError::Other(format!("unknown origin of a task: {other}").into())),
        }
    }
}

impl ToSql for Kind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.name().into())
    }
}

impl FromSql for Kind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let name = value.as_str()?;
        Self::of_name(name)
            .ok_or_else(|| FromSqlError::Other(format!("unknown type of event: {name}").into()))
    }
}

/// Settings as JSON; `None` without any setting, since most tasks of a long list are bare ids.
pub fn settings_text(settings: &Settings) -> rusqlite::Result<Option<String>> {
    if *settings == Settings::default() {
        return Ok(None);
    }
    serde_json::to_string(settings)
        .map(Some)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// The settings in that column.
pub fn settings(record: &Record<'_>, column: usize) -> rusqlite::Result<Settings> {
    let Some(text) = record.get_ref(column)?.as_str_or_null()? else { return Ok(Settings::default()) };
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into()))
}

/// The event in the columns `event_id, kind, time, body` from that one on.
pub fn event(record: &Record<'_>, column: usize) -> rusqlite::Result<Event> {
    let id = Uuid::from_bytes(record.get(column)?);
    Ok(Event::stored(id, record.get(column + 1)?, record.get(column + 2)?, record.get(column + 3)?))
}

/// A number of rows for `LIMIT`.
pub fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
