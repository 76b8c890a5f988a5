//! The proxy for a server: the configured one, or that of the environment variables with curl's precedence.
//! One function decides for every client.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::net::IpAddr;

use reqwest::Url;

use super::address;
use crate::secret::{Secret, hidden};

/// Variables that name a proxy, by the scheme of the server; the first that is set counts, as in curl.
const FOR_HTTPS: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const FOR_HTTP: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
/// The variables that exempt servers from those.
const EXEMPTIONS: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The values of these variables. They may hold passwords, so there is no `Debug`.
pub struct Variables(BTreeMap<&'static str, String>);

/// A variable for the requests to a server that is unusable. Its value is left out: it may hold a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{host} would be reached through {variable}, which {flaw}; correct it, set the key `proxy`, or add {host} to NO_PROXY"
)]
pub struct Refused {
    host: String,
    variable: &'static str,
    flaw: &'static str,
}

impl Variables {
    /// The variables of this process. A value that is not text counts as set, and is refused where it is
    /// used.
    pub fn of_process() -> Self {
        Self::of(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// An empty variable counts as unset.
    fn of(value: impl Fn(&str) -> Option<String>) -> Self {
        let names = FOR_HTTPS.into_iter().chain(FOR_HTTP).chain(EXEMPTIONS);
        let filled = |name| value(name).filter(|value| !value.is_empty()).map(|value| (name, value));
        Self(names.filter_map(filled).collect())
    }

    /// The logins in the addresses of proxies, which may have no scheme.
    pub fn logins(&self) -> Vec<String> {
        // ALL_PROXY serves both.
        let names: BTreeSet<_> = FOR_HTTPS.iter().chain(&FOR_HTTP).collect();
        let proxies = names.into_iter().filter_map(|name| self.0.get(name));
        let address = |value: &String| match value.contains("://") {
            true => Secret::new(value.as_str()),
            false => Secret::new(format!("http://{value}")),
        };
        proxies.flat_map(|value| hidden::of_proxy(&address(value))).collect()
    }

    /// Whether none of them names a proxy.
    pub fn name_no_proxy(&self) -> bool {
        self.first(&FOR_HTTPS).or(self.first(&FOR_HTTP)).is_none()
    }

    fn first(&self, names: &[&'static str]) -> Option<(&'static str, &str)> {
        names.iter().find_map(|name| Some((*name, self.0.get(name)?.as_str())))
    }
}

/// The proxy for a server, or none. `written` is the validated key `proxy` of its account or sink.
///
/// # Errors
/// When the variable that counts for this server names no proxy that can be used.
pub fn before(server: &Url, written: Option<&Secret>, variables: &Variables) -> Result<Option<Url>, Refused> {
    let host = server.host_str().unwrap_or_default();
    // NO_PROXY takes an IPv6 address without brackets.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let refused = |variable, flaw| Refused { host: bare.to_owned(), variable, flaw };
    if let Some(written) = written {
        return parsed(written.expose()).map(Some).map_err(|flaw| refused("the key `proxy`", flaw));
    }
    if address::is_loopback(host) {
        return Ok(None);
    }
    let names = if server.scheme() == "http" { FOR_HTTP } else { FOR_HTTPS };
    let Some((variable, value)) = variables.first(&names) else { return Ok(None) };
    if variables.first(&EXEMPTIONS).is_some_and(|(_, exemptions)| is_exempt(host, exemptions)) {
        return Ok(None);
    }
    parsed(value).map(Some).map_err(|flaw| refused(variable, flaw))
}

/// Login, host and port of a proxy. Without a scheme it is an http proxy.
fn parsed(value: &str) -> Result<Url, &'static str> {
    const FORM: &str = "holds no address of a proxy, such as \"http://proxy:3128\"";
    let value = value.trim();
    if address::is_odd(value) {
        return Err(FORM);
    }
    let whole = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    let mut proxy: Url = whole.parse().map_err(|_| FORM)?;
    match proxy.scheme() {
        "http" | "https" => {}
        scheme if scheme.starts_with("socks") => {
            return Err("names a SOCKS proxy, and only http and https proxies are supported");
        }
        _ => return Err("names neither an http nor an https proxy"),
    }
    if proxy.host_str().is_none_or(str::is_empty) {
        return Err(FORM);
    }
    proxy.set_path("");
    proxy.set_query(None);
    proxy.set_fragment(None);
    Ok(proxy)
}

/// Whether `NO_PROXY` exempts a host, as curl reads it: `*` alone is every host, a name exempts itself and
/// all names below it, an address may have a prefix length. Commas and white space separate.
fn is_exempt(host: &str, exemptions: &str) -> bool {
    if exemptions == "*" {
        return true;
    }
    let entries = exemptions
        .split(|letter: char| letter == ',' || letter.is_whitespace())
        .filter(|entry| !entry.is_empty());
    match address::literal(host) {
        Some(address) => entries.into_iter().any(|entry| is_within(address, entry)),
        None => entries.into_iter().any(|entry| is_at_or_below(host, entry)),
    }
}

fn is_at_or_below(host: &str, entry: &str) -> bool {
    let bare = |name: &str| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let entry = bare(entry);
    let entry = entry.strip_prefix('.').unwrap_or(&entry);
    let host = bare(host);
    let above = host.strip_suffix(entry);
    !entry.is_empty() && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// Whether an address is within a network. As in curl, a prefix of no bits is the address itself.
fn is_within(address: IpAddr, entry: &str) -> bool {
    let (network, bits) = match entry.split_once('/') {
        Some((network, bits)) => (network, bits.parse().ok()),
        None => (entry, Some(0)),
    };
    let (Ok(network), Some(bits)) = (network.parse::<IpAddr>(), bits) else { return false };
    // Both as 128 bits, the leading bits first.
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (u128::from(address.to_bits()) << 96, u128::from(network.to_bits()) << 96, 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let compared: u32 = if bits == 0 { width } else { bits };
    compared <= width && (address ^ network).leading_zeros() >= compared
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "hunter2";

    #[test]
    fn the_logins_of_all_variables_are_known_as_secrets() {
        for (variable, value) in [
            ("https_proxy", "http://me:p%40ssword@h:1"),
            ("HTTP_PROXY", "https://me:p%40ssword@h"),
            ("ALL_PROXY", "me:p%40ssword@h:1"),
        ] {
            let variables = Variables::of(|name| (name == variable).then(|| value.to_owned()));
            assert_eq!(variables.logins(), ["p@ssword", "me:p@ssword"], "{variable}");
        }
        assert_eq!(
            Variables::of(|name| (name == "NO_PROXY").then(|| "me:password@h".to_owned())).logins(),
            [""; 0]
        );
    }

    fn decided(server: &str, written: Option<&str>, variables: &[(&str, &str)]) -> String {
        let variables = Variables::of(|name| {
            variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
        });
        match before(&server.parse().unwrap(), written.map(Secret::new).as_ref(), &variables) {
            Ok(Some(proxy)) => proxy.to_string(),
            Ok(None) => "direct".to_owned(),
            Err(refused) => refused.to_string(),
        }
    }

    #[test]
    fn the_proxy_of_a_server_is_the_written_one_or_that_of_the_first_variable_that_is_set() {
        const CLOUD: &str = "https://cloud.example.com/";
        for (server, variables, wanted) in [
            (CLOUD, &[][..], "direct"),
            (CLOUD, &[("HTTPS_PROXY", "http://a:1")], "http://a:1/"),
            (CLOUD, &[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:2")], "http://b:2/"),
            (CLOUD, &[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "")], "http://a:1/"),
            (CLOUD, &[("HTTPS_PROXY", "http://a:1"), ("all_proxy", "http://b:2")], "http://a:1/"),
            (CLOUD, &[("ALL_PROXY", "http://a:1")], "http://a:1/"),
            (CLOUD, &[("ALL_PROXY", "http://a:1"), ("all_proxy", "http://b:2")], "http://b:2/"),
            (CLOUD, &[("HTTP_PROXY", "http://a:1"), ("http_proxy", "http://a:1")], "direct"),
            ("http://cloud.example.com/", &[("HTTP_PROXY", "http://a:1")], "http://a:1/"),
            ("http://cloud.example.com/", &[("HTTPS_PROXY", "http://a:1")], "direct"),
            (CLOUD, &[("HTTPS_PROXY", " a:3128 ")], "http://a:3128/"),
            (CLOUD, &[("HTTPS_PROXY", "https://u:p@a/path?q#f")], "https://u:p@a/"),
            (CLOUD, &[("HTTPS_PROXY", "HTTP://[::1]:3128")], "http://[::1]:3128/"),
            ("https://localhost/", &[("HTTPS_PROXY", "http://a:1")], "direct"),
            ("https://127.8.9.1/", &[("ALL_PROXY", "socks5://a:1")], "direct"),
            ("https://[::1]/", &[("HTTPS_PROXY", "::::")], "direct"),
            ("https://localhost./", &[("HTTPS_PROXY", "::::")], "direct"),
            ("https://LOCALHOST/", &[("HTTPS_PROXY", "::::")], "direct"),
            ("https://[::ffff:127.0.0.1]/", &[("HTTPS_PROXY", "::::")], "direct"),
            ("https://2130706433/", &[("HTTPS_PROXY", "::::")], "direct"),
        ] {
            assert_eq!(decided(server, None, variables), wanted, "{server} {variables:?}");
        }
        let written = decided("https://localhost/", Some("http://w:1"), &[("HTTPS_PROXY", "socks5://a")]);
        assert_eq!(written, "http://w:1/", "it counts for this machine too");
    }

    #[test]
    fn a_variable_that_names_no_usable_proxy_is_refused_by_name_where_it_counts_and_there_alone() {
        for (value, flaw) in [
            ("socks5://u:hunter2@a:1", "names a SOCKS proxy"),
            ("SOCKS4A://a:1", "names a SOCKS proxy"),
            ("ftp://hunter2", "names neither"),
            ("::::", "holds no address"),
            ("http://", "holds no address"),
            ("http://hunter2:port", "holds no address"),
            ("http://a b", "holds no address"),
            ("http://a\nb", "holds no address"),
            ("http://a\tb:1", "holds no address"),
            ("socks:/hunter2", "holds no address"),
            ("https:/hunter2", "holds no address"),
            ("https:hunter2", "holds no address"),
            ("http:\\\\hunter2", "holds no address"),
            ("http:/\\hunter2", "holds no address"),
            ("http://http://hunter2", "holds no address"),
            ("\u{fffd}\u{fffd}", "holds no address"),
            ("hunter2:x@y:z", "holds no address"),
        ] {
            for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
                let reported = decided("https://cloud.example.com/", None, &[(variable, value)]);
                let start = format!("cloud.example.com would be reached through {variable}, which {flaw}");
                assert!(reported.starts_with(&start) && !reported.contains(PASSWORD), "{value}: {reported}");
                assert!(
                    reported.ends_with("set the key `proxy`, or add cloud.example.com to NO_PROXY"),
                    "{reported}"
                );
                let exempt = [(variable, value), ("no_proxy", "example.com")];
                assert_eq!(decided("https://cloud.example.com/", None, &exempt), "direct");
            }
            let outranked = [("ALL_PROXY", value), ("https_proxy", "http://a:1")];
            assert_eq!(decided("https://cloud.example.com/", None, &outranked), "http://a:1/");
            let of_another_scheme = [("HTTP_PROXY", value)];
            assert_eq!(decided("https://cloud.example.com/", None, &of_another_scheme), "direct");
        }
    }

    #[test]
    fn the_advice_names_an_ipv6_host_as_no_proxy_takes_it() {
        let variables = [("HTTPS_PROXY", "::::")];
        let refused = decided("https://[2001:db8::1]/", None, &variables);
        assert!(refused.ends_with("or add 2001:db8::1 to NO_PROXY"), "{refused}");
        let exempt = [variables[0], ("NO_PROXY", "2001:db8::1")];
        assert_eq!(decided("https://[2001:db8::1]/", None, &exempt), "direct");
    }

    #[test]
    fn no_proxy_exempts_what_it_exempts_in_curl() {
        for (host, exemptions, wanted) in [
            ("a.example.com", "*", true),
            ("10.1.2.3", "*", true),
            ("a.example.com", "other, *", false),
            ("a.example.com", "*.example.com", false),
            ("a.example.com", "example.com", true),
            ("a.example.com", ".example.com", true),
            ("example.com", ".example.com", true),
            ("a.example.com", "EXAMPLE.com.", true),
            ("a.example.com.", "example.com", true),
            ("nonexample.com", "example.com", false),
            ("a.example.com", "b.example.com", false),
            ("a.example.com", "x, ,a.example.com", true),
            ("a.example.com", "x a.example.com", true),
            ("a.example.com", ".", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("10.1.2.3", "10.1.2.0/23", true),
            ("10.1.4.3", "10.1.2.0/23", false),
            ("10.1.2.3", "10.1.2.3/32", true),
            ("10.1.2.3", "10.1.2.4/32", false),
            ("10.1.2.3", "10.1.2.3/0", true),
            ("10.1.2.3", "0.0.0.0/0", false),
            ("10.1.2.3", "10.0.0.0/33", false),
            ("10.1.2.3", "10.0.0.0/x", false),
            ("10.1.2.3", "2.3", false),
            ("[2001:db8::1]", "2001:db8::1", true),
            ("[2001:db8::1]", "2001:db8::/32", true),
            ("[2001:db9::1]", "2001:db8::/32", false),
            ("[2001:db9::1]", "2001:db8::/31", true),
            ("[2001:db8::1]", "2001:db8::/129", false),
            ("[2001:db8::1]", "10.0.0.0/8", false),
        ] {
            let server = format!("https://{host}/");
            for variable in EXEMPTIONS {
                let through =
                    decided(&server, None, &[("HTTPS_PROXY", "http://p:1"), (variable, exemptions)]);
                assert_eq!(through == "direct", wanted, "{host} {exemptions}: {through}");
            }
        }
        let both = [("HTTPS_PROXY", "http://p:1"), ("no_proxy", "other"), ("NO_PROXY", "*")];
        assert_eq!(decided("https://a/", None, &both), "http://p:1/", "the lower case one counts");
    }
}
