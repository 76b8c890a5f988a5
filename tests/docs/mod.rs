//! The pages: README.md and docs/, in English and Chinese. Their form is checked here, their blocks are run by [`blocks`],
//! and [`generated`] compares the pages that are made from the code.
//!
//! `tests/record` writes the generated pages and the recorded demo.

mod blocks;
mod generated;
mod recording;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::language;
use crate::support::holds_to_the_schema;

/// The greatest size of a page, in characters.
const LARGEST: usize = 8192;
/// The pages of a reference that need not be read from top to bottom: a table with a row for each key.
const TABLES: [&str; 1] = ["configuration"];

/// The English pages.
fn pages() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("docs")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    found.push(PathBuf::from("README.md"));
    found.sort();
    found
}

/// The Chinese page with the same content.
fn chinese(page: &Path) -> PathBuf {
    if page == Path::new("README.md") {
        return PathBuf::from("README.zh-CN.md");
    }
    Path::new("docs/zh").join(page.file_name().unwrap())
}

fn read(page: impl AsRef<Path>) -> String {
    let page = page.as_ref();
    fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// The fenced blocks of a page, in order: language and text.
fn blocks(page: impl AsRef<Path>) -> Vec<(String, String)> {
    let text = read(page);
    let fenced = text.split("```").skip(1).step_by(2);
    fenced
        .filter_map(|block| block.split_once('\n'))
        .map(|(language, text)| (language.to_owned(), text.to_owned()))
        .collect()
}

/// The block of that language that contains this text, in the English pages.
pub fn block(page: &str, language: &str, part: &str) -> String {
    let mut found = blocks(page).into_iter().filter(|(found, text)| found == language && text.contains(part));
    found.next().unwrap_or_else(|| panic!("{page} has no block {language} with {part:?}")).1
}

/// The page without blocks.
fn prose(page: impl AsRef<Path>) -> String {
    read(page).split("```").step_by(2).collect()
}

/// The block without comments, which differ between the languages.
fn without_comments(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| comment(line).map_or(line, |(before, _)| before).trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

/// A line with a comment: the part before it, and its text.
fn comment(line: &str) -> Option<(&str, &str)> {
    if line.starts_with("#!") {
        return None;
    }
    line.strip_prefix("# ").map(|comment| ("", comment)).or_else(|| line.split_once("  # "))
}

/// The destinations of its links.
fn links(text: &str) -> Vec<String> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

/// The headings, as a link names them.
fn anchors(page: &Path) -> BTreeSet<String> {
    let is_kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | ' ');
    prose(page)
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            heading.chars().filter(is_kept).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
        })
        .collect()
}

fn all_pages() -> Vec<PathBuf> {
    let english = pages();
    let other = ["SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "tests/README.md"].map(PathBuf::from);
    let chinese: Vec<_> = english.iter().map(|page| chinese(page)).collect();
    english.into_iter().chain(chinese).chain(other).collect()
}

#[test]
fn every_page_has_a_chinese_one_with_the_same_form() {
    let count = fs::read_dir("docs/zh").unwrap().count();
    assert_eq!(count, pages().len() - 1, "pages in docs/zh");
    let mut wrong = Vec::new();
    for page in pages() {
        let (english, chinese) = (page.as_path(), &chinese(&page));
        let mut compare = |what: &str, english: BTreeMap<String, usize>, chinese: BTreeMap<String, usize>| {
            if english != chinese {
                let missing: Vec<_> =
                    english.iter().filter(|entry| chinese.get(entry.0) != Some(entry.1)).collect();
                let more: Vec<_> =
                    chinese.iter().filter(|entry| english.get(entry.0) != Some(entry.1)).collect();
                wrong.push(format!("{}: {what}: English {missing:?}, Chinese {more:?}", page.display()));
            }
        };
        let lines_of = |page: &Path| {
            let prose = prose(page);
            let mut count = BTreeMap::new();
            for start in ["# ", "## ", "### ", "|", "- ", "1. "] {
                let number = prose.lines().filter(|line| line.starts_with(start)).count();
                count.insert(start.to_owned(), number);
            }
            count
        };
        compare("lines", lines_of(english), lines_of(chinese));
        let code = |page: &Path| counted(prose(page).replace('\n', " ").split('`').skip(1).step_by(2));
        compare("code", code(english), code(chinese));
        let destinations = |page: &Path| {
            let prose = prose(page);
            let links = links(&prose).into_iter().map(|link| {
                let file = link.split('#').next().unwrap_or_default();
                file.rsplit('/').next().unwrap_or_default().replace("README.zh-CN.md", "README.md")
            });
            counted(links.collect::<Vec<_>>().iter().map(String::as_str))
        };
        compare("links", destinations(english), destinations(chinese));
        let without_comments = |page: &Path| {
            counted(
                blocks(page)
                    .iter()
                    // Drawings have words of their language.
                    .filter(|(language, _)| !language.is_empty())
                    .map(|(language, text)| format!("{language}: {}", without_comments(text).join("\n")))
                    .collect::<Vec<_>>()
                    .iter()
                    .map(String::as_str),
            )
        };
        compare("blocks", without_comments(english), without_comments(chinese));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn counted<'a>(values: impl Iterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for value in values {
        *count.entry(value.to_owned()).or_insert(0) += 1;
    }
    count
}

#[test]
fn comments_in_blocks_of_a_chinese_page_are_chinese() {
    let is_chinese = |letter: char| ('\u{4e00}'..='\u{9fff}').contains(&letter);
    for page in pages() {
        for (language, text) in blocks(chinese(&page)) {
            let comments = text.lines().filter_map(comment).filter(|_| language != "text");
            for (_, comment) in comments {
                assert!(comment.contains(is_chinese), "{}: {comment}", chinese(&page).display());
            }
        }
    }
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    for page in all_pages() {
        let folder = page.parent().unwrap();
        for link in links(&prose(&page)).iter().filter(|link| !link.starts_with("http")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { folder.join(file) };
            assert!(target.exists(), "{}: {link}", page.display());
            assert!(anchor.is_empty() || anchors(&target).contains(anchor), "{}: {link}", page.display());
        }
    }
}

#[test]
fn pages_are_short() {
    for page in all_pages().into_iter().filter(|page| page != Path::new("CHANGELOG.md")) {
        let name = page.file_stem().unwrap().to_string_lossy().into_owned();
        let size = read(&page).chars().count();
        assert!(
            size <= LARGEST || TABLES.iter().any(|table| name.starts_with(table)),
            "{}: {size}",
            page.display()
        );
    }
}

#[test]
fn prose_of_english_pages_is_plain_language() {
    let english = pages().into_iter().chain(["SECURITY.md", "CONTRIBUTING.md"].map(PathBuf::from));
    let wrong: Vec<String> = english
        .flat_map(|page| {
            let found = language::violations_of_page(&prose(&page));
            found.into_iter().map(|violation| format!("{}: {violation}", page.display())).collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn chinese_pages_use_the_terms() {
    /// Words for which the project has a term.
    const WORDS: [&str; 9] =
        ["裸金属云服务器", "应答", "云端", "凭证", "守护程序", "询问", "作业", "下沉", "汇点"];
    for page in pages() {
        let prose = prose(chinese(&page));
        for word in WORDS {
            assert!(!prose.contains(word), "{}: {word}", chinese(&page).display());
        }
        let mut letters = prose.chars().peekable();
        while let Some(letter) = letters.next() {
            let is_chinese = |letter: char| ('\u{4e00}'..='\u{9fff}').contains(&letter);
            let next = letters.peek().copied().unwrap_or(' ');
            let is_latin = |letter: char| letter.is_ascii_alphanumeric();
            assert!(
                !(is_chinese(letter) && is_latin(next) || is_latin(letter) && is_chinese(next)),
                "{}: a space is missing between {letter} and {next} … {}",
                chinese(&page).display(),
                letters.take(20).collect::<String>()
            );
        }
    }
}

#[test]
fn json_blocks_are_events_of_the_schema_or_documents() {
    for page in pages() {
        for (_, text) in blocks(&page).iter().filter(|(language, _)| language == "json") {
            let value: Value = serde_json::from_str(text).unwrap();
            if value.get("specversion").is_some() {
                holds_to_the_schema(&value);
            }
        }
    }
}
