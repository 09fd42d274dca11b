//! Key pairs for tests, made on the spot: no private key lies in the repository.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// An RSA key pair of 2048 bits, PEM.
#[derive(Clone)]
pub struct RsaKeyPair {
    /// PKCS#8: `BEGIN PRIVATE KEY`.
    pub private_pem: String,
    /// `BEGIN PUBLIC KEY`.
    pub public_pem: String,
}

impl RsaKeyPair {
    pub fn generate() -> Result<Self, Unspecified> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        Ok(Self {
            private_pem: pem("PRIVATE KEY", pair.as_der()?.as_ref()),
            public_pem: pem("PUBLIC KEY", pair.public_key().as_der()?.as_ref()),
        })
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let lines: Vec<&str> = (0..encoded.len())
        .step_by(64)
        .map(|at| &encoded[at..(at + 64).min(encoded.len())])
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
