//! A certificate authority that only its test knows, as companies run one for what is inside.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::or_panic;

/// The authority. Its certificate is in a file, to be trusted or not.
#[derive(Debug)]
pub struct PrivateCa {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// A server's certificate and key, signed by a [`PrivateCa`], as PEM.
#[derive(Debug, Clone)]
pub struct ServerCertificate {
    /// What clients are shown.
    pub certificate_pem: String,
    /// What only the server has.
    pub key_pem: String,
}

impl PrivateCa {
    /// A new authority.
    pub fn new() -> Self {
        or_panic("make a certificate authority", Self::try_new())
    }

    /// PEM of the authority's certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for a server with these host names and addresses.
    pub fn certify(&self, names: &[&str]) -> ServerCertificate {
        or_panic("certify a server", self.try_certify(names))
    }

    fn try_new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "testkit");
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let folder = tempfile::Builder::new().prefix("testkit-ca-").tempdir()?;
        fs::write(folder.path().join("ca.pem"), certificate.pem())?;
        Ok(Self {
            folder,
            issuer: Issuer::new(params, key),
        })
    }

    fn try_certify(&self, names: &[&str]) -> anyhow::Result<ServerCertificate> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&key, &self.issuer)?;
        Ok(ServerCertificate {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

impl Default for PrivateCa {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerCertificate {
    /// Writes `server.crt` and `server.key` into a folder, and answers where they are.
    pub(crate) fn write_to(&self, folder: &Path) -> std::io::Result<(PathBuf, PathBuf)> {
        let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
        fs::write(&certificate, &self.certificate_pem)?;
        fs::write(&key, &self.key_pem)?;
        Ok((certificate, key))
    }
}
