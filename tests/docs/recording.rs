//! docs/demo.svg: the output of `opwatch demo` as an animated picture.

use std::fmt::Write as _;
use std::fs;

use opwatch::sim::Scenario;

use super::read;
use crate::support::{Home, cloud, output_of};

const PICTURE: &str = "docs/demo.svg";
/// The width of the picture, in letters.
const COLUMNS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn the_picture_of_the_demo_shows_the_demo() {
    let mut lines = Vec::new();
    // A machine that stalls shifts a line of the demo, which lives in real time.
    for _ in 0..3 {
        let home = Home::new(&cloud(Scenario::default()).await, "");
        let line = format!("exec {} demo 2>&1", env!("CARGO_BIN_EXE_opwatch"));
        let ended = output_of(home.in_shell(&line).spawn().unwrap()).await;
        let (shown, _) = ended.stdout.split_once("\n\nWhat to do next").expect("an end");
        lines = shown.trim().lines().map(without_what_varies).collect::<Vec<String>>();
        let picture = picture(&lines);
        // As `tests/record` calls it.
        if std::env::var_os("RECORD").is_some() {
            fs::write(PICTURE, picture).unwrap();
            return;
        }
        if read(PICTURE) == picture {
            return;
        }
    }
    panic!("the demo changed: look at it, and run tests/record\n{}", lines.join("\n"));
}

/// Lines appear one after the other. Readers without animations see all of them.
fn picture(lines: &[String]) -> String {
    const LINE: usize = 17;
    const LETTER: f64 = 7.25;
    /// Seconds from one line to the next.
    const STEP: f64 = 0.35;
    let (width, height) = ((COLUMNS as f64 * LETTER) as usize + 24, lines.len() * LINE + 24);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>opwatch demo</title>\n<style>\n\
         text {{ font: 12px ui-monospace, Menlo, Consolas, monospace; fill: #d0d7de; white-space: pre }}\n\
         .note {{ fill: #8b949e }} .warn {{ fill: #e3b341 }} .error {{ fill: #ff7b72 }} .event {{ fill: #7ee787 }}\n\
         @media (prefers-reduced-motion: no-preference) {{ text {{ animation: show 0.01s both }} }}\n\
         @keyframes show {{ from {{ opacity: 0 }} to {{ opacity: 1 }} }}\n</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#0d1117\"/>\n"
    );
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
        let class = match line {
            _ if line.starts_with('#') => "note",
            _ if line.contains(" WARN ") => "warn",
            _ if line.contains(" ERROR ") || line.contains("account held") => "error",
            _ if line.contains("outcome=failure") || line.contains("outcome=partial") => "warn",
            _ if line.contains(" task ") || line.contains("account released") => "event",
            _ => "line",
        };
        let (y, delay) = (number * LINE + 24, number as f64 * STEP);
        let text = line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _written = writeln!(
            svg,
            "<text x=\"12\" y=\"{y}\" class=\"{class}\" style=\"animation-delay: {delay:.2}s\">{text}</text>"
        );
    }
    svg += "</svg>\n";
    svg
}

/// A line of the demo with an ellipsis for what another run would show otherwise, and for its end if it is
/// long.
fn without_what_varies(line: &str) -> String {
    const TIME: &str = "2026-11-24T10:00:00.000Z";
    let is_time = |text: &str| {
        text.len() == TIME.len()
            && text
                .bytes()
                .zip(TIME.bytes())
                .all(|(found, like)| found.is_ascii_digit() == like.is_ascii_digit())
    };
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    // The task of the first failed poll is random.
    let varies: &[&str] = if line.contains("a poll failed") {
        &["task="]
    } else {
        &["elapsed=", "polls=", "127.0.0.1:", "since=", "lasted="]
    };
    for word in &mut words {
        if is_time(word) {
            *word = "…".to_owned();
        } else if let Some(key) = varies.iter().find(|key| word.starts_with(**key)) {
            let end = if word.ends_with(',') { "," } else { "" };
            *word = format!("{key}…{end}");
        }
    }
    if words.get(2..4) == Some(&["signed".to_owned(), "requests".to_owned()]) {
        words[1] = "…".to_owned();
    }
    let text = words.join(" ");
    match text.char_indices().nth(COLUMNS - 1) {
        Some((end, _)) if text.chars().count() > COLUMNS => format!("{}…", &text[..end]),
        Some(_) | None => text,
    }
}
