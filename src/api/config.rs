//! `[http]`: where the interface listens, and who may change something.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, de};

/// `[http]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The TCP address. Default: none.
    #[serde(deserialize_with = "address")]
    pub listen: Option<SocketAddr>,
    /// The Unix socket. Default: `opwatch.sock` in `$RUNTIME_DIRECTORY`, else in the XDG runtime folder.
    pub socket: Option<PathBuf>,
    /// The file with the tokens of TCP clients: lines `name:token`.
    pub token_file: Option<PathBuf>,
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let written = String::deserialize(deserializer)?;
    let form = "write an IP address and a port, such as 127.0.0.1:9464";
    written.parse().map(Some).map_err(|_| de::Error::custom(form))
}

impl Config {
    /// `false`: the address is not loopback and there is no token file, so another machine could change something without
    /// a token.
    pub fn is_guarded(&self) -> bool {
        let is_local = self.listen.is_none_or(|listen| listen.ip().to_canonical().is_loopback());
        is_local || self.token_file.is_some()
    }
}

/// The socket without a configured one; `None`: the environment names no runtime folder.
pub fn default_socket(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    /// Its name in the folder.
    const NAME: &str = "opwatch.sock";
    let folder = |name: &str| variable(name).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    // systemd separates several folders by colons; the first is that of the unit itself.
    let of_unit = folder("RUNTIME_DIRECTORY").map(|folders| {
        let text = folders.to_string_lossy().into_owned();
        PathBuf::from(text.split(':').next().unwrap_or_default())
    });
    Some(of_unit.or_else(|| folder("XDG_RUNTIME_DIR"))?.join(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_loopback_a_token_file_is_required() {
        let is_open = |listen: &str, token_file: Option<&str>| {
            let token_file = token_file.map(PathBuf::from);
            !Config { listen: listen.parse().ok(), socket: None, token_file }.is_guarded()
        };
        assert!(
            is_open("0.0.0.0:9464", None) && is_open("[::]:9464", None) && is_open("10.0.0.1:9464", None)
        );
        assert!(!is_open("127.0.0.1:9464", None) && !is_open("[::1]:9464", None));
        assert!(!is_open("[::ffff:127.0.0.1]:9464", None) && !is_open("0.0.0.0:9464", Some("tokens")));
    }

    #[test]
    fn the_socket_is_in_the_runtime_folder_of_the_unit_or_of_the_user() {
        let of = |unit: &str, user: &str| {
            default_socket(|name| Some(if name == "RUNTIME_DIRECTORY" { unit } else { user }.into()))
        };
        assert_eq!(of("/run/opwatch:/run/other", "/run/user/1"), Some("/run/opwatch/opwatch.sock".into()));
        assert_eq!(of("", "/run/user/1"), Some("/run/user/1/opwatch.sock".into()));
        assert_eq!(of("", ""), None);
    }
}
