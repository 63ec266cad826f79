//! IP addresses. The canonical form is the 16 raw octets of the IPv6 address; IPv4 is mapped
//! (`::ffff:a.b.c.d`, RFC 4291 2.5.5.2).

use crate::record::reject::Reason;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Textual IPv4 or IPv6, in brackets or not, with a port or not. False for the unspecified
/// addresses: a placeholder. Octets with leading zeros are refused, as they are octal to some.
pub(crate) fn read(text: &[u8], out: &mut Vec<u8>) -> Result<bool, Reason> {
    let text = std::str::from_utf8(text).map_err(|_| Reason::InvalidAddress)?;
    let address = without_port(text).parse::<IpAddr>().map_err(|_| Reason::InvalidAddress)?;
    Ok(write(address, out))
}

/// A signed 32-bit decimal whose least significant octet comes first (Cisco CUCM).
pub(crate) fn read_signed_le(text: &[u8], out: &mut Vec<u8>) -> Result<bool, Reason> {
    let number = std::str::from_utf8(text).ok().and_then(|t| t.parse::<i32>().ok()).ok_or(Reason::InvalidAddress)?;
    Ok(write(IpAddr::V4(Ipv4Addr::from(number.to_le_bytes())), out))
}

fn write(address: IpAddr, out: &mut Vec<u8>) -> bool {
    let six: Ipv6Addr = match address {
        IpAddr::V4(four) => four.to_ipv6_mapped(),
        IpAddr::V6(six) => six,
    };
    if six.is_unspecified() || six.to_ipv4_mapped().is_some_and(|four| four.is_unspecified()) {
        return false;
    }
    out.extend_from_slice(&six.octets());
    true
}

fn without_port(text: &str) -> &str {
    let is_port = |port: &str| !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    if let Some((inside, after)) = text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        let fits = after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
        return if fits { inside } else { text };
    }
    match text.split_once(':') {
        Some((host, port)) if is_port(port) => host,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Result<Vec<u8>, Reason> {
        let mut out = Vec::new();
        read(text.as_bytes(), &mut out).map(|_| out)
    }

    #[test]
    fn one_address_has_one_form() {
        let four = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1];
        for text in ["192.0.2.1", "::ffff:192.0.2.1", "::FFFF:c000:201", "192.0.2.1:5060", "[::ffff:192.0.2.1]:5060"] {
            assert_eq!(canonical(text).unwrap(), four, "{text}");
        }
        let six = canonical("2001:db8::1").unwrap();
        for text in ["2001:0DB8:0:0:0:0:0:1", "[2001:db8::1]", "[2001:db8::1]:5061", "2001:db8:0::1"] {
            assert_eq!(canonical(text).unwrap(), six, "{text}");
        }
    }

    #[test]
    fn cisco_integers_are_signed_and_little_endian() {
        for (text, address) in [("239138826", "10.248.64.14"), ("-1139627840", "192.168.18.188")] {
            let mut out = Vec::new();
            assert_eq!(read_signed_le(text.as_bytes(), &mut out), Ok(true));
            assert_eq!(out, canonical(address).unwrap());
        }
        assert_eq!(read_signed_le(b"0", &mut Vec::new()), Ok(false));
        assert_eq!(read_signed_le(b"4294967296", &mut Vec::new()), Err(Reason::InvalidAddress));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "10.0.0", "010.0.0.1", "10.0.0.256", "host", "2001:db8::g", "fe80::1%eth0", "[::1", "1.2.3.4:x"]
        {
            assert_eq!(canonical(text), Err(Reason::InvalidAddress), "{text}");
        }
        assert_eq!(read(b"0.0.0.0", &mut Vec::new()), Ok(false));
        assert_eq!(read(b"::", &mut Vec::new()), Ok(false));
    }
}
