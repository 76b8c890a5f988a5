//! A secret in a file of its own; and the reading of any file with secrets.

use std::path::Path;

use super::Secret;
use crate::files;

/// No secret is as long; a larger file is another kind of file.
const LARGEST_BYTES: u64 = 64 * 1024;
/// The mode bit that lets every user of the machine read the file.
const READABLE_BY_OTHERS: u32 = 0o004;

/// Reads a secret of one line, such as a key or an address: a second line would be taken for a part of it.
pub fn line(path: &Path, mut doubt: impl FnMut(String)) -> Result<Secret, String> {
    let secret = read(path, &mut doubt)?;
    let text = secret.expose().trim();
    if text.contains(['\r', '\n']) {
        return Err(format!(
            "{} holds more than one line; write the secret alone into it, on one line",
            path.display()
        ));
    }
    if text.contains(char::is_whitespace) {
        doubt(format!(
            "the secret in {} holds blanks; write the secret alone into it, without its name",
            path.display()
        ));
    }
    Ok(secret)
}

/// Reads a secret, without trailing line ends and a BOM. Neither errors nor warnings repeat the content.
pub fn read(path: &Path, mut doubt: impl FnMut(String)) -> Result<Secret, String> {
    let shown = path.display();
    let text = text(path, &mut doubt)?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.trim().is_empty() {
        return Err(format!("{shown} is empty; write the secret into it"));
    }
    if secret.trim() != secret {
        doubt(format!(
            "the secret in {shown} begins or ends with blanks; remove them if they are not a part of it"
        ));
    }
    Ok(Secret::new(secret))
}

/// The text of a file with secrets, without a BOM. Neither errors nor warnings repeat the content.
pub fn text(path: &Path, doubt: &mut dyn FnMut(String)) -> Result<String, String> {
    let shown = path.display();
    let files::FileContent { bytes, mode } =
        files::read(path, LARGEST_BYTES).map_err(|error| error.at(path))?;
    if is_open_to_all(mode) {
        doubt(format!("everyone on this machine can read {shown}; chmod o-r it"));
    }
    let text =
        String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8 text; save it as UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Whether every user of this machine can read a file of that mode.
pub fn is_open_to_all(mode: u32) -> bool {
    mode & READABLE_BY_OTHERS != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_and_a_bom_are_no_part_of_a_secret_other_blanks_are_and_a_second_line_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (written, wanted) in [
            ("abc", "abc"),
            ("abc\r\n\n", "abc"),
            ("\u{feff}abc\n", "abc"),
            (" a b ", " a b "),
            ("${A}\n", "${A}"),
        ] {
            std::fs::write(&path, written).unwrap();
            assert_eq!(read(&path, drop), Ok(Secret::new(wanted)), "{written:?}");
        }
        for two in ["id\nkey\n", "key\n\n# comment", "a\rb"] {
            std::fs::write(&path, two).unwrap();
            let reported = line(&path, drop).unwrap_err();
            assert!(
                reported
                    .ends_with("key holds more than one line; write the secret alone into it, on one line"),
                "{reported}"
            );
            assert!(read(&path, drop).is_ok(), "a private key of TLS has many");
        }
        std::fs::write(&path, "secret_key = abc\n").unwrap();
        let mut doubts = Vec::new();
        assert!(line(&path, |doubt| doubts.push(doubt)).is_ok());
        assert!(
            doubts.iter().any(|doubt| doubt.contains("holds blanks; write the secret alone")),
            "{doubts:?}"
        );
        for empty in ["", "\n", " \r\n", "\u{feff}"] {
            std::fs::write(&path, empty).unwrap();
            assert!(read(&path, drop).unwrap_err().contains("is empty"), "{empty:?}");
        }
    }
}
