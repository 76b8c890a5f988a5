//! Hides secrets in text from outside, in any spelling of the sender.
//!
//! A server echoes a request as JSON, as HTML, percent-encoded or in base64. The text is unescaped in rounds
//! (`hidden/view.rs`). Each round is searched for every form of every secret (`hidden/form.rs`). A match is
//! replaced in the original text. Comparison ignores the case of ASCII letters, the difference between the
//! two alphabets of base64, `+` for a blank, and padding.
//!
//! Decisions use the original text. Secrets are hidden in text that is kept, and the text is cut only
//! afterwards: half a secret is not found.

mod form;
mod view;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::Url;

use self::form::Form;
use self::view::View;
use super::Secret;

/// The replacement of a secret.
const SECRET: &str = "[secret]";
/// The replacement of a text in which a secret cannot be located.
const WITHHELD: &str = "[text withheld: a secret in it could not be located]";
/// The shortest part of a URL or header that is hidden: a shorter one may be a part of plain words.
const SHORTEST_PART_BYTES: usize = 6;
/// The rounds of unescaping: servers escape an echo once, gateways and loggers once more each.
const ROUNDS: usize = 3;
/// The longest text that is searched: larger than any response that is read. A longer one is withheld.
const LONGEST_TEXT_BYTES: usize = 2 << 20;

/// Secrets that must not appear in any text that is kept. A clone shares the memory.
#[derive(Clone, Default)]
pub struct Hidden(Vec<Arc<Secrets>>);

/// Some secrets; their forms are computed when the first long enough text arrives.
#[derive(Default)]
struct Secrets {
    secrets: Vec<String>,
    shortest_bytes: usize,
    search: OnceLock<Option<Search>>,
}

/// All forms of some secrets, and the automaton that finds them in one pass.
struct Search {
    forms: Vec<Form>,
    automaton: AhoCorasick,
}

/// The hidden parts of a text, in order and without overlaps, and the number of examined bytes.
#[derive(Default)]
struct Found {
    ranges: Vec<Range<usize>>,
    steps: usize,
}

impl Hidden {
    /// These secrets; empty ones are left out.
    pub fn new<T: Into<String>>(secrets: impl IntoIterator<Item = T>) -> Self {
        Self::default().and(secrets)
    }

    /// These secrets too.
    #[must_use]
    pub fn and<T: Into<String>>(&self, secrets: impl IntoIterator<Item = T>) -> Self {
        let filled = secrets.into_iter().map(Into::into).filter(|secret| !secret.is_empty());
        let mut secrets: Vec<String> = filled.collect();
        secrets.sort();
        secrets.dedup();
        let mut all = self.0.clone();
        if let Some(shortest_bytes) = secrets.iter().map(|secret| form::shortest_bytes(secret)).min() {
            all.push(Arc::new(Secrets { secrets, shortest_bytes, search: OnceLock::new() }));
        }
        Self(all)
    }

    /// The text without secrets.
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.found(text) {
            Some(found) if found.ranges.is_empty() => Cow::Borrowed(text),
            found => Cow::Owned(replaced(text, 0..text.len(), found)),
        }
    }

    /// A part of the text without secrets, and without those that overlap it. If the text was cut, the
    /// part must keep a distance from the cut: half a secret is not found.
    pub fn hide_part(&self, text: &str, part: Range<usize>) -> String {
        replaced(text, part, self.found(text))
    }

    /// The places of all secrets in the text; `None`: the text cannot be searched.
    fn found(&self, text: &str) -> Option<Found> {
        let mut found = Found::default();
        let secrets = self.0.iter().filter(|secrets| secrets.shortest_bytes <= text.len());
        let searches: Vec<&Search> = secrets.map(|secrets| secrets.search()).collect::<Option<_>>()?;
        if searches.is_empty() {
            return Some(found);
        }
        if text.len() > LONGEST_TEXT_BYTES {
            return None;
        }
        let as_it_came = View::of(text);
        let quoted = as_it_came.quoted_printable_decoded();
        let decoded = as_it_came.joined().as_ref().unwrap_or(&as_it_came).base64_decoded();
        // An echo inside of base64 counts as unescaped once.
        let rounds_of =
            |view, first| (first..).zip(std::iter::successors(view, View::unescaped)).take(1 + ROUNDS);
        let rounds =
            rounds_of(Some(as_it_came), 0).chain(quoted.map(|view| (1, view))).chain(rounds_of(decoded, 1));
        for (round, view) in rounds {
            let more = [view.joined(), view.stripped(), view.hex_joined()];
            for view in std::iter::once(view).chain(more.into_iter().flatten()) {
                found.steps += view.bytes.len();
                searches.iter().for_each(|search| search.add(&view, round, &mut found));
            }
        }
        found.merge(text);
        Some(found)
    }
}

impl Secrets {
    fn search(&self) -> Option<&Search> {
        self.search.get_or_init(|| Search::new(&self.secrets)).as_ref()
    }
}

impl Search {
    fn new(secrets: &[String]) -> Option<Self> {
        let forms = form::all(secrets);
        let patterns = forms.iter().map(|form| &form.folded);
        // The kind that is built fastest: few texts are searched for most secrets.
        let automaton =
            AhoCorasick::builder().kind(Some(AhoCorasickKind::NoncontiguousNFA)).build(patterns).ok()?;
        Some(Self { forms, automaton })
    }

    fn add(&self, view: &View, round: usize, found: &mut Found) {
        let folded: Vec<u8> = view.bytes.iter().copied().map(form::folded).collect();
        for matched in self.automaton.find_overlapping_iter(&folded) {
            found.steps += 1;
            let form = &self.forms[matched.pattern().as_usize()];
            if round <= form.rounds {
                let matched = form.with_its_edges(&view.bytes, matched.range());
                found.add(view.origin(matched));
            }
        }
    }
}

impl Found {
    /// Adds a match. Matches arrive in the order of their ends, so those of a repeated secret are joined at
    /// once.
    fn add(&mut self, range: Range<usize>) {
        match self.ranges.last_mut() {
            Some(last) if range.start <= last.end && last.start <= range.end => {
                *last = last.start.min(range.start)..last.end.max(range.end);
            }
            Some(_) | None => self.ranges.push(range),
        }
    }

    fn merge(&mut self, text: &str) {
        let mut ranges = std::mem::take(&mut self.ranges);
        ranges.sort_unstable_by_key(|range| (range.start, range.end));
        for range in ranges {
            // An escape may encode a part of a character.
            self.add(text.floor_char_boundary(range.start)..text.ceil_char_boundary(range.end));
        }
    }
}

fn replaced(text: &str, part: Range<usize>, found: Option<Found>) -> String {
    let Some(found) = found else { return WITHHELD.to_owned() };
    let start = text.floor_char_boundary(part.start);
    let end = text.floor_char_boundary(part.end).max(start);
    let mut reported = String::new();
    let mut from = start;
    for range in found.ranges.into_iter().filter(|range| range.end > start && range.start < end) {
        reported.push_str(text.get(from..range.start.max(from)).unwrap_or_default());
        reported.push_str(SECRET);
        from = range.end;
    }
    reported.push_str(text.get(from..end).unwrap_or_default());
    reported
}

/// The login of a URL, decoded: the user, the password, and `user:password`. Short parts are left out.
fn of_login(url: &Url) -> impl Iterator<Item = String> + use<> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user = decoded(url.username());
    let password = decoded(url.password().unwrap_or_default());
    let both =
        if user.is_empty() && password.is_empty() { String::new() } else { format!("{user}:{password}") };
    [user, password, both].into_iter().filter(|part| part.len() >= SHORTEST_PART_BYTES)
}

/// The login in the URL of a proxy.
pub fn of_proxy(proxy: &Secret) -> impl Iterator<Item = String> + use<> {
    Url::parse(proxy.expose()).into_iter().flat_map(|url| of_login(&url))
}

/// Everything of a URL but its host, as a whole and in parts.
pub fn of_url(url: &Url) -> impl Iterator<Item = String> {
    let query = url.query().unwrap_or_default();
    let target = format!("{}?{query}", url.path());
    let whole = [url.as_str(), &target, url.path(), query].map(str::to_owned);
    // `/bot123:token/` and `?sign=a=b` hold a secret behind the first separator.
    let in_path = url.path_segments().into_iter().flatten();
    let in_path = in_path.flat_map(|segment| [segment, segment.split_once(':').unwrap_or_default().1]);
    let in_query = query.split('&').flat_map(|pair| [pair.split_once('=').unwrap_or_default().1, pair]);
    let parts = in_path.chain(in_query).map(str::to_owned);
    whole.into_iter().chain(parts).filter(|part| part.len() >= SHORTEST_PART_BYTES).chain(of_login(url))
}

/// The value of a header as a whole, its words (`Bearer …`), the pairs of a cookie, and the decoded login of
/// `Basic …`.
pub fn of_header(value: &str) -> impl Iterator<Item = String> {
    let login = value.trim().strip_prefix("Basic ").and_then(|login| STANDARD.decode(login.trim()).ok());
    let login = login.and_then(|login| String::from_utf8(login).ok()).unwrap_or_default();
    let words = value.split_whitespace().chain(value.split([' ', ';', ',', '"']));
    let of_pairs =
        value.split([' ', ';', ',']).filter_map(|pair| Some(pair.split_once('=')?.1.trim_matches('"')));
    let of_login = [login.as_str(), login.split_once(':').unwrap_or_default().1];
    let parts = words.chain(of_pairs).chain([value]).chain(of_login).map(str::to_owned);
    parts.filter(|part| part.len() >= SHORTEST_PART_BYTES).collect::<Vec<_>>().into_iter()
}

impl PartialEq for Hidden {
    fn eq(&self, other: &Self) -> bool {
        let secrets = |hidden: &Self| hidden.0.iter().map(|some| some.secrets.clone()).collect::<Vec<_>>();
        secrets(self) == secrets(other)
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(SECRET)
    }
}
