//! The statements about the evidence of pace keys. Each function is the body of a job (worker.rs), and may run
//! more than once.

use rusqlite::types::Type;
use rusqlite::{Connection, params};

use crate::model::reading::Code;
use crate::model::records::EvidenceRow;
use crate::model::task::Row;

/// The column `refused`: the tasks of each code.
const REFUSED: usize = 2;

/// All that is saved.
pub fn all(connection: &Connection) -> rusqlite::Result<Vec<EvidenceRow>> {
    let mut select = connection
        .prepare_cached("SELECT pace_key, had_good_response, refused FROM evidence ORDER BY pace_key")?;
    let found = select.query_map([], |record| {
        let refused: Vec<(Code, Vec<i64>)> = serde_json::from_str(record.get_ref(REFUSED)?.as_str()?)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(REFUSED, Type::Text, error.into()))?;
        let rows = |rows: Vec<i64>| rows.into_iter().map(Row).collect();
        Ok(EvidenceRow {
            pace_key: record.get(0)?,
            had_good_response: record.get(1)?,
            refused: refused.into_iter().map(|(code, refused)| (code, rows(refused))).collect(),
        })
    })?;
    found.collect()
}

/// Saves these rows, and replaces the previous ones of the same pace keys.
pub fn save(connection: &Connection, rows: &[EvidenceRow]) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO evidence (pace_key, had_good_response, refused) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET had_good_response = ?2, refused = ?3",
    )?;
    for EvidenceRow { pace_key, had_good_response, refused } in rows {
        let rows = |rows: &Vec<Row>| rows.iter().map(|Row(number)| *number).collect::<Vec<_>>();
        let refused: Vec<_> = refused.iter().map(|(code, refused)| (code, rows(refused))).collect();
        let refused = serde_json::to_string(&refused)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        upsert.execute(params![pace_key, had_good_response, refused])?;
    }
    Ok(())
}
