//! Whose word is taken for where a request comes from.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum::http::HeaderMap;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Where a request comes from, for the audit trail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Client(pub(crate) String);

/// What comes without a connection comes from nowhere.
impl From<Option<SocketAddr>> for Client {
    fn from(peer: Option<SocketAddr>) -> Self {
        peer.map_or_else(Self::default, |peer| Self(peer.to_string()))
    }
}

/// Addresses of proxies, which say who asked them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Arc<[IpNet]>);

impl FromStr for Proxies {
    type Err = String;

    /// Addresses and networks, joined by commas.
    fn from_str(text: &str) -> Result<Self, String> {
        let net = |text: &str| {
            let address = text.parse::<IpAddr>().map(IpNet::from);
            address.or_else(|_| text.parse()).map_err(|_| {
                format!("{text:?} is neither an address nor a network, as in 10.0.0.0/8")
            })
        };
        let texts = text
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty());
        texts.map(net).collect::<Result<_, _>>().map(Self)
    }
}

impl Proxies {
    fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Each proxy adds whom it was asked by at the end, so what is before the last one that is trusted
    /// may be made up.
    pub(super) fn client(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Client {
        if !peer.is_some_and(|peer| self.has(peer.ip().to_canonical())) {
            return Client::from(peer);
        }
        let forwarded = headers.get_all(FORWARDED_FOR).iter().rev();
        let forwarded = forwarded.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        let mut client = Client::from(peer);
        for text in forwarded {
            let Ok(address) = text.trim().parse::<IpAddr>() else {
                break;
            };
            client = Client(address.to_string());
            if !self.has(address) {
                break;
            }
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(proxies: &str, peer: &str, forwarded: &[&'static str]) -> String {
        let values = forwarded.iter().map(|text| {
            let name = axum::http::HeaderName::from_static(FORWARDED_FOR);
            (name, HeaderValue::from_static(text))
        });
        let proxies: Proxies = proxies.parse().unwrap();
        proxies
            .client(Some(peer.parse().unwrap()), &values.collect())
            .0
    }

    #[test]
    fn only_proxies_are_believed() {
        let peer = "10.0.0.1:5";
        assert_eq!(client("", peer, &["1.2.3.4"]), peer);
        assert_eq!(client("10.0.0.2", peer, &["1.2.3.4"]), peer);
        assert_eq!(client("10.0.0.1", peer, &[]), peer);
        assert_eq!(client("10.0.0.1", peer, &["1.2.3.4"]), "1.2.3.4");
        // What the client wrote itself is before what the proxy added.
        assert_eq!(client("10.0.0.1", peer, &["9.9.9.9, 1.2.3.4"]), "1.2.3.4");
        assert_eq!(client("10.0.0.1", peer, &["9.9.9.9", "1.2.3.4"]), "1.2.3.4");
        let chain = &["9.9.9.9, 1.2.3.4, 10.0.0.7"];
        assert_eq!(client("10.0.0.0/8", peer, chain), "1.2.3.4");
        assert_eq!(client("10.0.0.0/8", peer, &["1.2.3.4, nonsense"]), peer);
        assert_eq!(client("::1", "[::1]:5", &["2001:db8::1"]), "2001:db8::1");
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        assert!("10.0.0.0/8, ::1".parse::<Proxies>().is_ok());
        for wrong in ["proxy", "10.0.0.0/33", "10.0.0.0:80"] {
            assert!(wrong.parse::<Proxies>().is_err(), "{wrong}");
        }
    }
}
