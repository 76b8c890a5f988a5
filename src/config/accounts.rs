//! `[accounts.*]` with their credentials: from the configuration, else from the SDK's environment variables.

use std::collections::BTreeMap;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use serde_json::Value;

use super::checks;
use super::environment::Environment;
use super::known::account_keys;
use super::sections::Sections;
use crate::cloud::credentials::{Account, Config};
use crate::net::{address, ca_file};
use crate::problem::{Place, Problem, nearest};
use crate::secret::{self, Secret};
use crate::section::KeyPath;

const ID: &str = "TENCENTCLOUD_SECRET_ID";
const KEY: &str = "TENCENTCLOUD_SECRET_KEY";
/// As tccli and as Terraform call it (api.md §4).
const TOKENS: [&str; 2] = ["TENCENTCLOUD_TOKEN", "TENCENTCLOUD_SECURITY_TOKEN"];
const CREDENTIAL_KEYS: [&str; 3] = ["secret_id", "secret_key", "secret_key_file"];
/// The account that the environment alone brings into being.
const FROM_ENVIRONMENT: &str = "default";

/// What signs an account's requests.
struct Credentials {
    secret_id: String,
    secret_key: Secret,
    token: Option<Secret>,
}

/// All accounts; what is wrong with one is told, and that one is missing.
pub fn resolve(sections: &mut Sections<'_>, merged: &Value, environment: &Environment) -> BTreeMap<String, Account> {
    let mut accounts = BTreeMap::new();
    for (name, table) in sections.named("accounts", merged) {
        let at: KeyPath = vec!["accounts".to_owned(), name.clone()];
        let Some(config) = sections.section::<Config>(&at, table, &account_keys(), checks::account) else { continue };
        let endpoint = config.endpoint.as_deref().map(checks::endpoint).transpose();
        let endpoint = endpoint.unwrap_or_else(|what| {
            sections.tell(&at, "endpoint", what);
            None
        });
        if let Some(Err(what)) =
            config.proxy.as_ref().map(|proxy| address::proxy(proxy.expose(), endpoint.as_ref().map(|endpoint| (endpoint, "endpoint"))))
        {
            sections.tell(&at, "proxy", what);
        }
        let ca = config.ca_file.as_deref().map(certificates).transpose().unwrap_or_else(|what| {
            sections.tell(&at, "ca_file", what);
            None
        });
        // A key that was left out as wrong, or is misspelt, would be told once more, as missing.
        if sections.told(&at).iter().any(|key| nearest(key, CREDENTIAL_KEYS).is_some()) {
            continue;
        }
        let Some(credentials) = credentials(sections, &at, &config, environment) else { continue };
        accounts.insert(name.clone(), account(name, config, endpoint, ca.unwrap_or_default(), credentials));
    }
    if accounts.is_empty() && merged.get("accounts").is_none() {
        match from_environment(environment) {
            Ok(found) => {
                let found = found.map(|credentials| account(FROM_ENVIRONMENT.to_owned(), Config::default(), None, Vec::new(), credentials));
                accounts.extend(found.map(|account| (account.name.clone(), account)));
            }
            Err((variable, what)) => {
                sections.tell_problem(Problem::new(Place { key: Some(variable.to_owned()), ..Place::default() }, what))
            }
        }
    }
    accounts
}

fn account(
    name: String,
    config: Config,
    endpoint: Option<reqwest::Url>,
    ca: Vec<CertificateDer<'static>>,
    credentials: Credentials,
) -> Account {
    Account {
        name,
        region: config.region,
        secret_id: credentials.secret_id,
        secret_key: credentials.secret_key,
        secret_key_file: config.secret_key_file,
        token: credentials.token,
        api: config.api,
        endpoint,
        signed_host: config.signed_host,
        signature_method: config.signature_method,
        method: config.method,
        rate_limit: config.rate_limit,
        max_in_flight: config.max_in_flight,
        proxy: config.proxy,
        ca,
    }
}

fn credentials(sections: &mut Sections<'_>, at: &KeyPath, config: &Config, environment: &Environment) -> Option<Credentials> {
    let secret_key = match (&config.secret_key, &config.secret_key_file) {
        (Some(_), Some(_)) => {
            sections.tell(at, "secret_key_file", "stands beside `secret_key`; keep one of the two");
            return None;
        }
        (Some(key), None) if key.expose().trim().is_empty() => {
            sections.tell(at, "secret_key", "is empty; write the key, or leave it out to take it from the environment");
            return None;
        }
        (Some(key), None) => Some(key.clone()),
        (None, Some(file)) => Some(key_from(sections, at, file)?),
        (None, None) => None,
    };
    match (&config.secret_id, secret_key) {
        (Some(id), Some(secret_key)) => Some(Credentials { secret_id: id.clone(), secret_key, token: None }),
        (Some(_), None) => {
            sections.tell(at, "secret_id", "has no key beside it; write `secret_key_file` or `secret_key`");
            None
        }
        (None, Some(_)) => {
            let key = if config.secret_key.is_some() { "secret_key" } else { "secret_key_file" };
            sections.tell(at, key, "has no id beside it; write `secret_id`");
            None
        }
        (None, None) => match from_environment(environment) {
            Ok(Some(credentials)) => Some(credentials),
            Ok(None) => {
                sections.tell(at, "", format!("has no credentials; write `secret_id` and `secret_key_file`, or set {ID} and {KEY}"));
                None
            }
            Err((variable, what)) => {
                sections.tell(at, "", format!("takes its credentials from the environment, but {variable} {what}"));
                None
            }
        },
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    if file.as_os_str().is_empty() {
        return Err("is empty; write the file's path".to_owned());
    }
    ca_file::read(file)
}

fn key_from(sections: &mut Sections<'_>, at: &KeyPath, file: &Path) -> Option<Secret> {
    if file.as_os_str().is_empty() {
        sections.tell(at, "secret_key_file", "is empty; write the file's path");
        return None;
    }
    let secret = secret::file::read(file, |what| sections.doubt(at, "secret_key_file", what));
    secret.map_err(|what| sections.tell(at, "secret_key_file", what)).ok()
}

/// The SDK's variables; half a pair is an error, told of the variable that is there.
fn from_environment(environment: &Environment) -> Result<Option<Credentials>, (&'static str, String)> {
    match (environment.filled(ID), environment.filled(KEY)) {
        (Some(id), Some(key)) => Ok(Some(Credentials {
            secret_id: id.to_owned(),
            secret_key: Secret::new(key),
            token: TOKENS.iter().find_map(|name| environment.filled(name)).map(Secret::new),
        })),
        (Some(_), None) => Err((ID, format!("is set and {KEY} {}; set both", environment.why_not(KEY)))),
        (None, Some(_)) => Err((KEY, format!("is set and {ID} {}; set both", environment.why_not(ID)))),
        (None, None) => Ok(None),
    }
}
