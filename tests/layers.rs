//! The import order that `src/lib.rs` states, held against what the files import.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders and files of `src/` in import order, read from the documentation of the library.
fn order() -> Vec<String> {
    let lib = fs::read_to_string("src/lib.rs").expect("src/lib.rs");
    let after = lib.split("# Import order").nth(1).expect("a part on the import order");
    let lines = after.lines().skip_while(|line| !line.starts_with("//! `"));
    let paragraph: String = lines.take_while(|line| line.starts_with("//! `")).collect();
    paragraph.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder").map(|entry| entry.expect("an entry").path())
    {
        if entry.is_dir() {
            files(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}

/// The room a file is in: the first part of its path below `src/`.
fn room(file: &Path) -> String {
    let inner = file.strip_prefix("src").expect("a file of src/");
    let first = inner.components().next().expect("a part").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The rooms that a text imports from: every `crate::NAME`, `use crate::{NAME…}` included.
fn imports(text: &str) -> Vec<String> {
    let code =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let name = |text: &str| {
        text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect::<String>()
    };
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(group) => group
                .split('}')
                .next()
                .unwrap_or_default()
                .split(',')
                .map(|entry| name(entry.trim()))
                .collect(),
            None => vec![name(rest)],
        })
        .collect()
}

fn violations(file: &Path, text: &str, order: &[String]) -> Vec<String> {
    let place = |room: &str| order.iter().position(|known| known == room);
    let own = room(file);
    let Some(own_place) = place(&own) else {
        return vec![format!("{}: {own} is not in the import order", file.display())];
    };
    let wrong = |imported: &String| place(imported).is_none_or(|place| place > own_place);
    imports(text)
        .iter()
        .filter(|imported| wrong(imported))
        .map(|imported| format!("{}: imports {imported}", file.display()))
        .collect()
}

#[test]
fn a_file_imports_only_from_those_above_it() {
    let order = order();
    assert!(order.len() > 10, "{order:?}");
    let mut found = Vec::new();
    files(Path::new("src"), &mut found);
    let inner = found.iter().filter(|file| !["lib", "main"].contains(&room(file).as_str()));
    let wrong: Vec<_> = inner
        .flat_map(|file| violations(file, &fs::read_to_string(file).expect("a readable file"), &order))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_wrong_import_is_found() {
    let order = order();
    let found = |text| violations(Path::new("src/model/step.rs"), text, &order).len();
    assert_eq!(found("use crate::store::Store;"), 1);
    assert_eq!(found("use crate::{clock, watch::board};"), 1);
    assert_eq!(found("use crate::clock::Wall;\nuse crate::model::task;\n//! see [`crate::store`]"), 0);
}

#[test]
fn only_the_store_speaks_sql() {
    let mut found = Vec::new();
    files(Path::new("src"), &mut found);
    for file in found {
        let text = fs::read_to_string(&file).expect("a readable file");
        assert!(!text.contains("rusqlite") || room(&file) == "store", "{} uses rusqlite", file.display());
    }
}
