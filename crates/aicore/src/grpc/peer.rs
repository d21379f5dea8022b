//! Who calls: the name in the client's certificate.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Request, Status};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Name of a peer without a certificate, which only loopback in development lets in.
const LOCAL: &str = "local";

/// Name of the peer: the certificate's common name, else its first DNS name.
pub(super) fn name<T>(request: &Request<T>) -> Result<Arc<str>, Status> {
    let Some(certificates) = request.peer_certs() else {
        return Ok(LOCAL.into());
    };
    let named = certificates.first().and_then(|der| name_in(der.as_ref()));
    named.ok_or_else(|| Status::unauthenticated("the client certificate carries no name"))
}

fn name_in(der: &[u8]) -> Option<Arc<str>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let common = certificate
        .subject()
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok())
        .filter(|name| !name.is_empty());
    if let Some(name) = common {
        return Some(name.into());
    }
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).into()),
        _ => None,
    })
}

/// The caller's deadline for the whole call (`grpc-timeout`), where it gave one.
pub(super) fn timeout<T>(request: &Request<T>) -> Result<Option<Duration>, Status> {
    let Some(value) = request.metadata().get("grpc-timeout") else {
        return Ok(None);
    };
    let parsed = value.to_str().ok().and_then(parse_timeout);
    parsed
        .map(Some)
        .ok_or_else(|| Status::invalid_argument("grpc-timeout cannot be read"))
}

/// At most 8 digits and a unit, as gRPC over HTTP/2 has it.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_every_unit_and_nonsense_is_not() {
        assert_eq!(parse_timeout("20m"), Some(Duration::from_millis(20)));
        assert_eq!(
            parse_timeout("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        assert_eq!(parse_timeout("5u"), Some(Duration::from_micros(5)));
        for bad in ["", "m", "20", "-1S", "123456789S", "1x", "é"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }
}
