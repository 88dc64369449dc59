//! Policy rules as rtnetlink writes them.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use rtnetlink::{
    Handle, IpVersion,
    packet_route::{
        AddressFamily,
        route::RouteProtocol,
        rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
    },
};
use tombolo_engine::{
    diagnosis::doctor::Obstacle,
    reconcile::{DEFAULT_TABLE, Family, MARK, ROUTE_PROTOCOL, Rule},
};

use crate::host::Observed;

const OURS: RouteProtocol = RouteProtocol::Other(ROUTE_PROTOCOL);

/// Adds those that carry our protocol number to what is observed, and those of others that are in our way. A kernel without
/// policy rules has none.
pub(super) async fn observe(handle: &Handle, observed: &mut Observed) {
    for version in [IpVersion::V4, IpVersion::V6] {
        let found: Result<Vec<RuleMessage>, _> =
            handle.rule().get(version).execute().try_collect().await;
        match found {
            Ok(found) => {
                observed.state.rules.extend(found.iter().filter_map(read));
                observed.intruders.extend(found.iter().filter_map(intruder));
            }
            Err(error) => tracing::debug!(%error, "Failed to list policy rules"),
        }
    }
}

/// Adds one.
pub(super) async fn add(handle: &Handle, rule: &Rule) -> Result<(), rtnetlink::Error> {
    let mut request = handle.rule().add();
    *request.message_mut() = write(rule);
    request.execute().await
}

/// Removes one.
pub(super) async fn remove(handle: &Handle, rule: &Rule) -> Result<(), rtnetlink::Error> {
    handle.rule().del(write(rule)).execute().await
}

fn write(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = match rule.family() {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    message.header.table = rule.table();
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Priority(rule.priority()),
        RuleAttribute::Protocol(OURS),
    ];
    match rule {
        Rule::From(address) => {
            message.header.src_len = bits(address);
            message.attributes.push(RuleAttribute::Source(*address));
        }
        Rule::Specific(_) => message.attributes.push(RuleAttribute::SuppressPrefixLen(0)),
        Rule::Unmarked(_) => {
            message.header.flags = RuleFlags::Invert;
            message.attributes.push(RuleAttribute::FwMark(MARK));
        }
    }
    message
}

/// A rule of ours, if the message is one.
fn read(message: &RuleMessage) -> Option<Rule> {
    let header = &message.header;
    let family = if header.family == AddressFamily::Inet {
        Family::V4
    } else {
        Family::V6
    };
    let has = |wanted: &RuleAttribute| message.attributes.contains(wanted);
    if !is_ours(message) {
        return None;
    }
    let source = message.attributes.iter().find_map(|attribute| {
        if let RuleAttribute::Source(address) = attribute {
            Some(*address)
        } else {
            None
        }
    });
    let rule = match source {
        Some(address) if header.src_len == bits(&address) => Rule::From(address),
        Some(_) => return None,
        None if has(&RuleAttribute::FwMark(MARK)) => Rule::Unmarked(family),
        None => Rule::Specific(family),
    };
    let is_as_written =
        has(&RuleAttribute::Priority(rule.priority())) && header.table == rule.table();
    is_as_written.then_some(rule)
}

fn is_ours(message: &RuleMessage) -> bool {
    message.attributes.contains(&RuleAttribute::Protocol(OURS))
}

/// A rule of somebody else's that leads to our table, or elsewhere what carries our mark.
fn intruder(message: &RuleMessage) -> Option<Obstacle> {
    if is_ours(message) {
        return None;
    }
    let (mut priority, mut mark, mut mask) = (0, None, u32::MAX);
    for attribute in &message.attributes {
        if let RuleAttribute::Priority(found) = attribute {
            priority = *found;
        } else if let RuleAttribute::FwMark(found) = attribute {
            mark = Some(*found);
        } else if let RuleAttribute::FwMask(found) = attribute {
            mask = *found;
        }
    }
    let is_inverted = message.header.flags.contains(RuleFlags::Invert);
    let takes_ours = mark.is_some_and(|mark| mark != 0 && MARK & mask == mark) && !is_inverted;
    let does = if message.header.table == DEFAULT_TABLE {
        format!("leads to table {DEFAULT_TABLE}")
    } else if takes_ours {
        format!("leads packets with mark {MARK:#x} elsewhere")
    } else {
        return None;
    };
    let family = if message.header.family == AddressFamily::Inet {
        "-4"
    } else {
        "-6"
    };
    Some(Obstacle {
        said: format!("somebody else's policy rule of priority {priority} {does}"),
        mend: format!("ip {family} rule del priority {priority}"),
    })
}

const fn bits(address: &IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_others_that_take_what_bears_our_mark_are_told_of() {
        for (mark, mask, is_inverted, takes) in [
            (MARK, u32::MAX, false, true),
            (0x40, 0x40, false, true),
            (0x4000, 0x4000, false, false),
            (0x2, u32::MAX, false, false),
            (0xca6c, u32::MAX, true, false),
        ] {
            let mut message = RuleMessage::default();
            message.header.table = 7;
            if is_inverted {
                message.header.flags = RuleFlags::Invert;
            }
            message.attributes = vec![
                RuleAttribute::Priority(5),
                RuleAttribute::FwMark(mark),
                RuleAttribute::FwMask(mask),
            ];
            let found = intruder(&message);
            assert_eq!(found.is_some(), takes, "{mark:#x}/{mask:#x}");
        }
    }

    #[test]
    fn rules_are_read_as_they_were_written_and_those_of_others_are_not() {
        let own = |text: &str| Rule::From(text.parse().expect("an address"));
        let [v4, v6] = Family::ALL;
        for rule in [
            own("203.0.113.7"),
            own("2001:db8::7"),
            Rule::Specific(v4),
            Rule::Specific(v6),
            Rule::Unmarked(v4),
            Rule::Unmarked(v6),
        ] {
            let message = write(&rule);
            assert_eq!(read(&message), Some(rule));

            let mut theirs = message.clone();
            theirs
                .attributes
                .retain(|attribute| *attribute != RuleAttribute::Protocol(OURS));
            theirs
                .attributes
                .push(RuleAttribute::Protocol(RouteProtocol::Static));
            assert_eq!(read(&theirs), None);

            let mut elsewhere = message.clone();
            elsewhere.header.table = 7;
            assert_eq!(read(&elsewhere), None);

            assert_eq!(intruder(&message), None);
            let leads_to_ours = rule.table() == DEFAULT_TABLE;
            assert_eq!(intruder(&theirs).is_some(), leads_to_ours, "{rule:?}");
        }
    }
}
