//! `auralink certs`: an authority with certificates of both ends, for development.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use auralink_aicore::{Certified, DevCertificates};
use clap::Args;

/// Who may read a key.
const KEY_MODE: u32 = 0o600;
/// Who may read a certificate.
const CERT_MODE: u32 = 0o644;

/// Make a development CA with a server's and a client's certificate for gRPC between media server and AI core.
#[derive(Args, Clone, Debug)]
pub struct CertsCommand {
    /// Directory for the files; made if need be
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Names and addresses by which the core is called
    #[arg(
        long,
        value_name = "NAME,…",
        value_delimiter = ',',
        default_value = "localhost,127.0.0.1,::1"
    )]
    names: Vec<String>,
    /// Name of the client: what the core counts its limits by
    #[arg(long, value_name = "NAME", default_value = "media")]
    client: String,
}

/// Writes `ca`, `server` and `client`, each as `.pem` and `.key`.
pub fn run(command: &CertsCommand) -> anyhow::Result<()> {
    ensure!(
        !command.client.is_empty() && command.names.iter().all(|name| !name.is_empty()),
        "--names and --client must not be empty"
    );
    let made = DevCertificates::make(&command.names, &command.client).context("--names")?;
    std::fs::create_dir_all(&command.out)
        .with_context(|| format!("cannot make {}", command.out.display()))?;
    for (name, certified) in [
        ("ca", &made.ca),
        ("server", &made.server),
        ("client", &made.client),
    ] {
        write(&command.out, name, certified)?;
    }
    println!(
        "CA, server ({}) and client ({}) are in {}; for development, valid for a year",
        command.names.join(", "),
        command.client,
        command.out.display()
    );
    Ok(())
}

fn write(directory: &Path, name: &str, certified: &Certified) -> anyhow::Result<()> {
    for (ending, text, mode) in [
        ("key", &certified.key, KEY_MODE),
        ("pem", &certified.cert, CERT_MODE),
    ] {
        let path = directory.join(format!("{name}.{ending}"));
        // Nobody's keys are ever overwritten.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        file.write_all(text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_for_their_owner_alone_and_are_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let command = CertsCommand {
            out: directory.path().join("new"),
            names: vec!["localhost".into()],
            client: "media".into(),
        };
        run(&command).unwrap();
        for name in ["ca", "server", "client"] {
            let key = command.out.join(format!("{name}.key"));
            let mode = std::fs::metadata(&key).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, KEY_MODE);
            let cert = std::fs::read_to_string(key.with_extension("pem")).unwrap();
            assert!(cert.starts_with("-----BEGIN CERTIFICATE-----"));
        }
        let before = std::fs::read(command.out.join("ca.key")).unwrap();
        let error = format!("{:#}", run(&command).unwrap_err());
        assert!(error.contains("ca.key"), "{error}");
        assert_eq!(std::fs::read(command.out.join("ca.key")).unwrap(), before);
    }
}
