use super::*;

const SIGNATURE: &str = "nPVnY6njQmwQ8ciqbPl5Qe+Oru/=";

#[test]
fn a_secret_inside_a_longer_base64_text_is_hidden_wherever_its_block_begins() {
    let hidden = Hidden::new([SIGNATURE]);
    for before in ["", "u", "us", "use", "user"] {
        for after in ["", "x", "xy", "xyz"] {
            let text = STANDARD.encode(format!("{before}{SIGNATURE}{after}"));
            let reported = hidden.hide(&text).replace(SECRET, "");
            // At most the whole blocks around it are left.
            assert!(reported.trim_end_matches('=').len() <= 2 * 4 + 2, "{before:?} {after:?}: {reported}");
            let left = STANDARD.decode(&text).unwrap().len();
            assert!(left >= SIGNATURE.len() && !text.contains(SIGNATURE));
        }
    }
}

#[test]
fn a_short_secret_is_hidden_as_it_is_and_escaped_once_and_never_by_chance() {
    let hidden = Hidden::new(["hunter+"]);
    for text in ["hunter+", "HUNTER+", "hunter%2b", "hunter\\u002B", "hunter&plus;", "hunter&#43;"] {
        assert_eq!(hidden.hide(text), SECRET, "{text}");
    }
    for text in ["hunter%252b", "aHVudGVyKw==", "hunte", "68756e7465722b"] {
        assert_eq!(hidden.hide(text), text);
    }
}

#[test]
fn text_without_a_secret_stays_as_it_came() {
    let hidden = Hidden::new([SIGNATURE, "tok en/secret", "https://h/a%2Fb"]);
    for text in ["", "%", "\\", "&", "\\u", "&#x;", "%u12", "100 % of &lt;b&gt; \\n 机器\u{1f600} =3D =\n="]
    {
        assert_eq!(hidden.hide(text), text);
        assert!(matches!(hidden.hide(text), Cow::Borrowed(_)));
    }
    assert_eq!(Hidden::default().hide(SIGNATURE), SIGNATURE);
    assert_eq!(Hidden::new(["", ""]).hide("a"), "a");
}

#[test]
fn a_secret_beside_other_characters_is_replaced_alone() {
    let hidden = Hidden::new([SIGNATURE, "机器机器机器"]);
    let text = format!("机\u{1f600}{SIGNATURE}机 %E6%9C%BA%E5%99%A8机器机器{SIGNATURE}");
    assert_eq!(hidden.hide(&text), format!("机\u{1f600}{SECRET}机 {SECRET}"));
}

#[test]
fn secrets_that_overlap_are_hidden_to_their_last_byte() {
    let hidden = Hidden::new(["abcdefgh12", "gh12345678"]).and(["345678zzzz"]);
    assert_eq!(hidden.hide("<abcdefgh12345678zzzz>"), format!("<{SECRET}>"));
}

#[test]
fn a_part_of_a_text_has_no_part_of_a_secret() {
    let hidden = Hidden::new([SIGNATURE]);
    let text = format!("before {SIGNATURE} after");
    for start in 0..text.len() {
        for end in start..=text.len() {
            let reported = hidden.hide_part(&text, start..end).replace(SECRET, "");
            assert!("before  after".contains(&reported), "{start}..{end}: {reported}");
        }
    }
}

#[test]
fn a_text_that_is_too_long_to_be_searched_is_withheld() {
    let text = "x".repeat(LONGEST_TEXT_BYTES + 1);
    assert_eq!(Hidden::new([SIGNATURE]).hide(&text), WITHHELD);
    assert_eq!(Hidden::new([SIGNATURE]).hide_part(&text, 0..10), WITHHELD);
}

#[test]
fn the_work_on_a_hostile_text_grows_with_its_length_alone() {
    const PER_BYTE: usize = 2 * (2 + ROUNDS);
    let hidden = Hidden::new([SIGNATURE, "aaaaaaaaaaaaaaaa", "%25%25%25%25%25%25"]);
    for hostile in [
        "%",
        "%2",
        "%25",
        "\\",
        "\\u",
        "\\u005c",
        "\\u{",
        "\\ud83d\\u",
        "&",
        "&#",
        "&#x",
        "&#0",
        "&amp;",
        "&ampamp",
        "a",
        "=",
        "=\n",
        "\r\n ",
        "nPVnY6njQmwQ8ciqbPl5Qe",
        "&#00000000000000000000000000000000000000",
    ] {
        for repeats in [1_000, 10_000] {
            let text = hostile.repeat(repeats);
            let steps = hidden.found(&text).map(|found| found.steps).unwrap();
            // Each byte is examined once in a round, and ends a bounded number of matches.
            assert!(steps <= 2 * PER_BYTE * text.len(), "{hostile:?}: {steps} for {}", text.len());
        }
    }
}

#[test]
fn nothing_of_it_is_shown_in_debug() {
    assert_eq!(format!("{:?}", Hidden::new(["hunter2"])), SECRET);
}

#[test]
fn a_secret_is_hidden_in_every_spelling_that_a_person_can_read_back() {
    use std::fmt::Write as _;
    let encode = |text: &str| STANDARD.encode(text);
    let each = |text: &str, form: &dyn Fn(u8) -> String| text.bytes().map(form).collect::<String>();
    let hex = |bytes: &[u8], separator: &str| {
        let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        bytes.join(separator)
    };
    let between = |text: &str, mark: &str| {
        let mut marked = String::new();
        for letter in text.chars() {
            _ = write!(marked, "{letter}{mark}");
        }
        marked
    };
    for secret in [SIGNATURE, "Gu5t9xGARNpq86cd98joQYCN3Cozk1qA", "p@ss word+1/2=3"] {
        let hidden = Hidden::new([secret]);
        let percent = each(secret, &|byte| format!("%{byte:02x}"));
        let escaped = secret.replace('+', "\\u002b").replace('/', "\\/").replace('=', "\\u003D");
        let entities = each(secret, &|byte| format!("&#{byte};"));
        let decoded = STANDARD.decode(secret).unwrap_or_else(|_| secret.as_bytes().to_vec());
        let spellings = [
            encode(&percent),
            encode(&percent.to_uppercase()),
            encode(&escaped),
            encode(&entities),
            encode(&encode(secret)),
            encode(&hex(secret.as_bytes(), "")),
            encode(&format!("user:{secret}")),
            encode(secret).replace('+', "-").replace('/', "_"),
            encode(secret).trim_end_matches('=').to_owned(),
            hex(secret.as_bytes(), ""),
            hex(secret.as_bytes(), " "),
            hex(secret.as_bytes(), ":"),
            hex(secret.as_bytes(), ", 0x"),
            hex(secret.as_bytes(), "\\x"),
            hex(&decoded, "").to_uppercase(),
            hex(&decoded, "-"),
            each(secret, &|byte| format!("\\U{byte:08x}")),
            each(secret, &|byte| format!("\\{byte:03o}")),
            secret.replace('+', "\\53").replace('=', "\\75").replace('/', "\\57"),
            secret.replace('+', "\\2b ").replace('=', "\\3d ").replace('/', "\\2f "),
            between(secret, "\u{200b}"),
            between(secret, "\u{ad}"),
            between(secret, "\0"),
            between(secret, "\\u0000"),
            between(secret, "\\u200d"),
            between(secret, "<wbr>"),
            between(secret, "&lt;wbr&gt;"),
            secret.replace('+', "+</b><b class=\"x\">"),
        ];
        for spelling in spellings {
            let reported = hidden.hide(&format!("before {spelling} after")).into_owned();
            assert!(reported.contains(SECRET), "{spelling}: {reported}");
            let left = reported.replace(SECRET, "").replace("before", "").replace("after", "");
            let letters = left.chars().filter(char::is_ascii_alphanumeric).count();
            assert!(letters <= 12, "{spelling}: {reported}");
        }
    }
}

#[test]
fn ordinary_text_with_encodings_in_it_stays_as_it_came() {
    let hidden = Hidden::new([SIGNATURE, "Gu5t9xGARNpq86cd98joQYCN3Cozk1qA", "hunter2hunter2"]);
    for text in [
        "{\"Response\":{\"RequestId\":\"1b6e4f27-6b7b-4f4c-9d52-0a7b1c2d3e4f\"}}",
        "de:ad:be:ef:00:01:02:03:04:05:06:07:08:09:0a:0b",
        "TWFueSBoYW5kcyBtYWtlIGxpZ2h0IHdvcmsu and 0123456789abcdef0123456789abcdef",
        "<p>the proxy refused</p> \u{200b}\\x00 \\53 \\2b ",
    ] {
        assert_eq!(hidden.hide(text), text);
    }
}

#[test]
fn the_parts_of_a_header_and_of_a_url_are_secrets_too() {
    let of_header = |value: &str| of_header(value).collect::<Vec<_>>();
    assert!(of_header("session=hunter2; b=1").contains(&"hunter2".to_owned()));
    assert!(of_header("Bearer hunter2,token=\"hunter3\"").contains(&"hunter3".to_owned()));
    let login = format!("Basic {}", STANDARD.encode("me:hunter2"));
    assert!(of_header(&login).contains(&"hunter2".to_owned()));
    let url = "https://h/bot123:hunter2/send?sign=hunter3=x&hunter4".parse().unwrap();
    let parts: Vec<String> = of_url(&url).collect();
    for part in ["hunter2", "hunter3=x", "hunter4"] {
        assert!(parts.iter().any(|known| known == part), "{part}: {parts:?}");
    }
}
