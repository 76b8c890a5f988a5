//! The import order that `src/lib.rs` states, held against what the files import.

use std::collections::BTreeMap;
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

/// The paths of a `use` tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<String> {
    let Some((prefix, group)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let group = group.trim_end().trim_end_matches('}');
    let mut depth = 0;
    let branches = group.split(|letter| {
        depth += match letter {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        depth == 0 && letter == ','
    });
    branches.flat_map(paths).map(|path| format!("{}{path}", prefix.trim())).collect()
}

/// The names of the module that is in that file, from the root.
fn module(file: &Path) -> Vec<String> {
    let inner = file.strip_prefix("src").expect("a file of src/").with_extension("");
    let names = inner.components().map(|name| name.as_os_str().to_string_lossy().into_owned());
    names.filter(|name| name != "mod").collect()
}

/// The modules that a file imports from, outside its tests.
fn imported(file: &Path, text: &str, modules: &[Vec<String>]) -> Vec<Vec<String>> {
    let code =
        text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().replace("\npub use ", "\nuse ");
    let statements =
        code.split("\nuse ").skip(1).filter_map(|rest| rest.split_once(';')).map(|(tree, _)| tree);
    let own = module(file);
    let whole = |path: String| {
        let mut names: Vec<String> = match path.split("::").next() {
            Some("self") => own.clone(),
            Some("super") => own[..own.len() - 1].to_vec(),
            Some("crate") => Vec::new(),
            Some(_) | None => return None,
        };
        names.extend(path.split("::").skip(1).map(str::to_owned));
        (0..names.len()).rev().map(|end| names[..=end].to_vec()).find(|name| modules.contains(name))
    };
    statements.flat_map(paths).filter_map(whole).filter(|module| *module != own).collect()
}

#[test]
fn no_two_files_of_the_sinks_import_each_other() {
    let mut found = Vec::new();
    files(Path::new("src/sinks"), &mut found);
    // Tests see everything.
    found.retain(|file| !file.ends_with("tests.rs") && !file.starts_with("src/sinks/conformance"));
    let modules: Vec<_> = found.iter().map(|file| module(file)).collect();
    let imports: Vec<_> = found
        .iter()
        .map(|file| imported(file, &fs::read_to_string(file).expect("a readable file"), &modules))
        .collect();
    assert!(imports.iter().map(Vec::len).sum::<usize>() > 20, "{imports:?}");
    for (own, from) in modules.iter().zip(&imports) {
        for other in from {
            let back = modules.iter().position(|module| module == other).expect("one of them");
            assert!(!imports[back].contains(own), "{own:?} and {other:?} import each other");
        }
    }
}

#[test]
fn every_path_of_a_use_tree_is_found() {
    assert_eq!(
        paths("super::{Sink, webhook::{config, reach::Reached}}"),
        ["super::Sink", "super::webhook::config", "super::webhook::reach::Reached"]
    );
    let modules = ["a/mod.rs", "a/b.rs", "a/c.rs"].map(|file| module(&Path::new("src").join(file)));
    let from =
        imported(Path::new("src/a/b.rs"), "\nuse super::c::X;\nuse crate::a::Y;\nuse std::io;", &modules);
    assert_eq!(from, [modules[2].clone(), modules[0].clone()]);
}

/// The names of the types that a file defines outside of its tests.
fn types(text: &str) -> Vec<String> {
    let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let defined = |line: &str| {
        let line = line.strip_prefix("pub(super) ").or(line.strip_prefix("pub ")).unwrap_or(line);
        let keywords = ["struct ", "enum ", "trait ", "type "];
        let name = keywords.iter().find_map(|keyword| line.strip_prefix(keyword))?;
        Some(name.chars().take_while(|letter| letter.is_alphanumeric()).collect::<String>())
    };
    // An indented `type` is one of a trait.
    product.lines().filter(|line| !line.starts_with(" ")).filter_map(defined).collect()
}

#[test]
fn one_name_stands_for_one_type() {
    /// The keys of a section, and the errors of a folder, are named after those.
    const EXEMPT: [&str; 2] = ["Config", "Error"];
    let mut found = Vec::new();
    files(Path::new("src"), &mut found);
    let mut places: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in found.into_iter().filter(|file| file.file_stem().is_some_and(|stem| stem != "tests")) {
        for name in types(&fs::read_to_string(&file).expect("a readable file")) {
            places.entry(name).or_default().push(file.clone());
        }
    }
    places.retain(|name, files| files.len() > 1 && !EXEMPT.contains(&name.as_str()));
    assert!(places.is_empty(), "{places:#?}");
}

#[test]
fn a_type_is_found() {
    assert_eq!(types("pub struct Form<'a> {\n    type Of = u8;\nenum End {"), ["Form", "End"]);
}
