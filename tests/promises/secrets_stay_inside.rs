//! No secret key, token or signature in any output.

use opwatch::cloud::{Cloud, connection};
use opwatch::sim::{self, SECRET_KEY, Scenario};

use crate::support::receiver::{Receiver, ReceiverResponse};
use crate::support::{Home, cloud, output_of};

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_printed_at_trace_with_every_kind_of_fault() {
    let faults = vec![
        sim::SimResponse::page(502, "bad gateway"),
        sim::SimResponse::cut(),
        sim::SimResponse::raw("garbage"),
        sim::SimResponse::refusal(4100, "signature mismatch"),
        sim::SimResponse::page(302, "elsewhere"),
        sim::SimResponse::status(1),
    ];
    let cloud = cloud(Scenario {
        token: Some(opwatch::secret::Secret::new("the-token")),
        ..Scenario::default().with_task(1, faults)
    })
    .await;
    let receiver = Receiver::start().await;
    receiver.respond_next([
        ReceiverResponse::Cut,
        ReceiverResponse::status(500),
        ReceiverResponse::says(429, "hooks/robot-key"),
    ]);
    let hook = format!(
        "[sinks.hook]\ntype = \"webhook\"\nurl = \"http://{}/hooks/robot-key?access_token=robot-token\"\n\
         retry = {{ initial = \"10ms\", max = \"20ms\" }}\nheaders = {{ X-Key = \"header-key\" }}\n\
         secrets = [\"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\"]\n",
        receiver.addr
    );
    let home = Home::new(&cloud, &hook);
    home.edit("secret_id = \"AKIDsimulator\"\nsecret_key_file = \"secret_key\"\n", "");
    home.list([1]);
    let mut command = home.opwatch(&["run", "-c", "opwatch.toml", "--until-done"]);
    command
        .env("RUST_LOG", "trace")
        .env("TENCENTCLOUD_SECRET_ID", "AKIDsimulator")
        .env("TENCENTCLOUD_TOKEN", "the-token");
    let ended = output_of(command.env("TENCENTCLOUD_SECRET_KEY", SECRET_KEY).spawn().unwrap()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("poll failed"), "trace shows polls: {}", ended.stderr);
    assert!(receiver.got().len() >= 4, "every answer was given: {}", ended.stderr);
    let own = receiver.got().pop().unwrap().header("webhook-signature").to_owned();
    let of_hook = ["robot-key", "robot-token", "header-key", "C2FVsBQIhrscChlQIMV", own.as_str()];
    for secret in [SECRET_KEY, "the-token", "Signature="].into_iter().chain(of_hook) {
        assert!(
            !ended.stderr.contains(secret) && !ended.stdout.contains(secret),
            "{secret} in {}",
            ended.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_echoes_of_a_request_is_reported_without_its_token() {
    let spelled: Vec<String> = SPELLINGS.iter().map(|(_, spell)| spell(TOKEN)).collect();
    let echo = spelled.join(" ");
    let responses = vec![
        sim::SimResponse::refusal(6000, &echo),
        sim::SimResponse::raw(&serde_json::json!({ "code": 0, "data": { "status": echo } }).to_string()),
        sim::SimResponse::status(1),
    ];
    let cloud = cloud(Scenario {
        token: Some(opwatch::secret::Secret::new(TOKEN)),
        ..Scenario::default().with_task(1, responses)
    })
    .await;
    let home = Home::new(&cloud, "");
    home.edit("secret_id = \"AKIDsimulator\"\nsecret_key_file = \"secret_key\"\n", "");
    home.list([1]);
    let mut command = home.opwatch(&["run", "-c", "opwatch.toml", "--until-done"]);
    command
        .env("TENCENTCLOUD_SECRET_ID", "AKIDsimulator")
        .env("TENCENTCLOUD_TOKEN", TOKEN)
        .env("TENCENTCLOUD_SECRET_KEY", SECRET_KEY);
    let ended = output_of(command.spawn().unwrap()).await;
    assert!(ended.code == Some(0) && ended.stderr.contains("[secret]"), "{}", ended.stderr);
    let files = std::fs::read_dir(home.path("")).unwrap().map(|entry| entry.unwrap().path());
    let texts = files.map(|file| String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned());
    for text in texts.chain([ended.stdout, ended.stderr]) {
        let found = spelled.iter().find(|spelled| text.contains(spelled.as_str()));
        assert!(found.is_none(), "{found:?} in {text}");
    }
}

const SIGNATURE: &str = "nPVnY6njQmwQ8ciqbPl5Qe+O/u4=";
const HEX_SIGNATURE: &str = "2230eefd229f582d8b1b891af7107b91597240707d778ab3738f756258d7652c";
const TOKEN: &str = "tok+en/SE CRET==";
const KEY: &str = "Gu5t9xGARNpq86cd/98joQYCN3+Cozk1";
const PROXY_LOGIN: &str = "proxyuser:p/ss+word?";
const PATH_PART: &str = "robot/key=1+2";
const QUERY_PART: &str = "a&b<c>\"d'e\\f";
const HEADER: &str = "Zm9v+YmFy/cXV4=";
const SIGNING: &str = "C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const URL_LOGIN: &str = "hookuser:hook p@ss";

/// A spelling: its name, and what a sender makes of a secret.
type Spelling = (&'static str, fn(&str) -> String);

fn each(secret: &str, spell: impl Fn(char) -> String) -> String {
    secret.chars().map(spell).collect()
}

/// The same where it is no letter and no digit.
fn others(secret: &str, spell: impl Fn(char) -> String) -> String {
    each(secret, |letter| if letter.is_ascii_alphanumeric() { letter.into() } else { spell(letter) })
}

fn percent(secret: &str) -> String {
    others(secret, |letter| format!("%{:02X}", u32::from(letter)))
}

fn entity(letter: char) -> String {
    let name = match letter {
        '&' => "amp",
        '<' => "lt",
        '>' => "gt",
        '"' => "quot",
        '\'' => "apos",
        '+' => "plus",
        '/' => "sol",
        '=' => "equals",
        '?' => "quest",
        ':' => "colon",
        '@' => "commat",
        '\\' => "bsol",
        other => return other.into(),
    };
    format!("&{name};")
}

fn json(secret: &str) -> String {
    let quoted = serde_json::Value::from(secret).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn base64(secret: &str, url_safe: bool, padded: bool) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    match (url_safe, padded) {
        (false, true) => STANDARD.encode(secret),
        (false, false) => STANDARD_NO_PAD.encode(secret),
        (true, true) => URL_SAFE.encode(secret),
        (true, false) => URL_SAFE_NO_PAD.encode(secret),
    }
}

/// Another spelling for each character in turn.
fn mixed(secret: &str) -> String {
    let spelled = secret.chars().enumerate().map(|(position, letter)| {
        let code = u32::from(letter);
        match position % 6 {
            0 => format!("%{code:02x}"),
            1 => format!("\\u{code:04X}"),
            2 => format!("&#{code};"),
            3 => format!("&#x{code:X};"),
            4 => format!("%25{code:02x}"),
            _ if letter.is_ascii_alphanumeric() => letter.into(),
            _ => format!("%{code:02X}"),
        }
    });
    spelled.collect()
}

const SPELLINGS: &[Spelling] = &[
    ("as it is", str::to_owned),
    ("in the other case", |secret| secret.to_ascii_uppercase()),
    ("percent-encoded, upper case", percent),
    ("percent-encoded, lower case", |secret| others(secret, |letter| format!("%{:02x}", u32::from(letter)))),
    ("percent-encoded to the last letter", |secret| {
        each(secret, |letter| format!("%{:02x}", u32::from(letter)))
    }),
    ("percent-encoded twice", |secret| percent(&percent(secret))),
    ("percent-encoded three times", |secret| percent(&percent(&percent(secret)))),
    ("as a form", |secret| percent(secret).replace("%20", "+")),
    ("with a blank for each plus", |secret| secret.replace('+', " ")),
    ("as JSON", json),
    ("as JSON with \\/", |secret| json(secret).replace('/', "\\/")),
    ("as JSON with \\u003d", |secret| others(secret, |letter| format!("\\u{:04x}", u32::from(letter)))),
    ("as JSON with \\u003D", |secret| others(secret, |letter| format!("\\u{:04X}", u32::from(letter)))),
    ("as JSON in JSON", |secret| json(&others(secret, |letter| format!("\\u{:04x}", u32::from(letter))))),
    ("with named entities", |secret| each(secret, entity)),
    ("with decimal entities", |secret| others(secret, |letter| format!("&#{};", u32::from(letter)))),
    ("with hexadecimal entities", |secret| others(secret, |letter| format!("&#x{:x};", u32::from(letter)))),
    ("with padded entities", |secret| others(secret, |letter| format!("&#X00{:X};", u32::from(letter)))),
    ("with entities of entities", |secret| each(secret, entity).replace('&', "&amp;")),
    ("with percent-encoded entities", |secret| percent(&each(secret, entity))),
    ("in base64", |secret| base64(secret, false, true)),
    ("in base64 without padding", |secret| base64(secret, false, false)),
    ("in url-safe base64", |secret| base64(secret, true, true)),
    ("in url-safe base64 without padding", |secret| base64(secret, true, false)),
    ("with the url-safe alphabet", |secret| secret.replace('+', "-").replace('/', "_")),
    ("in percent-encoded base64", |secret| percent(&base64(secret, false, true))),
    ("percent-encoded in base64", |secret| base64(&percent(secret), false, true)),
    ("mixed", mixed),
    // Beyond those of the field reports.
    ("in hexadecimal", |secret| secret.bytes().map(|byte| format!("{byte:02x}")).collect()),
    ("as JavaScript", |secret| others(secret, |letter| format!("\\x{:02x}", u32::from(letter)))),
    ("as JavaScript with braces", |secret| {
        others(secret, |letter| format!("\\u{{{:x}}}", u32::from(letter)))
    }),
    ("in octal", |secret| others(secret, |letter| format!("\\{:03o}", u32::from(letter)))),
    ("quoted for a shell", |secret| others(secret, |letter| format!("\\{letter}"))),
    ("with %u", |secret| others(secret, |letter| format!("%u{:04x}", u32::from(letter)))),
    ("quoted-printable", |secret| others(secret, |letter| format!("={:02X}", u32::from(letter)))),
    ("on two lines", |secret| format!("{}\r\n {}", &secret[..7], &secret[7..])),
];

/// The configuration whose secrets are echoed. Values are written as a URL or TOML demands.
fn configuration(receiver: &std::net::SocketAddr) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let url = format!(
        "http://{}@{receiver}/{}/hook?key={}",
        URL_LOGIN.replace("@ss", "%40ss").replace(' ', "%20"),
        PATH_PART.replace('/', "%2F"),
        percent(QUERY_PART)
    );
    let proxy = PROXY_LOGIN.replace("p/ss+word?", "p%2Fss%2bword%3F");
    format!(
        "[accounts.default]\nregion = 'bj'\nsecret_id = 'AKID'\nsecret_key = '{KEY}'\nproxy = 'http://{proxy}@127.0.0.1:1'\n\
         [sinks.hook]\ntype = 'webhook'\nurl = {}\nheaders = {{ X-Key = '{HEADER}' }}\nsecrets = ['whsec_{SIGNING}']\n\
         [sinks.page]\ntype = 'exec'\ncommand = ['/bin/sh', '-c', 'cat; exit 1']\n",
        quoted(&url)
    )
}

fn loaded(folder: &std::path::Path, receiver: &std::net::SocketAddr) -> opwatch::config::Loaded {
    let file = folder.join("opwatch.toml");
    std::fs::write(&file, configuration(receiver)).unwrap();
    let environment = std::iter::empty::<(String, String)>().collect();
    let mut loaded = opwatch::config::load(&file, &environment).unwrap_or_else(|wrong| panic!("{wrong:#?}"));
    let account = loaded.accounts.get_mut("default").unwrap();
    account.token = Some(opwatch::secret::Secret::new(TOKEN));
    loaded
}

/// Every text of a response that is kept, by entrance.
fn kept(cloud: &Cloud, signature: &str, text: &str) -> Vec<(&'static str, String)> {
    use opwatch::model::task::Target;
    let quoted = serde_json::Value::from(text);
    let read = |operation: &str, body: String| {
        let target =
            Target { account: "default".into(), region: "ap-beijing".into(), operation: operation.into() };
        let signature = opwatch::secret::Secret::new(signature);
        cloud.route(&target).unwrap().understood(200, None, body.as_bytes(), &signature)
    };
    let refused_2_0 = read("bm", format!(r#"{{"code":{quoted},"message":{quoted}}}"#)).unwrap_err();
    let refused_3_0 =
        read("bm3", format!(r#"{{"Response":{{"Error":{{"Code":{quoted},"Message":{quoted}}}}}}}"#))
            .unwrap_err();
    let instances = format!(r#"[{{"instanceId":{quoted},"status":{quoted}}}]"#);
    let reading =
        read("bm", format!(r#"{{"code":0,"data":{{"status":{quoted},"instanceIds":{instances}}}}}"#))
            .unwrap();
    let reading_3_0 = read("bm3", format!(r#"{{"Response":{{"TaskStatus":{quoted}}}}}"#)).unwrap();
    vec![
        ("2.0 code", refused_2_0.code.to_string()),
        ("2.0 message", refused_2_0.message),
        ("3.0 code", refused_3_0.code.to_string()),
        ("3.0 message", refused_3_0.message),
        ("2.0 status", reading.status.to_string()),
        ("instance", reading.instances[0].id.clone()),
        ("status of an instance", reading.instances[0].status.to_string()),
        ("3.0 status", reading_3_0.status.to_string()),
    ]
}

fn event(text: &str) -> opwatch::model::event::Event {
    use opwatch::model::event::{Event, Kind};
    Event::stored(uuid::Uuid::from_u128(1), Kind::Finished, opwatch::clock::Wall(0), text.to_owned())
}

/// The signature of an attempt, and the message for a response that repeats it. It changes each second, so
/// the receiver tries until it repeats the one of the same attempt.
async fn echoed_signature(
    receiver: &Receiver,
    hook: &dyn opwatch::sinks::Sink,
    spell: &dyn Fn(&str) -> String,
) -> (String, String) {
    let signature =
        || receiver.got().pop().unwrap().header("webhook-signature").strip_prefix("v1,").unwrap().to_owned();
    loop {
        let expected = signature();
        receiver.response(ReceiverResponse::says(400, &format!("begin {} end", spell(&expected))));
        let refusal = hook.send(&[event("{}")]).await.unwrap_err();
        if signature() == expected {
            return (expected, refusal.what);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_any_secret_passes_any_entrance() {
    use opwatch::sinks::{self, Sink};
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().unwrap();
    let loaded = loaded(folder.path(), &receiver.addr);
    let timeout = std::time::Duration::from_secs(1);
    let cloud = Cloud::new(loaded.accounts, loaded.operations, timeout, connection::pools).unwrap();
    let clock = opwatch::clock::Clock::start();
    let style = sinks::LineStyle::without_number(opwatch::telemetry::ResolvedFormat::Text);
    let build = |name: &str| sinks::build(&loaded.sinks[name], name, &style, clock).unwrap();
    let (hook, page): (Box<dyn Sink>, Box<dyn Sink>) = (build("hook"), build("page"));
    let mut seen = 0;
    for (spelling, spell) in SPELLINGS {
        let check = |entrance: &str, secret: &str, reported: &str| {
            assert!(
                reported.contains("begin [secret] end") && !reported.contains(&secret[..6]),
                "{secret} {spelling}, {entrance}: {reported}"
            );
        };
        for secret in [SIGNATURE, HEX_SIGNATURE, TOKEN, KEY, PROXY_LOGIN] {
            let signature = if secret == HEX_SIGNATURE { HEX_SIGNATURE } else { SIGNATURE };
            for (entrance, reported) in kept(&cloud, signature, &format!("begin {} end", spell(secret))) {
                check(entrance, secret, &reported);
                seen += 1;
            }
        }
        for secret in [PATH_PART, QUERY_PART, HEADER, SIGNING, URL_LOGIN] {
            receiver.response(ReceiverResponse::says(400, &format!("begin {} end", spell(secret))));
            let refusal = hook.send(&[event("{}")]).await.unwrap_err();
            check("words of a receiver", secret, &refusal.what);
        }
        let signature = echoed_signature(&receiver, hook.as_ref(), spell).await;
        check("words of a receiver about its request", &signature.0, &signature.1);
        for secret in [KEY, PROXY_LOGIN, PATH_PART, QUERY_PART, HEADER, SIGNING, URL_LOGIN] {
            let refusal = page.send(&[event(&format!("begin {} end", spell(secret)))]).await.unwrap_err();
            check("output of a program", secret, &refusal.what);
        }
    }
    assert_eq!(seen, SPELLINGS.len() * 5 * 8);
}
