//! Whom TLS connections trust besides the system's authorities: a private CA, by one setting everywhere.

use std::{ffi::OsString, fs::File, io::Read, path::Path};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::config::ConfigProblem;

const SETTING: &str = "TLS_CA_FILE";
/// All public authorities together take a quarter of it; a file that is larger was named by mistake.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The setting, to be flattened into the configuration of whatever opens TLS connections.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TrustedRoots {
    /// File of further root certificates (PEM) that servers are checked against, besides the system's
    #[arg(long = "tls-ca-file", env = SETTING, value_name = "PATH",
          value_parser = clap::builder::OsStringValueParser::new())]
    tls_ca_file: Option<OsString>,
}

impl TrustedRoots {
    /// The certificates in the file, as PEM; `None` if no file is named.
    ///
    /// A problem if the file cannot be read, or if it holds anything but usable certificates.
    pub fn pem(&self) -> Result<Option<Vec<u8>>, ConfigProblem> {
        let Some(file) = self.tls_ca_file.as_ref().filter(|file| !file.is_empty()) else {
            return Ok(None);
        };
        let file = Path::new(file);
        read(file).map(Some).map_err(|wrong| {
            ConfigProblem::new(
                SETTING,
                format!("{} ({wrong})", file.display()),
                "a readable PEM file with one or more CA certificates (-----BEGIN CERTIFICATE-----)",
            )
        })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut pem = Vec::new();
    File::open(file)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut pem))
        .map_err(|error| error.to_string())?;
    if pem.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("larger than {MAX_FILE_BYTES} bytes"));
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| format!("not PEM: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("certificate {} cannot be used: {error}", roots.len() + 1))?;
    }
    if roots.is_empty() {
        return Err("it holds no certificate".to_owned());
    }
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn problem_with(content: &str) -> String {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(content.as_bytes()).expect("it takes text");
        let roots = TrustedRoots {
            tls_ca_file: Some(file.path().into()),
        };
        roots.pem().expect_err("not usable").to_string()
    }

    #[test]
    fn no_file_and_an_empty_variable_name_no_roots() {
        for tls_ca_file in [None, Some(OsString::new())] {
            let roots = TrustedRoots { tls_ca_file };
            assert_eq!(roots.pem(), Ok(None));
        }
    }

    #[test]
    fn a_file_without_usable_certificates_is_a_problem_that_says_what_would_be_right() {
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (content, wrong) in [
            ("", "it holds no certificate"),
            ("not a certificate", "it holds no certificate"),
            (key, "it holds no certificate"),
            (garbage, "certificate 1 cannot be used"),
            ("-----BEGIN CERTIFICATE-----\n", "not PEM"),
        ] {
            let problem = problem_with(content);
            assert!(
                problem.starts_with("TLS_CA_FILE: found /") && problem.contains(wrong),
                "{content:?}: {problem}"
            );
            assert!(problem.contains("expected a readable PEM file"), "{problem}");
        }
        let missing = TrustedRoots {
            tls_ca_file: Some("/nowhere/ca.pem".into()),
        };
        let problem = missing.pem().expect_err("no such file").to_string();
        assert!(
            problem.starts_with("TLS_CA_FILE: found /nowhere/ca.pem (No such file"),
            "{problem}"
        );
    }
}
