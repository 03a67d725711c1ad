//! A private certificate authority for people who have none: one authority, one server, one board.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// Readable by the owner only.
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;
/// Boards without a clock of their own wake up in 1970 or at the time of their image: no certificate of ours may be "not
/// yet valid" then.
const FIRST_YEAR: i32 = 1970;

/// What could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A name that no certificate can carry, or a fault of the cryptography.
    #[error("{0}; a server's name is a host name or an address, such as base.local or 192.168.1.20")]
    Certificate(#[from] rcgen::Error),
    /// A file is there already, or cannot be written.
    #[error("{path}: {source}; nothing is overwritten: name another folder, or remove the old files")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes `ca`, `server` and `board`, each as `.pem` (certificate) and `.key`, in a folder that is made if need be.
/// `hosts` are the names and addresses by which the server is reached; certificates end with `last_year`.
///
/// # Errors
/// See [`PkiError`]; files that were made before the error stay.
pub fn make_authority(folder: &Path, hosts: &[String], last_year: i32) -> Result<Vec<PathBuf>, PkiError> {
    std::fs::create_dir_all(folder).map_err(|source| PkiError::File { path: folder.into(), source })?;
    let mut made = Vec::new();
    let mut write = |name: &str, text: &str, mode: u32| {
        let path = folder.join(name);
        let result = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        let written = result.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
        written.map_err(|source| PkiError::File { path: path.clone(), source })?;
        made.push(path);
        Ok::<(), PkiError>(())
    };
    let ca_key = KeyPair::generate()?;
    let mut ca = params("tinysaver private authority", &[], last_year)?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let ca_certificate = ca.self_signed(&ca_key)?;
    write("ca.key", &ca_key.serialize_pem(), SECRET)?;
    write("ca.pem", &ca_certificate.pem(), PUBLIC)?;
    let issuer = Issuer::new(ca, ca_key);
    let board = ["tinysaver-board".to_owned()];
    for (name, hosts, purpose) in [
        ("server", hosts, ExtendedKeyUsagePurpose::ServerAuth),
        ("board", &board[..], ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        let key = KeyPair::generate()?;
        let mut leaf = params(&format!("tinysaver {name}"), hosts, last_year)?;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![purpose];
        leaf.use_authority_key_identifier_extension = true;
        let certificate = leaf.signed_by(&key, &issuer)?;
        write(&format!("{name}.key"), &key.serialize_pem(), SECRET)?;
        write(&format!("{name}.pem"), &certificate.pem(), PUBLIC)?;
    }
    Ok(made)
}

fn params(name: &str, hosts: &[String], last_year: i32) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(hosts)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    params.not_before = date_time_ymd(FIRST_YEAR, 1, 1);
    params.not_after = date_time_ymd(last_year, 12, 31);
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{TlsFiles, client_config, server_config};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_it_makes_both_sides_can_use() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = ["base.local".to_owned(), "127.0.0.1".to_owned()];
        let made = make_authority(&folder.path().join("new"), &hosts, 2036).unwrap();
        assert_eq!(made.len(), 6);
        let path = |name: &str| Some(folder.path().join("new").join(name));
        let files = |name: &str| TlsFiles {
            certificate: path(&format!("{name}.pem")),
            key: path(&format!("{name}.key")),
            authority: path("ca.pem"),
        };
        server_config(&files("server")).unwrap();
        client_config(&files("board"), &[b"h2"]).unwrap();
        let mode = path("server.key").unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SECRET);
        let again = make_authority(&folder.path().join("new"), &hosts, 2036).unwrap_err();
        assert!(again.to_string().contains("ca.key"), "{again}");
        let mixed = TlsFiles { key: path("board.key"), ..files("server") };
        assert!(server_config(&mixed).is_err(), "another one's key");
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(make_authority(folder.path(), &["ü.local".to_owned()], 2036).is_err());
    }
}
