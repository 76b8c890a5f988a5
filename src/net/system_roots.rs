//! Certificates of the system, which every client with TLS trusts.
//!
//! The library that finds them opens files without a time limit: a FIFO or a dead network mount behind
//! `SSL_CERT_FILE` would block its caller for good. So they are read once, on a thread of their own and within a time
//! limit, and all clients share them. New certificates are used after a restart.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::Error;
use crate::files;

/// The certificates. Blocks for at most [`files::PATIENCE`], and not at all once a read has succeeded.
///
/// # Errors
/// If they cannot be read in time, or none is usable. The next call tries again.
pub fn certificates() -> Result<Arc<Vec<CertificateDer<'static>>>, Error> {
    static READ: Mutex<Option<Arc<Vec<CertificateDer<'static>>>>> = Mutex::new(None);
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(certificates) = &*read {
        return Ok(Arc::clone(certificates));
    }
    let found = files::within(files::PATIENCE, || Ok(rustls_native_certs::load_native_certs()));
    let found = found.map_err(|error| Error::Roots(error.to_string()))?;
    let is_usable =
        |certificate: &CertificateDer<'static>| RootCertStore::empty().add(certificate.clone()).is_ok();
    let usable: Vec<_> = found.certs.into_iter().filter(is_usable).collect();
    if usable.is_empty() {
        let reason = found.errors.first().map_or_else(|| "none was found".to_owned(), ToString::to_string);
        return Err(Error::Roots(reason));
    }
    let certificates = Arc::new(usable);
    *read = Some(Arc::clone(&certificates));
    Ok(certificates)
}
