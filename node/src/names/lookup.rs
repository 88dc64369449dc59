//! Where hosts are that the node itself has to reach on the underlay, such as controllers.
//!
//! The system's own resolver comes first: it knows `/etc/hosts`, search domains, and whatever else the owner has set up. But
//! where a default route leads into the overlay its questions may go there, and without the controller there may never be
//! an overlay to carry them. So when it has failed, or has no answer after a moment, the resolvers that `/etc/resolv.conf` names are asked by
//! the underlay as well.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    pin::pin,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{net::lookup_host, time::timeout};
use tombolo_names::{Family, message, resolv_conf};

use super::{
    RESOLV_CONF,
    exchange::{self, Transport},
};

/// What the system's resolver has before others are asked: most answers come in less, and who asks waits for two seconds.
const HEAD_START: Duration = Duration::from_millis(500);

/// The places of a host; none if nobody knows any in time.
pub(crate) async fn places(host: &str, port: u16, within: Duration) -> Vec<SocketAddr> {
    let by_system = async {
        let found = lookup_host((host, port)).await;
        found.map(Iterator::collect).unwrap_or_default()
    };
    let by_underlay = async {
        let found = by_underlay(host, within).await.into_iter();
        found
            .map(|address| SocketAddr::new(address, port))
            .collect()
    };
    let (by_system, by_underlay) = (pin!(by_system), pin!(by_underlay));
    let found = after_a_head_start(by_system, by_underlay);
    timeout(within, found).await.unwrap_or_default()
}

/// What `one` finds, or, as soon as it has failed or its head start is over, whoever finds anything first.
async fn after_a_head_start(
    mut one: impl Future<Output = Vec<SocketAddr>> + Unpin,
    other: impl Future<Output = Vec<SocketAddr>> + Unpin,
) -> Vec<SocketAddr> {
    match timeout(HEAD_START, &mut one).await {
        Ok(found) if found.is_empty() => other.await,
        Ok(found) => found,
        Err(_) => first_with_any(one, other).await,
    }
}

async fn first_with_any(
    one: impl Future<Output = Vec<SocketAddr>> + Unpin,
    other: impl Future<Output = Vec<SocketAddr>> + Unpin,
) -> Vec<SocketAddr> {
    use futures_util::future::{Either, select};
    match select(one, other).await {
        Either::Left((found, rest)) if found.is_empty() => rest.await,
        Either::Right((found, rest)) if found.is_empty() => rest.await,
        Either::Left((found, _)) | Either::Right((found, _)) => found,
    }
}

async fn by_underlay(host: &str, patience: Duration) -> Vec<IpAddr> {
    let text = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let resolvers = resolv_conf::resolvers(&text, |_| false);
    let mut answers: FuturesUnordered<_> = resolvers
        .into_iter()
        .map(|resolver| async move {
            let ask = async |family| {
                let question = message::host_question(rand::random(), host, family)?;
                let transport = Transport::UdpByUnderlay;
                let reply = exchange::ask(resolver, &question, transport, patience).await?;
                Some(message::host_addresses(&question, &reply))
            };
            let (v4, v6) = tokio::join!(ask(Family::V4), ask(Family::V6));
            [v4, v6].into_iter().flatten().flatten().collect::<Vec<_>>()
        })
        .collect();
    while let Some(found) = answers.next().await {
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn an_address_is_its_own_place() {
        for (host, place) in [
            ("192.0.2.1", "192.0.2.1:9791"),
            ("2001:db8::1", "[2001:db8::1]:9791"),
        ] {
            let found = places(host, 9791, Duration::from_secs(2)).await;
            assert_eq!(found, [place.parse().expect("a place")]);
        }
    }

    #[tokio::test]
    async fn others_are_asked_once_the_system_has_failed_or_lets_wait() {
        let place: SocketAddr = "192.0.2.1:9791".parse().expect("a place");
        let some = || ready(vec![place]);

        let at_once = after_a_head_start(some(), pending()).now_or_never();
        assert_eq!(at_once, Some(vec![place]));
        let failed = after_a_head_start(ready(Vec::new()), some()).now_or_never();
        assert_eq!(failed, Some(vec![place]));
        let waiting = after_a_head_start(pending(), some()).now_or_never();
        assert_eq!(waiting, None);
        assert_eq!(after_a_head_start(pending(), some()).await, [place]);
    }

    #[tokio::test]
    async fn the_first_answer_with_any_address_counts() {
        let place: SocketAddr = "192.0.2.1:9791".parse().expect("a place");
        let some = || ready(vec![place]);
        let none = || ready(Vec::new());

        assert_eq!(first_with_any(some(), pending()).await, [place]);
        assert_eq!(first_with_any(pending(), some()).await, [place]);
        assert_eq!(first_with_any(none(), some()).await, [place]);
        assert_eq!(first_with_any(some(), none()).await, [place]);
        assert_eq!(first_with_any(none(), none()).await, []);
    }
}
