//! `[accounts.*]`, checked, with their certificates and their credentials.

use std::collections::BTreeMap;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use serde_json::Value;

use super::checks;
use super::credentials::{self, Signing};
use super::environment::Environment;
use super::known::account_keys;
use super::sections::Sections;
use crate::cloud::account::{Account, Config};
use crate::cloud::operations::Api;
use crate::net::{address, ca_file};
use crate::problem::nearest;
use crate::section::KeyPath;

const CREDENTIAL_KEYS: [&str; 4] = ["secret_id", "secret_key", "secret_key_file", "credentials"];
/// The account that exists by credentials alone.
const WITHOUT_SECTION: &str = "default";

/// All accounts; an account with an error is reported and left out.
pub fn resolve(
    sections: &mut Sections<'_>,
    merged: &Value,
    environment: &Environment,
) -> BTreeMap<String, Account> {
    let mut accounts = BTreeMap::new();
    for (name, table) in sections.named("accounts", merged) {
        let at: KeyPath = vec!["accounts".to_owned(), name.clone()];
        let Some(config) = sections.section::<Config>(&at, table, &account_keys(), checks::account) else {
            continue;
        };
        let endpoint = config.endpoint.as_deref().map(checks::endpoint).transpose();
        let endpoint = endpoint.unwrap_or_else(|what| {
            sections.report(&at, "endpoint", what);
            None
        });
        if let Some(Err(what)) = config.proxy.as_ref().map(|proxy| {
            address::proxy(proxy.expose(), endpoint.as_ref().map(|endpoint| (endpoint, "endpoint")))
        }) {
            sections.report(&at, "proxy", what);
        }
        let usual = Config::default();
        for (key, is_written) in [
            ("method", config.method != usual.method),
            ("signature_method", config.signature_method != usual.signature_method),
        ] {
            if config.api == Api::V3 && is_written {
                sections.doubt(&at, key, "has no effect with api = \"3.0\"; remove it");
            }
        }
        let ca = config.ca_file.as_deref().map(certificates).transpose().unwrap_or_else(|what| {
            sections.report(&at, "ca_file", what);
            None
        });
        // A key that was left out as wrong, or is misspelt, would be reported again as missing.
        if sections.reported_keys(&at).iter().any(|key| nearest(key, CREDENTIAL_KEYS).is_some()) {
            continue;
        }
        let Some(signing) = credentials::of_account(sections, &at, &config, environment) else { continue };
        accounts.insert(name.clone(), account(name, config, endpoint, ca.unwrap_or_default(), signing));
    }
    if accounts.is_empty() && merged.get("accounts").is_none() {
        let mut doubts = Vec::new();
        match credentials::without_section(environment, &mut |doubt| doubts.push(doubt)) {
            Ok(Some(signing)) => {
                let account =
                    account(WITHOUT_SECTION.to_owned(), Config::default(), None, Vec::new(), signing);
                accounts.insert(account.name.clone(), account);
            }
            Ok(None) => {}
            Err(problem) => sections.report_problem(problem),
        }
        doubts.into_iter().for_each(|doubt| sections.doubt(&[], "", doubt));
    }
    accounts
}

fn account(
    name: String,
    config: Config,
    endpoint: Option<reqwest::Url>,
    ca: Vec<CertificateDer<'static>>,
    (credentials, kept_in): Signing,
) -> Account {
    Account {
        name,
        region: config.region,
        secret_id: credentials.secret_id,
        secret_key: credentials.secret_key,
        credentials_file: kept_in,
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
        ca_file: config.ca_file,
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    if file.as_os_str().is_empty() {
        return Err("is empty; write the file's path".to_owned());
    }
    ca_file::read(file)
}
