//! The bearer token of SASL OAUTHBEARER, from a file that somebody else keeps fresh.

use super::secret;
use rdkafka::client::OAuthToken;
use std::path::Path;

/// A token that does not say how long it lives is read again after this.
const UNSTATED_LIFE_MS: i64 = 5 * 60 * 1000;

/// The token as librdkafka wants it. Errors never hold any of it.
pub(super) fn of_file(path: &Path, now_ms: i64) -> Result<OAuthToken, String> {
    let text = secret::of_file("token", path).map_err(|reason| format!("token file {}: {reason}", path.display()))?;
    let token = text.trim();
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("token file {}: it holds more than one token", path.display()));
    }
    let claims = claims(token);
    let number = |name: &str| claims.as_ref().and_then(|c| c.get(name)?.as_f64());
    let lifetime_ms = number("exp").map_or(now_ms + UNSTATED_LIFE_MS, |seconds| (seconds * 1000.0) as i64);
    if lifetime_ms <= now_ms {
        return Err(format!("token file {}: the token has expired", path.display()));
    }
    let subject = claims.as_ref().and_then(|c| c.get("sub")?.as_str()).unwrap_or_default();
    Ok(OAuthToken { token: token.to_owned(), principal_name: subject.replace('\0', ""), lifetime_ms })
}

/// The claims of a JSON web token (RFC 7519, compact form), unverified: the broker judges it.
fn claims(token: &str) -> Option<serde_json::Value> {
    let mut parts = token.split('.');
    let (_header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    serde_json::from_slice(&base64url(claims)?).ok()
}

/// RFC 4648, section 5, without padding.
fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_its_life_and_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            of_file(&path, 1_000_000)
        };
        // {"alg":"none"} . {"sub":"ingest","exp":2000}
        let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJpbmdlc3QiLCJleHAiOjIwMDB9.";
        let token = read(&format!("{jwt}\n")).ok().unwrap();
        assert_eq!(
            (token.token.as_str(), token.principal_name.as_str(), token.lifetime_ms),
            (jwt, "ingest", 2_000_000)
        );
        let opaque = read("abc123").ok().unwrap();
        assert_eq!((opaque.principal_name.as_str(), opaque.lifetime_ms), ("", 1_000_000 + UNSTATED_LIFE_MS));
        // {"sub":"ingest","exp":999}
        let expired = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJpbmdlc3QiLCJleHAiOjk5OX0.";
        for (text, reason) in [(expired, "expired"), ("", "empty"), ("one two", "more than one")] {
            let error = read(text).err().unwrap();
            assert!(error.contains(reason), "{error}");
            assert!(text.is_empty() || !error.contains(text));
        }
        assert!(of_file(&dir.path().join("gone"), 0).err().unwrap().contains("gone"));
    }

    #[test]
    fn base64url_is_that_of_rfc_4648() {
        for (text, bytes) in [("", &b""[..]), ("Zg", b"f"), ("Zm8", b"fo"), ("Zm9v", b"foo"), ("-_8", &[0xfb, 0xff])] {
            assert_eq!(base64url(text).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!(base64url("a+b"), None);
    }
}
