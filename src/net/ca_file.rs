//! Files of certificates that are trusted in addition to the system's, and advice for untrusted servers.

use std::error::Error;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

use crate::{files, net};

/// The largest file: four times the bundle of a system.
const LARGEST_BYTES: u64 = 1024 * 1024;

/// Reads the certificates of a PEM file: at least one, all of them usable.
///
/// # Errors
/// What is wrong with the file, and what to do.
pub fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = parsed(&pem(path)?).collect::<Result<Vec<_>, _>>().unwrap_or_default();
    let mut roots = RootCertStore::empty();
    for (position, certificate) in certificates.iter().enumerate() {
        let added = roots.add(certificate.clone());
        added.map_err(|error| {
            format!("certificate {} of {} cannot be used ({error}); replace it", position + 1, path.display())
        })?;
    }
    Ok(certificates)
}

/// Reads a PEM file that holds at least one certificate.
///
/// # Errors
/// What is wrong with the file, and what to do.
pub fn pem(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let files::FileContent { bytes, .. } =
        files::read(path, LARGEST_BYTES).map_err(|error| error.at(path))?;
    // Text between the certificates may be in any encoding.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let count = parsed(&text).collect::<Result<Vec<_>, _>>().map(|certificates| certificates.len());
    match count {
        Ok(0) => Err(format!(
            "{shown} holds no certificate; write one that begins with -----BEGIN CERTIFICATE-----"
        )),
        Ok(_) => Ok(text),
        Err(error) => {
            Err(format!("{shown} is not complete PEM ({error}); write the certificates into it again"))
        }
    }
}

fn parsed(text: &str) -> impl Iterator<Item = Result<CertificateDer<'static>, pem::Error>> {
    CertificateDer::pem_slice_iter(text.as_bytes())
}

/// Advice for a request that failed since the server's certificate is not trusted; `None`: it failed
/// otherwise. `key` names the key for further certificates.
///
/// A server may also show a certificate of this file itself, unless it is one of an authority (RFC 5280
/// §4.2.1.9). `openssl req -x509` makes such a certificate by default.
pub fn advice(error: &(dyn Error + 'static), key: &str) -> Option<String> {
    /// The name of the verifier's error; its type is not public.
    const AUTHORITY_SHOWN: &str = "CaUsedAsEndEntity";
    let reason = net::causes(error).find_map(|cause| match cause.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(reason)) => Some(format!("{reason:?}")),
        Some(_) | None => None,
    })?;
    Some(match reason.contains(AUTHORITY_SHOWN) {
        true => format!(
            "the server shows a certificate of an authority as its own; make one with basicConstraints=CA:FALSE, install it there, and name it in `{key}`"
        ),
        false => format!("renew it there, or name the certificate of its issuer in `{key}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_no_usable_certificate_is_reported_as_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        assert!(read(&path).unwrap_err().contains("cannot read"));
        for (written, reported) in [
            ("", "holds no certificate"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "is not complete PEM"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 of"),
        ] {
            std::fs::write(&path, written).unwrap();
            let what = read(&path).unwrap_err();
            assert!(what.contains(reported) && !what.contains("AAAA"), "{what}");
        }
    }
}
