//! An account's credentials: from the configuration, else from the places of the official tools
//! (docs/tencent-cloud-api.md §4).

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::sections::Sections;
use crate::cloud::account::Config;
use crate::cloud::credentials::{CredentialFile, CredentialSource, Credentials, FileFormat};
use crate::files;
use crate::problem::{Place, Problem};
use crate::secret::Secret;
use crate::section::KeyPath;

const ID: &str = "TENCENTCLOUD_SECRET_ID";
const KEY: &str = "TENCENTCLOUD_SECRET_KEY";
/// As tccli and as Terraform call it.
const TOKENS: [&str; 2] = ["TENCENTCLOUD_TOKEN", "TENCENTCLOUD_SECURITY_TOKEN"];
const SDK_FILE: &str = "TENCENTCLOUD_CREDENTIALS_FILE";
const SDK_FILE_OF_USER: &str = ".tencentcloud/credentials";
const SDK_FILE_OF_MACHINE: &str = "/etc/tencentcloud/credentials";
const TCCLI_PROFILE: &str = "TCCLI_PROFILE";
/// Variables with which tccli and Terraform select a role.
const ROLES: [&str; 4] = [
    "TENCENTCLOUD_ROLE_ARN",
    "TENCENTCLOUD_ASSUME_ROLE_ARN",
    "TENCENTCLOUD_CAM_ROLE_NAME",
    "TENCENTCLOUD_ASSUME_ROLE_PROVIDER_ID",
];
/// Variables that give a pod a role. tccli prefers them to a key, the SDKs do not.
const POD_ROLE: [&str; 2] = ["TKE_ROLE_ARN", "TKE_WEB_IDENTITY_TOKEN_FILE"];

/// The credentials, and the file that they came from.
pub type Signing = (Credentials, Option<CredentialFile>);

/// Credentials that exist and are unusable: the variable, if it is one, and the reason.
pub struct UnusableCredentials {
    variable: Option<&'static str>,
    what: String,
}

/// The credentials of this account, or nothing after a reported error.
pub fn of_account(
    sections: &mut Sections<'_>,
    at: &KeyPath,
    config: &Config,
    environment: &Environment,
) -> Option<Signing> {
    let written = ["secret_id", "secret_key", "secret_key_file"];
    let is_written =
        [config.secret_id.is_some(), config.secret_key.is_some(), config.secret_key_file.is_some()];
    let first_written =
        written.into_iter().zip(is_written).find_map(|(key, is_written)| is_written.then_some(key));
    match (config.credentials, first_written) {
        (CredentialSource::Auto | CredentialSource::Config, Some(_)) => written_ones(sections, at, config),
        (CredentialSource::Env | CredentialSource::File | CredentialSource::Tccli, Some(key)) => {
            sections.report(
                at,
                key,
                "conflicts with `credentials`, which names another source; leave out one of the two",
            );
            None
        }
        (source, None) => {
            let mut doubts = Vec::new();
            let found = found_elsewhere(source, environment, &mut |doubt| doubts.push(doubt));
            doubts.into_iter().for_each(|doubt| sections.doubt(at, "", doubt));
            match found {
                Ok(Some(signing)) => return Some(signing),
                Ok(None) => sections.report(at, key_of(source), missing(source, environment)),
                Err(UnusableCredentials { variable: Some(variable), what }) => {
                    sections.report(
                        at,
                        "",
                        format!("takes its credentials from the environment, but {variable} {what}"),
                    );
                }
                Err(UnusableCredentials { variable: None, what }) => {
                    sections.report(at, "", format!("takes its credentials from a file, but {what}"))
                }
            }
            None
        }
    }
}

/// The credentials of an account without a section.
///
/// # Errors
/// When there are some that cannot be used.
pub fn without_section(
    environment: &Environment,
    doubt: &mut dyn FnMut(String),
) -> Result<Option<Signing>, Problem> {
    found_elsewhere(CredentialSource::Auto, environment, doubt).map_err(
        |UnusableCredentials { variable, what }| {
            let place = Place { key: variable.map(str::to_owned), ..Place::default() };
            Problem::new(place, what)
        },
    )
}

/// The key at which missing credentials are reported.
fn key_of(source: CredentialSource) -> &'static str {
    match source {
        CredentialSource::Auto => "",
        CredentialSource::Config
        | CredentialSource::Env
        | CredentialSource::File
        | CredentialSource::Tccli => "credentials",
    }
}

/// The places without credentials, and the fix.
fn missing(source: CredentialSource, environment: &Environment) -> String {
    let shown = |files: Vec<PathBuf>| {
        files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" and ")
    };
    match source {
        CredentialSource::Auto => {
            format!(
                "has no credentials; write `secret_id` and `secret_key_file`, or set {ID} and {KEY}, or write ~/{SDK_FILE_OF_USER}"
            )
        }
        CredentialSource::Config => {
            "selects this section as the source; write `secret_id` and `secret_key_file`".to_owned()
        }
        CredentialSource::Env => format!("selects the environment as the source; set {ID} and {KEY}"),
        CredentialSource::File => format!(
            "selects the SDK's file as the source, but {} does not exist; write it, or name another one in the environment variable {SDK_FILE}",
            shown(sdk_files(environment))
        ),
        CredentialSource::Tccli => match tccli_file(environment) {
            Some(file) => {
                format!(
                    "selects tccli as the source, but {} does not exist; run `tccli configure`, or set {TCCLI_PROFILE}",
                    file.display()
                )
            }
            None => format!(
                "selects tccli as the source, but HOME or {TCCLI_PROFILE} names no file; set HOME, and the plain name of a profile"
            ),
        },
    }
}

/// Credentials in the configuration.
fn written_ones(sections: &mut Sections<'_>, at: &KeyPath, config: &Config) -> Option<Signing> {
    let (key, file) = match (&config.secret_key, &config.secret_key_file) {
        (Some(_), Some(_)) => {
            sections.report(at, "secret_key_file", "conflicts with `secret_key`; keep one of the two");
            return None;
        }
        (Some(key), None) if key.expose().trim().is_empty() => {
            sections.report(
                at,
                "secret_key",
                "is empty; write the key, or leave it out to use the environment",
            );
            return None;
        }
        (Some(key), None) => (Some(key.clone()), None),
        (None, Some(file)) => {
            let (key, file) = key_from(sections, at, file)?;
            (Some(key), Some(file))
        }
        (None, None) => (None, None),
    };
    match (&config.secret_id, key) {
        (Some(id), Some(secret_key)) => {
            Some((Credentials { secret_id: id.clone(), secret_key, token: None }, file))
        }
        (Some(_), None) => {
            sections.report(at, "secret_id", "has no SecretKey; write `secret_key_file` or `secret_key`");
            None
        }
        (None, _) => {
            let key = if config.secret_key.is_some() { "secret_key" } else { "secret_key_file" };
            sections.report(at, key, "has no SecretId; write `secret_id`");
            None
        }
    }
}

fn key_from(sections: &mut Sections<'_>, at: &KeyPath, path: &Path) -> Option<(Secret, CredentialFile)> {
    if path.as_os_str().is_empty() {
        sections.report(at, "secret_key_file", "is empty; write the file's path");
        return None;
    }
    let file = CredentialFile { path: path.to_owned(), form: FileFormat::Key };
    let read = file.read("", &mut |what| sections.doubt(at, "secret_key_file", what));
    read.map(|read| (read.secret_key, file)).map_err(|what| sections.report(at, "secret_key_file", what)).ok()
}

/// Credentials elsewhere, from the first source that has any.
fn found_elsewhere(
    source: CredentialSource,
    environment: &Environment,
    doubt: &mut dyn FnMut(String),
) -> Result<Option<Signing>, UnusableCredentials> {
    let (env, sdk, tccli) = match source {
        CredentialSource::Auto => (true, true, true),
        CredentialSource::Config => (false, false, false),
        CredentialSource::Env => (true, false, false),
        CredentialSource::File => (false, true, false),
        CredentialSource::Tccli => (false, false, true),
    };
    if env && let Some(credentials) = from_environment(environment)? {
        no_role(source, environment)?;
        return Ok(Some((credentials, None)));
    }
    let sdk = sdk
        .then(|| sdk_files(environment))
        .into_iter()
        .flatten()
        .map(|path| CredentialFile { path, form: FileFormat::Sdk });
    let tccli = tccli
        .then(|| tccli_file(environment))
        .flatten()
        .map(|path| CredentialFile { path, form: FileFormat::Tccli });
    // A file that is named is used, or reported as missing.
    let is_named = environment.filled(SDK_FILE).is_some();
    let mut files = sdk.chain(tccli);
    let Some(file) = files.find(|file| is_there(&file.path) || file.form == FileFormat::Sdk && is_named)
    else {
        return Ok(None);
    };
    no_role(source, environment)?;
    let credentials = file.read("", doubt).map_err(|what| UnusableCredentials { variable: None, what })?;
    Ok(Some((credentials, Some(file))))
}

/// Refuses variables that select a role: the API key alone is another identity, and tasks of the role would
/// not be found. A configured source decides between a key and the role of a pod.
fn no_role(source: CredentialSource, environment: &Environment) -> Result<(), UnusableCredentials> {
    let is_set = |variable: &&&str| environment.filled(variable).is_some();
    if let Some(variable) = ROLES.iter().find(is_set) {
        let what = "selects a role, which is not supported, and the API key alone is another identity; unset it for opwatch, or write `secret_id` and `secret_key_file`";
        return Err(UnusableCredentials { variable: Some(variable), what: what.to_owned() });
    }
    if source == CredentialSource::Auto && POD_ROLE.iter().all(|variable| is_set(&variable)) {
        let what = "selects the role of this pod, which is not supported, beside an API key; unset it for opwatch, or set `credentials` to the source of the key";
        return Err(UnusableCredentials { variable: Some(POD_ROLE[0]), what: what.to_owned() });
    }
    Ok(())
}

/// The places of the SDK's file, in this order.
fn sdk_files(environment: &Environment) -> Vec<PathBuf> {
    match environment.filled(SDK_FILE) {
        Some(named) => vec![named.into()],
        None => {
            let of_user = environment.filled("HOME").map(|home| Path::new(home).join(SDK_FILE_OF_USER));
            of_user.into_iter().chain([SDK_FILE_OF_MACHINE.into()]).collect()
        }
    }
}

/// The file of the profile in use. A profile is a plain name.
fn tccli_file(environment: &Environment) -> Option<PathBuf> {
    let profile = environment.filled(TCCLI_PROFILE).unwrap_or("default");
    let folder = Path::new(environment.filled("HOME")?).join(".tccli");
    (!profile.contains('/')).then(|| folder.join(format!("{profile}.credential")))
}

/// A file that cannot be checked exists: reading it reports the reason.
fn is_there(path: &Path) -> bool {
    !files::metadata(path).is_err_and(|error| error.is_missing())
}

/// The value of a variable without the line ends after it. Quotes, blanks and letters that no credential has are
/// refused: every poll would be.
fn plain<'a>(variable: &'static str, value: &'a str) -> Result<&'a str, UnusableCredentials> {
    let value = value.trim_end_matches(['\r', '\n']);
    let wrong = |what: &str| Err(UnusableCredentials { variable: Some(variable), what: what.to_owned() });
    if value.is_empty() {
        wrong("holds a line end alone; write the value, or unset it")
    } else if value.starts_with(['"', '\'']) || value.ends_with(['"', '\'']) {
        wrong("has quotes that are a part of the value; write it without them")
    } else if value.contains(char::is_whitespace) {
        wrong("holds blanks or line ends; write the value alone")
    } else if !value.is_ascii() {
        wrong("holds letters that no credential has; copy it again from the console")
    } else {
        Ok(value)
    }
}

/// The SDK's variables; half a pair is an error, reported for the variable that is set.
fn from_environment(environment: &Environment) -> Result<Option<Credentials>, UnusableCredentials> {
    let half = |variable, what| Err(UnusableCredentials { variable: Some(variable), what });
    match (environment.filled(ID), environment.filled(KEY)) {
        (Some(id), Some(key)) => {
            let token = TOKENS.iter().find_map(|name| environment.filled(name));
            let token = token.map(|token| token.trim_end_matches(['\r', '\n']));
            Ok(Some(Credentials {
                secret_id: plain(ID, id)?.to_owned(),
                secret_key: Secret::new(plain(KEY, key)?),
                token: token.map(Secret::new),
            }))
        }
        (Some(_), None) => half(ID, format!("is set and {KEY} {}; set both", environment.why_not(KEY))),
        (None, Some(_)) => half(KEY, format!("is set and {ID} {}; set both", environment.why_not(ID))),
        (None, None) => Ok(None),
    }
}
