//! The rules of language that a machine can check: openings and terms of comments, names of tests, length of sentences
//! in help texts.

use std::fs;
use std::path::{Path, PathBuf};

/// A comment names its subject first.
const OPENINGS: [&str; 12] = [
    "What", "Whatever", "Whose", "Whom", "Who", "Whoever", "How", "It", "That", "So many", "Nobody",
    "Somebody",
];
/// Words for which the project has a term, or that personify a program.
const WORDS: [&str; 30] = [
    "tell",
    "tells",
    "told",
    "telling",
    "hear",
    "hears",
    "heard",
    "owed",
    "owes",
    "mend",
    "mends",
    "mended",
    "stomach",
    "nobody",
    "somebody",
    "whoever",
    "burial",
    "buried",
    "answer",
    "answers",
    "answered",
    "anew",
    "mistake",
    "mistakes",
    "given up",
    "gives up",
    "gave up",
    "comes again",
    "look on",
    "as good as",
];
/// Parts of comments that are exempt, each with its reason.
const EXEMPT: [(&str, &str); 1] = [("`", "code in backticks is quoted as it is")];
/// The longest name of a test.
const LONGEST_NAME: usize = 90;
/// The longest sentence of a comment or a help text, in words.
const LONGEST_SENTENCE: usize = 25;

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

/// The paragraphs of comments, each with the number of its first line.
fn paragraphs(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        let comment = line.strip_prefix("//").map(|rest| rest.trim_start_matches(['/', '!']).trim());
        match comment {
            Some(comment) if !comment.is_empty() => {
                if is_open && !comment.starts_with(['#', '-', '|']) {
                    let (_, paragraph) = found.last_mut().expect("an open paragraph");
                    *paragraph += " ";
                    *paragraph += comment;
                } else {
                    found.push((number, comment.to_owned()));
                    is_open = true;
                }
            }
            Some(_) | None => is_open = false,
        }
    }
    found
}

/// The paragraph without code and quotations.
fn prose(paragraph: &str) -> String {
    let (quote, _) = EXEMPT[0];
    let without_code: String = paragraph.split(quote).step_by(2).collect::<Vec<_>>().join("X");
    without_code.split('"').step_by(2).collect::<Vec<_>>().join("X")
}

fn has_word(text: &str, word: &str) -> bool {
    let is_letter =
        |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    text.match_indices(word).any(|(at, _)| {
        !is_letter(text[..at].chars().next_back()) && !is_letter(text[at + word.len()..].chars().next())
    })
}

fn violations(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (line, paragraph) in paragraphs(text) {
        let opening = OPENINGS.iter().find(|opening| {
            paragraph.strip_prefix(**opening).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        });
        let prose = prose(&paragraph).to_lowercase();
        let word = WORDS.iter().find(|word| has_word(&prose, word));
        found.extend(opening.or(word).map(|rule| format!("{line}: {rule:?} in {paragraph:?}")));
        let sentences = prose.split(['.', ':', ';', '?', '!']);
        let longest = sentences.map(|sentence| sentence.split_whitespace().count()).max().unwrap_or(0);
        if longest > LONGEST_SENTENCE {
            found.push(format!("{line}: {longest} words in {paragraph:?}"));
        }
    }
    found
}

/// Violations in the prose of a page. Lines of a table and of a list are paragraphs of their own; a cell is a sentence.
pub fn violations_of_page(page: &str) -> Vec<String> {
    let mut paragraphs: Vec<String> = Vec::new();
    let mut is_open = false;
    for line in page.lines().map(str::trim) {
        let is_continued = is_open && !line.starts_with(['#', '-', '|', '>']) && !line.starts_with("1. ");
        match paragraphs.last_mut().filter(|_| is_continued && !line.is_empty()) {
            Some(paragraph) => *paragraph += &format!(" {line}"),
            None => paragraphs.push(line.trim_start_matches(['#', '-', ' ']).to_owned()),
        }
        is_open = !line.is_empty() && !line.starts_with(['#', '|']);
    }
    let without_target = |text: &str| text.replace("](", "] (").replace("**", "");
    let sentences = paragraphs.iter().flat_map(|paragraph| paragraph.split(['|', '·'])).map(without_target);
    sentences.flat_map(|sentence| violations(&format!("// {}", sentence.trim()))).collect()
}

#[test]
fn comments_name_their_subject_first_and_use_the_terms() {
    let mut found = Vec::new();
    ["src", "tests", "benches"].iter().for_each(|folder| files(Path::new(folder), &mut found));
    let wrong: Vec<String> = found
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).expect("a readable file");
            violations(&text)
                .into_iter()
                .map(|violation| format!("{}:{violation}", file.display()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{} of them: {wrong:#?}", wrong.len());
}

#[test]
fn a_wrong_comment_is_found() {
    assert_eq!(violations("/// What it\n/// is.\nfn a() {}\n").len(), 1);
    assert_eq!(violations("// The sink that is owed an event.\n").len(), 1);
    assert_eq!(violations("/// The event `told` of \"answer\". Italics, however, and Hearing.\n").len(), 0);
}

#[test]
fn names_of_tests_have_at_most_90_letters() {
    let mut found = Vec::new();
    ["src", "tests"].iter().for_each(|folder| files(Path::new(folder), &mut found));
    for file in found {
        let text = fs::read_to_string(&file).expect("a readable file");
        for name in text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next()) {
            assert!(name.len() <= LONGEST_NAME, "{}: {name}", file.display());
        }
    }
}

#[test]
fn help_texts_have_short_sentences() {
    let commands: [&[&str]; 9] = [
        &["--help"],
        &["run", "--help"],
        &["wait", "--help"],
        &["check", "--help"],
        &["events", "test", "--help"],
        &["operations", "--help"],
        &["demo", "--help"],
        &["sim", "--help"],
        &["completions", "--help"],
    ];
    for command in commands {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_opwatch"))
            .args(command)
            .output()
            .expect("the help of a command");
        let help = String::from_utf8(output.stdout).expect("text");
        assert!(help.len() > 100, "{command:?}");
        for paragraph in help.split("\n\n") {
            for sentence in paragraph.split(['.', ':', ';', '[', ']']) {
                let words = sentence.lines().map(|line| line.split_whitespace().count()).sum::<usize>();
                // Lists of options and examples have a line each.
                let is_prose = !sentence.contains("  ");
                assert!(!is_prose || words <= LONGEST_SENTENCE, "{command:?}: {sentence}");
            }
        }
    }
}
