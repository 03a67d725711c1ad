//! Certificates and keys from PEM files, and what rustls makes of them. TLS 1.2 and 1.3 by ring, which every board's
//! compiler can build.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, Error as RustlsError, RootCertStore, ServerConfig};

/// A server's files, or a client's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the own certificate, then those between it and its authority.
    pub certificate: Option<PathBuf>,
    /// PEM: the own certificate's key.
    pub key: Option<PathBuf>,
    /// PEM: whom to believe. A server with it lets nobody in without a certificate; a client without it believes those
    /// whom the system believes.
    pub authority: Option<PathBuf>,
}

/// Files that TLS cannot use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds nothing of that kind.
    #[error("{path}: {detail}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// A certificate without its key, or the reverse.
    #[error("a certificate and its key are wanted, both or neither")]
    Half,
    /// rustls refuses the combination.
    #[error("{path}: {source}; make certificates with `tinysaver pki init`")]
    Unusable {
        /// The certificate.
        path: PathBuf,
        /// Why.
        source: RustlsError,
    },
    /// The system has no certificates of authorities.
    #[error("the system knows no certificate authorities ({0}); name one's file")]
    NoSystemAuthorities(String),
}

/// What a server needs.
pub(crate) fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let (Some(certificate), Some(key)) = (&files.certificate, &files.key) else { return Err(TlsError::Half) };
    let unusable = |source| TlsError::Unusable { path: certificate.clone(), source };
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(unusable)?;
    let builder = match &files.authority {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            let refused = |error: tokio_rustls::rustls::server::VerifierBuilderError| TlsError::File {
                path: path.clone(),
                detail: error.to_string(),
            };
            builder.with_client_cert_verifier(verifier.map_err(refused)?)
        }
    };
    let mut config = builder.with_single_cert(certificates(certificate)?, private_key(key)?).map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What a client needs; `protocols` are offered to the server (ALPN).
pub(crate) fn client_config(files: &TlsFiles, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match &files.authority {
        Some(path) => authorities(path)?,
        None => system_authorities()?,
    };
    let shown = || files.certificate.clone().or_else(|| files.authority.clone()).unwrap_or_default();
    let unusable = |source| TlsError::Unusable { path: shown(), source };
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(unusable)?.with_root_certificates(roots);
    let mut config = match (&files.certificate, &files.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?).map_err(unusable)?
        }
        _ => return Err(TlsError::Half),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|error| refuse(path, &error.to_string()))?;
    if certificates.is_empty() { Err(refuse(path, "no certificate in PEM form in it")) } else { Ok(certificates) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|error| refuse(path, &format!("no private key in PEM form: {error}")))
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| refuse(path, &error.to_string()))?;
    }
    Ok(roots)
}

fn system_authorities() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
        return Err(TlsError::NoSystemAuthorities(why));
    }
    Ok(roots)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error: io::Error| refuse(path, &error.to_string()))
}

fn refuse(path: &Path, detail: &str) -> TlsError {
    TlsError::File { path: path.into(), detail: detail.to_owned() }
}
