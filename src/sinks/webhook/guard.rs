//! Keeps a webhook from link-local addresses and from metadata services of clouds: the author of a webhook's
//! URL, or of its DNS name, must not direct requests of this daemon to them (docs/webhooks.md).
//!
//! A name is checked once it is resolved, and only a checked address is used. Behind a proxy, the proxy
//! resolves the name and must refuse.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::net::address::is_metadata;

/// A name leads to such addresses alone.
#[derive(Debug, thiserror::Error)]
#[error("leads to a link-local address or to a cloud's metadata service")]
pub struct LinkLocal;

/// The system's resolver, without such addresses.
pub struct Guard;

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is the connector's to set.
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(usable(found)?.into_iter()) as Addrs)
        })
    }
}

fn usable(found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, LinkLocal> {
    let usable: Vec<_> = found.into_iter().filter(|address| !is_metadata(address.ip())).collect();
    if usable.is_empty() { Err(LinkLocal) } else { Ok(usable) }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A resolver that returns that address for every name, under the same rule.
    pub struct Everywhere(pub SocketAddr);

    impl Resolve for Everywhere {
        fn resolve(&self, _: Name) -> Resolving {
            let found = vec![self.0];
            Box::pin(async move { Ok(Box::new(usable(found)?.into_iter()) as Addrs) })
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_link_is_refused_and_others_are_resolved() {
        let refused = Guard.resolve("169.254.0.23".parse().unwrap()).await.map(|_| ()).unwrap_err();
        assert!(refused.is::<LinkLocal>(), "{refused}");
        let found: Vec<_> = Guard.resolve("127.0.0.1".parse().unwrap()).await.unwrap().collect();
        assert_eq!(found, ["127.0.0.1:0".parse().unwrap()]);
    }

    #[test]
    fn of_a_name_with_several_addresses_the_others_stay() {
        let both = ["[fe80::1]:0", "192.0.2.1:0"].map(|address| address.parse().unwrap());
        assert_eq!(usable(both.to_vec()).unwrap(), both[1..]);
    }
}
