//! Addresses as people write them into a configuration, and which of them may be used. None is ever repeated
//! in what is told: it may hold a password, or be a secret itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// The proxy before a server: whether it is one. `before` is the server's address and the key that it was
/// written to.
///
/// # Errors
/// What is wrong, and what to do.
pub fn proxy(written: &str, before: Option<(&Url, &str)>) -> Result<(), String> {
    const FORM: &str = "is no address of a proxy; write one such as \"http://proxy:3128\"";
    let url: Url = written.parse().map_err(|_| FORM)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(FORM)?;
    match url.scheme() {
        "http" | "https" => {}
        _ => return Err("speaks neither http nor https; write one such as \"http://proxy:3128\"".to_owned()),
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(
            "holds more than user, password, host and port; leave out everything after them".to_owned()
        );
    }
    match before {
        Some((server, key)) if server.scheme() == "http" && !is_loopback(host) => {
            Err(format!("would carry the plain http of `{key}` beyond this machine; leave it out"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a URL's host is this machine.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || literal(host).is_some_and(|address| address.is_loopback())
}

/// The address that a URL's host is, where it is no name.
pub fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether an address is of this link alone, where clouds keep their metadata services (RFC 3927, RFC 4291
/// §2.5.6); IPv4 written as IPv6 is seen through, and so are NAT64 (RFC 6052 §2.1) and 6to4 (RFC 3056 §2).
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => is_link_local_v6(address),
    }
}

fn is_link_local_v6(address: Ipv6Addr) -> bool {
    /// fe80::/10.
    const PREFIX: u16 = 0xfe80;
    const PREFIX_MASK: u16 = 0xffc0;
    let within = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    let carried = match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(within(high, low)),
        _ => address.to_ipv4(),
    };
    address.segments()[0] & PREFIX_MASK == PREFIX || carried.is_some_and(|address| address.is_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_http_address_and_may_hold_a_password_and_leads_no_plain_http_away() {
        for right in ["http://proxy:3128", "http://u:p@10.0.0.1:3128/", "https://proxy"] {
            assert_eq!(proxy(right, None), Ok(()), "{right}");
        }
        for wrong in [
            "proxy:3128",
            "",
            "http://",
            "socks5://proxy:1080",
            "http://proxy/path",
            "http://proxy/?a",
            "http://proxy/#a",
        ] {
            assert!(proxy(wrong, None).is_err(), "{wrong}");
        }
        let here = "http://127.0.0.1:1".parse().unwrap();
        let written = ["http://[::1]:3128", "http://proxy:3128"];
        assert_eq!(written.map(|written| proxy(written, Some((&here, "url"))).is_ok()), [true, false]);
    }

    #[test]
    fn an_address_of_this_link_is_one_in_every_form() {
        for address in [
            "169.254.0.23",
            "fe80::1",
            "febf:ffff::1",
            "::ffff:169.254.169.254",
            "::ffff:a9fe:a9fe",
            "::169.254.0.23",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(is_link_local(address.parse().unwrap()), "{address}");
        }
        for address in [
            "169.253.0.1",
            "127.0.0.1",
            "10.0.0.1",
            "::1",
            "fec0::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "2001:db8::1",
            "64:ff9b::a00:1",
            "2002:a00:1::1",
        ] {
            assert!(!is_link_local(address.parse().unwrap()), "{address}");
        }
    }
}
