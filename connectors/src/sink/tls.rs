//! Certificates: whom to trust, and what to show.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::SinkConfig;

/// What a TLS client is made of.
///
/// # Errors
/// A file can't be read, holds no certificate or key, or the system has no authority to trust.
pub(super) fn client(config: &SinkConfig) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match &config.ca {
        Some(path) => {
            for certificate in certificates(path)? {
                let added = roots.add(certificate);
                added.map_err(|error| format!("{} is no authority: {error}", path.display()))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err("the system has no certificates to trust; give --tls-ca".to_owned());
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let made = match &config.client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let (chain, key_of) = (certificates(chain)?, PrivateKeyDer::from_pem_file(key));
            let key_of = key_of.map_err(|_| format!("cannot read a key from {}", key.display()))?;
            let made = builder.with_client_auth_cert(chain, key_of);
            made.map_err(|error| format!("certificate and key don't fit: {error}"))?
        }
    };
    Ok(Arc::new(made))
}

/// The certificates of a file.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed =
        |reason: String| format!("cannot read certificates from {}: {reason}", path.display());
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| failed(error.to_string()))?
        .collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(failed("it has none".to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}
