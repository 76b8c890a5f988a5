//! An account's credentials, and the files that hold them: a key alone, the SDK's file, or that of `tccli`
//! (docs/tencent-cloud-api.md §4).
//!
//! Files are read at the start, and again while the account is on hold and a file changes. Their content is
//! never repeated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::secret::{self, Secret};

/// The credentials that sign an account's requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Credentials {
    /// The key's id.
    pub secret_id: String,
    /// The secret key.
    pub secret_key: Secret,
    /// Sent along with temporary ones.
    pub token: Option<Secret>,
}

/// The source of an account's credentials (docs/tencent-cloud-api.md §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialSource {
    /// The configuration; if it has none, the other sources in this order.
    #[default]
    Auto,
    /// In the configuration.
    Config,
    /// In the SDK's environment variables.
    Env,
    /// In the SDK's file.
    File,
    /// In the file of the command line tool `tccli`.
    Tccli,
}

/// A file that holds credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFile {
    /// Where it is.
    pub path: PathBuf,
    /// The format of the file.
    pub form: FileFormat,
}

/// The format of a file with credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// The SecretKey and nothing else; the SecretId is in the configuration.
    Key,
    /// INI with `secret_id` and `secret_key` in `[default]`.
    Sdk,
    /// JSON with `secretId`, `secretKey` and, for temporary ones, `token`.
    Tccli,
}

impl CredentialFile {
    /// Reads the file; `written_id` is the SecretId of the configuration.
    ///
    /// # Errors
    /// In words for people, with the file's name and what to write.
    pub fn read(&self, written_id: &str, doubt: &mut dyn FnMut(String)) -> Result<Credentials, String> {
        match self.form {
            FileFormat::Key => {
                let secret_key = secret::file::line(&self.path, doubt)?;
                Ok(Credentials { secret_id: written_id.to_owned(), secret_key, token: None })
            }
            FileFormat::Sdk => whole(&self.path, sdk(&secret::file::text(&self.path, doubt)?), SDK_FORM),
            FileFormat::Tccli => {
                whole(&self.path, tccli(&secret::file::text(&self.path, doubt)?), TCCLI_FORM)
            }
        }
    }
}

const SDK_FORM: &str = "write a line [default], and below it secret_id = … and secret_key = …";
const TCCLI_FORM: &str = "write {\"secretId\": …, \"secretKey\": …}, or run `tccli configure`";

/// Keys of the official tools for the identity of a role, or for credentials from elsewhere: in lower case,
/// without `-` and `_`.
const ROLE_KEYS: [&str; 8] = [
    "rolearn",
    "rolename",
    "usecvmrole",
    "sourceprofile",
    "credentialsource",
    "credentialprocess",
    "webidentitytokenfile",
    "providerid",
];
/// The key of tccli that names the kind of credentials.
const KIND: &str = "type";
/// The type whose key and token are used directly; tccli renews them in the file.
const OF_LOGIN: &str = "oauth";

/// Credentials as read; an empty value counts as missing.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawCredentials {
    secret_id: Option<String>,
    secret_key: Option<String>,
    token: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

impl RawCredentials {
    /// The key that selects another identity than that of the SecretKey. If it were ignored, tasks that only
    /// the other identity can see would not be found.
    fn other_identity(&self) -> Option<&str> {
        self.others.iter().find_map(|(name, value)| {
            let is_set = match value {
                Value::Null | Value::Bool(false) => false,
                Value::String(text) => !text.trim().is_empty(),
                Value::Bool(true) | Value::Number(_) | Value::Array(_) | Value::Object(_) => true,
            };
            let plain = name.replace(['-', '_'], "").to_ascii_lowercase();
            let is_kind = plain == KIND && value.as_str() != Some(OF_LOGIN);
            (is_set && (is_kind || ROLE_KEYS.contains(&plain.as_str()))).then_some(name.as_str())
        })
    }
}

fn whole(path: &Path, found: Option<RawCredentials>, form: &str) -> Result<Credentials, String> {
    let shown = path.display();
    let Some(found) = found else {
        return Err(format!("{shown} is not in this format; {form}"));
    };
    if let Some(key) = found.other_identity() {
        return Err(format!(
            "{shown} selects a role with `{key}`, which is not supported, and its secret key alone is another identity; remove `{key}`, or name other credentials"
        ));
    }
    let RawCredentials { secret_id, secret_key, token, others: _ } = found;
    let filled = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let Some(secret_id) = filled(secret_id) else { return Err(format!("{shown} has no id; {form}")) };
    let Some(secret_key) = filled(secret_key) else { return Err(format!("{shown} has no key; {form}")) };
    if !secret_id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("the id in {shown} holds blanks or other invalid characters; {form}"));
    }
    Ok(Credentials { secret_id, secret_key: Secret::new(secret_key), token: filled(token).map(Secret::new) })
}

/// Reads the format of Python's `configparser`, which the SDK uses: names in any case, `=` or `:`, comment
/// lines. Any other line makes it another kind of file.
fn sdk(text: &str) -> Option<RawCredentials> {
    const SECTION: &str = "default";
    let mut section = None;
    let mut found = RawCredentials::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = Some(name.trim());
            continue;
        }
        let (name, value) = line.split_once(['=', ':'])?;
        let value = value.trim().to_owned();
        match name.trim().to_ascii_lowercase().as_str() {
            _ if section != Some(SECTION) => {}
            "secret_id" => found.secret_id = Some(value),
            "secret_key" => found.secret_key = Some(value),
            other => drop(found.others.insert(other.to_owned(), Value::String(value))),
        }
    }
    Some(found)
}

/// The message of serde repeats the value, so it is not used.
fn tccli(text: &str) -> Option<RawCredentials> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: FileFormat, text: &str) -> Result<Credentials, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = CredentialFile { path: folder.path().join("credentials"), form };
        std::fs::write(&file.path, text).unwrap();
        file.read("WRITTEN", &mut drop).map_err(|what| what.replace(&file.path.display().to_string(), "FILE"))
    }

    fn credentials(id: &str, key: &str, token: Option<&str>) -> Credentials {
        Credentials { secret_id: id.to_owned(), secret_key: Secret::new(key), token: token.map(Secret::new) }
    }

    #[test]
    fn each_form_is_read_as_its_makers_read_it() {
        assert_eq!(read(FileFormat::Key, "hunter2\n"), Ok(credentials("WRITTEN", "hunter2", None)));
        for text in [
            "[default]\nsecret_id = A\nsecret_key = hunter2\n",
            "\u{feff}; mine\r\n[other]\r\nsecret_id=X\r\n[default]\r\n# id\r\nSecret_Id:A\r\nsecret_key=hunter2\r\nrole_arn =\r\nregion = r\r\n",
        ] {
            assert_eq!(read(FileFormat::Sdk, text), Ok(credentials("A", "hunter2", None)), "{text}");
        }
        assert_eq!(
            read(FileFormat::Sdk, "[default]\nsecret_id=A\nsecret_key=a=b:c"),
            Ok(credentials("A", "a=b:c", None))
        );
        let text = |token| {
            format!(
                "{{\"secretId\": \"A\", \"secretKey\": \"hunter2\", \"token\": {token}, \"type\": \"oauth\", \"oauth\": {{\"role\": 1}}}}"
            )
        };
        assert_eq!(read(FileFormat::Tccli, &text("\"T\"")), Ok(credentials("A", "hunter2", Some("T"))));
        assert_eq!(
            [text("null"), text("\"\"")].map(|text| read(FileFormat::Tccli, &text).unwrap().token),
            [None, None]
        );
    }

    #[test]
    fn a_file_that_selects_another_identity_is_refused_with_its_name_and_the_key() {
        let sdk = |line: &str| format!("[default]\nsecret_id = A\nsecret_key = hunter2\n{line}\n");
        let tccli = |key: &str, value: &str| {
            format!("{{\"secretId\": \"A\", \"secretKey\": \"hunter2\", \"{key}\": {value}}}")
        };
        let role = "\"qcs::cam::uin/1:roleName/r\"";
        for (form, text, key) in [
            (FileFormat::Sdk, sdk("role_arn = qcs::cam::uin/1:roleName/r"), "role_arn"),
            (FileFormat::Sdk, sdk("Role_ARN: r"), "role_arn"),
            (FileFormat::Sdk, sdk("source_profile = other"), "source_profile"),
            (FileFormat::Sdk, sdk("credential_source = CvmRole"), "credential_source"),
            (FileFormat::Sdk, sdk("role_name = r"), "role_name"),
            (FileFormat::Tccli, tccli("role-arn", role), "role-arn"),
            (FileFormat::Tccli, tccli("roleArn", role), "roleArn"),
            (FileFormat::Tccli, tccli("type", "\"cvm-role\""), "type"),
            (FileFormat::Tccli, tccli("type", "\"of a later version\""), "type"),
            (FileFormat::Tccli, tccli("use-cvm-role", "true"), "use-cvm-role"),
        ] {
            let what = read(form, &text).unwrap_err();
            let start = format!("FILE selects a role with `{key}`, which is not supported");
            assert!(what.starts_with(&start) && !what.contains("hunter2"), "{text}: {what}");
        }
        for harmless in [tccli("role-arn", "\"\""), tccli("type", "null"), tccli("use-cvm-role", "false")] {
            assert_eq!(
                read(FileFormat::Tccli, &harmless),
                Ok(credentials("A", "hunter2", None)),
                "{harmless}"
            );
        }
        assert!(read(FileFormat::Sdk, "[default]\nsecret_id=A\nsecret_key=k\n[other]\nrole_arn = r").is_ok());
    }

    #[test]
    fn a_file_without_credentials_is_reported_with_name_and_format_and_without_its_content() {
        for (form, text, reported) in [
            (FileFormat::Sdk, "", "FILE has no id; write a line [default]"),
            (FileFormat::Sdk, "secret_id = A\nsecret_key = hunter2", "FILE has no id"),
            (FileFormat::Sdk, "[default]\nsecret_id = hunter2", "FILE has no key"),
            (FileFormat::Sdk, "[default]\nsecret_id =\nsecret_key = hunter2", "FILE has no id"),
            (
                FileFormat::Sdk,
                "[default]\nsecret_id = hunter2 x\nsecret_key = hunter2",
                "the id in FILE holds blanks",
            ),
            (FileFormat::Sdk, "hunter2", "FILE is not in this format; write a line [default]"),
            (
                FileFormat::Tccli,
                "{\"secretId\": {\"hunter2\": 1}}",
                "FILE is not in this format; write {\"secretId\"",
            ),
            (FileFormat::Tccli, "{\"secretId\": \"A\"}", "FILE has no key; write"),
            (FileFormat::Tccli, "hunter2", "FILE is not in this format"),
            (FileFormat::Key, "", "FILE is empty"),
        ] {
            let what = read(form, text).unwrap_err();
            assert!(what.contains(reported) && !what.contains("hunter2"), "{what}");
        }
    }
}
