//! Certificates of the system, which every client with TLS trusts.
//!
//! They are read once, as every other file is: regular files alone, bounded in size and in time. The readers of TLS
//! libraries would block on a FIFO or a dead network mount behind `SSL_CERT_FILE`. New certificates, and a corrected
//! file, are used after a restart.

use std::collections::BTreeSet;
use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Error;
use crate::files;

/// The largest bundle that is read. Mozilla's bundle has a quarter of a mebibyte.
const LARGEST_BYTES: u64 = 16 * 1024 * 1024;

/// The certificates. The first call blocks, for at most [`files::PATIENCE`] for each file.
///
/// # Errors
/// If none can be read. The error names the first file that failed.
pub fn certificates() -> Result<&'static [CertificateDer<'static>], Error> {
    static READ: OnceLock<Result<Vec<CertificateDer<'static>>, String>> = OnceLock::new();
    READ.get_or_init(read).as_deref().map_err(|reason| Error::Roots(reason.clone()))
}

fn read() -> Result<Vec<CertificateDer<'static>>, String> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let mut file = variable("SSL_CERT_FILE").map(PathBuf::from);
    let mut folders: Vec<PathBuf> =
        variable("SSL_CERT_DIR").iter().flat_map(|folders| env::split_paths(folders)).collect();
    // As in OpenSSL, the default places count where neither variable is set.
    if file.is_none() && folders.is_empty() {
        let places = openssl_probe::probe();
        (file, folders) = (places.cert_file, places.cert_dir);
    }
    let mut failure = None;
    let mut note = |error: String| failure = failure.take().or(Some(error));
    let mut paths: Vec<PathBuf> = file.into_iter().collect();
    for folder in folders {
        match files::list(&folder) {
            // `openssl rehash` names certificates by a hash: `5443e9e3.0`.
            Ok(listed) => paths.extend(listed.into_iter().filter(|path| {
                path.extension()
                    .is_some_and(|end| end.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
            })),
            Err(error) => note(error.at(&folder)),
        }
    }
    let mut certificates = BTreeSet::new();
    for path in paths {
        match files::read(&path, LARGEST_BYTES) {
            Ok(file) => certificates
                .extend(CertificateDer::pem_slice_iter(&file.bytes).flatten().map(|der| der.to_vec())),
            Err(error) => note(error.at(&path)),
        }
    }
    let usable: Vec<CertificateDer<'static>> = certificates
        .into_iter()
        .map(CertificateDer::from)
        .filter(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok())
        .collect();
    match (usable.is_empty(), failure) {
        (false, _) => Ok(usable),
        (true, Some(failure)) => Err(failure),
        (true, None) => Err("no certificate was found; install the package ca-certificates".to_owned()),
    }
}
