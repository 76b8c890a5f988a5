//! One TLS configuration for each distinct set of trusted certificates: a parsed bundle of the system takes a megabyte.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::Error;

/// The configurations in use, each with its further certificates.
type Shared = Vec<(Vec<CertificateDer<'static>>, Weak<ClientConfig>)>;

/// The configuration that trusts the system's certificates and these. Equal sets share one.
///
/// # Errors
/// If the system's certificates cannot be read and there are no others, or if one cannot be used.
pub fn trusting(ca: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, Error> {
    static SHARED: Mutex<Shared> = Mutex::new(Vec::new());
    // A panic while the lock is held leaves the list as it was.
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.retain(|(_, config)| config.strong_count() > 0);
    let known = shared.iter().find(|(certificates, _)| certificates == ca);
    if let Some(config) = known.and_then(|(_, config)| config.upgrade()) {
        return Ok(config);
    }
    let config = Arc::new(built(ca)?);
    shared.push((ca.to_vec(), Arc::downgrade(&config)));
    Ok(config)
}

fn built(ca: &[CertificateDer<'static>]) -> Result<ClientConfig, Error> {
    super::install_provider();
    let mut roots = RootCertStore::empty();
    for certificate in super::trusted(ca)? {
        roots.add(certificate.clone())?;
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_of_certificates_share_one_configuration() {
        let file = std::path::Path::new("tests/support/ca.pem");
        let further = crate::net::ca_file::read(file).unwrap();
        let one = trusting(&further).unwrap();
        assert!(Arc::ptr_eq(&one, &trusting(&further).unwrap()));
        assert!(trusting(&[]).map_or(true, |other| !Arc::ptr_eq(&one, &other)));
    }
}
