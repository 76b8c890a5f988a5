//! `opwatch operations`: the table of operations, and one row in the form of the configuration.

use super::{CommandFailure, print};
use crate::cloud::operations::{Operation, Operations, as_written};
use crate::problem::{Place, Problem};
use crate::section::suggestion;

/// Prints the table, or one row.
///
/// # Errors
/// When there is no such row.
pub fn run(show: Option<&str>) -> Result<(), CommandFailure> {
    let operations = Operations::built_in();
    let Some(name) = show else { return print::document(table(&operations).as_bytes()) };
    let row = as_written(name).ok_or_else(|| {
        let known: Vec<&str> = operations.iter().map(|(name, _)| name).collect();
        let place = Place { key: Some("--show".to_owned()), ..Place::default() };
        Problem::new(place, format!("there is no operation {name:?}; {}", suggestion(name, &known)))
    })?;
    print::line(&row)
}

/// Two lines for each row: the longest hosts, actions and parameters fit 80 columns only one below the other.
fn table(operations: &Operations) -> String {
    const NAME: &str = "NAME";
    const RATE: &str = "RATE";
    let names = operations.iter().map(|(name, _)| name.len()).fold(NAME.len(), usize::max);
    let rates = operations.iter().map(|(_, row)| row.rate.to_string().len()).fold(RATE.len(), usize::max);
    let mut table = format!("{NAME:names$}  API  {RATE:rates$}  HOST, ACTION AND ID PARAMETER\n");
    for (name, row) in operations.iter() {
        let Operation { api, rate, host, action, id, .. } = row.as_ref();
        // Formatted first: some `Display` implementations ignore a width.
        let rate = rate.to_string();
        table += &format!(
            "{name:names$}  {api}  {rate:rates$}  {host}\n{:1$}{action}, {id}\n",
            "",
            names + rates + 9
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_facts_of_each_row_within_80_columns() {
        let operations = Operations::built_in();
        let table = table(&operations);
        let rows = "bm    2.0  100/1m  bm.api.qcloud.com\n                   DescriptionOperationResult, taskId:int\n";
        assert!(
            table.starts_with("NAME  API  RATE    HOST, ACTION AND ID PARAMETER\n") && table.contains(rows),
            "{table}"
        );
        assert!(
            table.lines().all(|line| line.len() <= 80)
                && table.lines().count() == 1 + 2 * operations.iter().count(),
            "{table}"
        );
    }
}
