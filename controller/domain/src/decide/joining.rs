//! A node asks to join: it is a member already, becomes one, or waits.

use std::net::IpAddr;

use ipnet::Ipv6Net;

use crate::{
    change::Change, decide::membership, member::Request, network::Network, refusal::Refusal,
};

/// Waiting requests of one network: enough to authorise by hand, few enough to keep.
pub const MAX_REQUESTS: usize = 1024;
/// Waiting requests from one source address, so that one stranger cannot fill the list.
pub const MAX_REQUESTS_PER_SOURCE: usize = 16;
/// A node asks at each start; writing that down once a day is enough for requests that live a week.
const REFRESH_SECONDS: u64 = 24 * 3600;

pub(super) fn join(
    network: &Network,
    request: Request,
    granted: bool,
) -> Result<Vec<Change>, Refusal> {
    membership::check_keys(network, &request)?;
    if let Some(member) = network.member(&request.identity) {
        if !member.is_authorized() {
            return Err(Refusal::Deauthorized);
        }
        let mut renewed = member.clone();
        renewed.transport = request.transport;
        renewed.transport_epoch = request.transport_epoch;
        return Ok(membership::put_if_changed(member, renewed));
    }
    if granted || !network.settings().private {
        return membership::admit(network, &request);
    }
    wait(network, request)
}

fn wait(network: &Network, request: Request) -> Result<Vec<Change>, Refusal> {
    if let Some(known) = network.request(&request.identity) {
        let fresh = request.requested_at.0 < known.requested_at.0.saturating_add(REFRESH_SECONDS);
        let same = request.transport == known.transport
            && request.transport_epoch == known.transport_epoch;
        return Ok(if fresh && same {
            Vec::new()
        } else {
            vec![Change::RequestPut(request)]
        });
    }
    let from_same_source = network
        .requests()
        .filter(|other| source_block(other.source) == source_block(request.source))
        .count();
    if network.requests().count() >= MAX_REQUESTS || from_same_source >= MAX_REQUESTS_PER_SOURCE {
        return Err(Refusal::TooManyRequests);
    }
    Ok(vec![Change::RequestPut(request)])
}

/// Who counts as one source: an IPv4 address, or the /64 that one IPv6 host commands.
fn source_block(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let block = Ipv6Net::new(address, 64).expect("64 is within 128");
            IpAddr::V6(block.network())
        }
    }
}
