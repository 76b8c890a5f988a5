//! Validation of addresses in a configuration. An address is never part of a message: it may hold a password,
//! or be a secret itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// Validates the proxy of a server. `before` is the server's address and its key.
///
/// # Errors
/// What is wrong, and what to do.
pub fn proxy(written: &str, before: Option<(&Url, &str)>) -> Result<(), String> {
    const FORM: &str = "is not the address of a proxy; write one such as \"http://proxy:3128\"";
    if is_odd(written) {
        return Err(FORM.to_owned());
    }
    let url: Url = written.parse().map_err(|_| FORM)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(FORM)?;
    match url.scheme() {
        "http" | "https" => {}
        _ => return Err("is neither http nor https; write one such as \"http://proxy:3128\"".to_owned()),
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(
            "holds more than user, password, host and port; leave out everything after them".to_owned()
        );
    }
    match before {
        Some((server, key)) if server.scheme() == "http" && !is_loopback(host) => {
            Err(format!("would send the plain http of `{key}` to another machine; leave out this proxy"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a URL parser would read another address than a person: it drops line breaks, reads `\` as `/`, and
/// takes the scheme of `socks:/proxy` for a host.
pub fn is_odd(written: &str) -> bool {
    let (_, after_scheme) = written.split_once("://").unwrap_or(("", written));
    let is_odd = |letter: char| letter == '\\' || letter.is_whitespace() || letter.is_control();
    written.contains(is_odd) || after_scheme.contains(":/")
}

/// Whether a URL's host is this machine.
pub fn is_loopback(host: &str) -> bool {
    host.strip_suffix('.').unwrap_or(host) == "localhost"
        || literal(host).is_some_and(|address| address.to_canonical().is_loopback())
}

/// The IP address of a URL's host; `None`: it is a name.
pub fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Metadata services of clouds outside the link-local ranges: Amazon, Google, Scaleway, Alibaba, Azure, Oracle.
const METADATA: [IpAddr; 6] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Whether an address is link-local (RFC 3927, RFC 4291 §2.5.6) or that of a cloud's metadata service, itself or
/// by the IPv4 address within it.
pub fn is_metadata(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let within = match address {
        IpAddr::V4(_) => Vec::new(),
        IpAddr::V6(address) => embedded(address),
    };
    is_link_local
        || METADATA.contains(&address)
        || within.into_iter().any(|address| is_metadata(address.into()))
}

/// The IPv4 addresses to which an IPv6 address may lead. A form with several readings gives all of them.
fn embedded(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let bits = address.to_bits();
    // The 32 bits that end `before_end` bits before the end.
    let ending = |before_end: u32| Ipv4Addr::from_bits((bits >> before_end) as u32);
    // An address in two parts around the octet at bits 64 to 71, which is no part of it (RFC 6052 §2.2):
    // `high_bits` bits before that octet, the others after it.
    let around = |high_bits: u32| {
        let high = (bits >> 64) as u32 & ((1 << high_bits) - 1);
        let low = ((bits >> 24) as u32) >> (high_bits);
        Ipv4Addr::from_bits(high << (32 - high_bits) | low & (u32::MAX >> high_bits))
    };
    let segments = address.segments();
    let mut found = match segments {
        // Mapped (RFC 4291 §2.5.5.2), compatible (§2.5.5.1), translated (RFC 2765 §2.1).
        [0, 0, 0, 0, 0, 0xffff | 0, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] => vec![ending(0)],
        // NAT64 with the well-known prefix (RFC 6052 §2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => vec![ending(0)],
        // NAT64 with a local prefix (RFC 8215): of 48, 56, 64 or 96 bits.
        [0x64, 0xff9b, 1, ..] => vec![around(16), around(8), ending(24), ending(0)],
        // 6to4 (RFC 3056 §2).
        [0x2002, ..] => vec![ending(80)],
        // Teredo (RFC 4380 §4): its server, and its client with all bits inverted.
        [0x2001, 0, ..] => vec![ending(64), Ipv4Addr::from_bits(!ending(0).to_bits())],
        [..] => Vec::new(),
    };
    // ISATAP (RFC 5214 §6.1), behind any prefix, 6to4 too.
    if let [_, _, _, _, 0 | 0x100 | 0x200 | 0x300, 0x5efe, _, _] = segments {
        found.push(ending(0));
    }
    found
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
            "http:\\\\proxy",
            "https:/proxy",
            "http://pro\nxy",
            "http://http://proxy",
        ] {
            assert!(proxy(wrong, None).is_err(), "{wrong}");
        }
        let here = "http://127.0.0.1:1".parse().unwrap();
        let written = ["http://[::1]:3128", "http://proxy:3128"];
        assert_eq!(written.map(|written| proxy(written, Some((&here, "url"))).is_ok()), [true, false]);
    }

    #[test]
    fn a_metadata_service_is_recognised_in_every_form_of_its_address() {
        for address in [
            "169.254.0.23",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fd00:42::42",
            "fe80::1",
            "febf:ffff::1",
            "::ffff:169.254.169.254",
            "::ffff:a9fe:a9fe",
            "::ffff:100.100.100.200",
            "::169.254.0.23",
            "::ffff:0:169.254.0.23",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::168.63.129.16",
            // 169.254.169.254 behind a prefix of 48, 56, 64 and 96 bits.
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:aa9:fe:a9fe::",
            "64:ff9b:1:abcd:a9:fea9:fe00:0",
            "64:ff9b:1:ffff::169.254.169.254",
            "64:ff9b:1::100.100.100.200",
            "2002:a9fe:a9fe::1",
            "2002:a83f:8110:1:2:3:4:5",
            // The server, then the client.
            "2001:0:a9fe:a9fe::1",
            "2001:0:c000:201:0:0:5601:5601",
            "2001:0:c000:201:8000:63bf:9b9b:9b37",
            "fe80::5efe:a00:1",
            "2001:db8::5efe:169.254.169.254",
            "2001:db8::200:5efe:168.63.129.16",
            "2002:a00:1::5efe:169.254.169.254",
        ] {
            assert!(is_metadata(address.parse().unwrap()), "{address}");
        }
        for address in [
            "169.253.0.1",
            "127.0.0.1",
            "10.0.0.1",
            "100.100.100.201",
            "168.63.129.17",
            "::1",
            "::",
            "fec0::1",
            "fd00::1",
            "fd00:ec2::253",
            "::ffff:10.0.0.1",
            "2001:db8::1",
            "2001:db8::a9fe:a9fe",
            "64:ff9b::a00:1",
            "64:ff9b:1::a00:1",
            "64:ff9b:1:a00:0:100::",
            "64:ff9b:2::a9fe:a9fe",
            "2002:a00:1::1",
            "2001:0:c000:201:8000:63bf:f5ff:fffe",
            "2001:db8::5efe:10.0.0.1",
        ] {
            assert!(!is_metadata(address.parse().unwrap()), "{address}");
        }
    }
}
