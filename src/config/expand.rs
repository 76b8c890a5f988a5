//! `${NAME}` and `${NAME:-default}` in a string, replaced from the environment.
//!
//! Replacement is not repeated inside of a replaced value: a password may hold any character. `$${` is a
//! literal `${`; any other `$` is literal.

use super::environment::Environment;

/// The text with its variables replaced, or an error. The error repeats only the name.
pub fn expand(text: &str, environment: &Environment) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let before = &rest[..start];
        let after = &rest[start + 2..];
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let Some(end) = after.find('}') else {
            return Err("`${` is not closed; write `${NAME}`, or `$${` for a literal `${`".to_owned());
        };
        let (name, default) = match after[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&after[..end], None),
        };
        if !is_name(name) {
            return Err(
                "`${…}` holds no variable's name; write `${NAME}`, or `$${` for a literal `${`".to_owned()
            );
        }
        // The first `}` ends the variable, so the rest of the inner one would stay in the text.
        if default.is_some_and(|default| default.contains("${")) {
            return Err(format!(
                "the default of `${{{name}:-…}}` holds a `${{`, and a default is plain text; write the text itself, or set {name}"
            ));
        }
        match (environment.get(name), default) {
            (Some(""), Some(default)) | (None, Some(default)) => expanded.push_str(default),
            (Some(value), _) => expanded.push_str(value),
            (None, None) => {
                let why = environment.why_not(name);
                return Err(format!("the variable {name} {why}; set it, or write `${{{name}:-default}}`"));
            }
        }
        rest = &after[end + 1..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        expand(text, &[("A", "1"), ("EMPTY", ""), ("NESTED", "${A}$")].into_iter().collect())
    }

    #[test]
    fn only_names_in_braces_are_replaced_and_only_once() {
        for (text, wanted) in [
            ("", ""),
            ("${A}", "1"),
            ("x${A}y${A}", "x1y1"),
            ("${NESTED}{A}", "${A}${A}"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("$A $ $$ {A} a$", "$A $ $$ {A} a$"),
            ("${NONE:-}", ""),
            ("${NONE:-d:-e}", "d:-e"),
            ("${EMPTY:-d}|${EMPTY}|${A:-d}", "d||1"),
            ("é${A}é", "é1é"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn an_unset_name_an_unclosed_brace_and_a_nested_variable_are_refused() {
        for (text, part) in [
            ("${NONE}", "NONE is not set"),
            ("a${A", "not closed"),
            ("${}", "no variable"),
            ("${a b}", "no variable"),
            ("${1}", "no variable"),
            ("${NONE:-${A}}", "the default of `${NONE:-…}` holds a `${`"),
            ("${A:-x${NONE:-y}}", "a default is plain text; write the text itself, or set A"),
        ] {
            let error = expanded(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
