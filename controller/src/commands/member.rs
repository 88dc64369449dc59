//! `controller member`

use tombolo_proto::api::{Member, MemberPatch};

use super::{
    Client, Failure, Output,
    client::network_path,
    table::{Table, joined, yes},
};
use crate::cli::MemberVerb;

pub(super) fn run(verb: &MemberVerb, client: &Client, out: &Output) -> Result<(), Failure> {
    match verb {
        MemberVerb::Ls { network } => {
            let path = format!("{}/members", network_path(client.network(network)?.id));
            out.list(&client.all(&path)?, table);
        }
        MemberVerb::Authorize {
            network,
            member,
            name,
            addresses,
        } => {
            let patch = MemberPatch {
                authorized: Some(true),
                name: name.clone(),
                addresses: (!addresses.is_empty()).then(|| addresses.clone()),
                ..MemberPatch::default()
            };
            change(client, out, network, member, &patch)?;
        }
        MemberVerb::Deauthorize { network, member } => {
            let patch = MemberPatch {
                authorized: Some(false),
                ..MemberPatch::default()
            };
            change(client, out, network, member, &patch)?;
        }
        MemberVerb::Set {
            network,
            member,
            name,
            addresses,
            tags,
            relay,
        } => {
            let patch = MemberPatch {
                authorized: None,
                name: name.clone(),
                addresses: (!addresses.is_empty()).then(|| addresses.clone()),
                tags: (!tags.is_empty()).then(|| tags.clone()),
                relay: *relay,
            };
            change(client, out, network, member, &patch)?;
        }
        MemberVerb::Rm { network, member } => {
            client.delete(&client.member_path(network, member)?)?;
            out.done(&format!("member {member} deleted"));
        }
    }
    Ok(())
}

fn change(
    client: &Client,
    out: &Output,
    network: &str,
    member: &str,
    patch: &MemberPatch,
) -> Result<(), Failure> {
    let path = client.member_path(network, member)?;
    let changed: Member = client.patch(&path, patch)?;
    out.object(&changed, |member| {
        table(std::slice::from_ref(member)).to_string()
    });
    Ok(())
}

fn table(members: &[Member]) -> Table {
    Table::new(
        [
            "NODE",
            "NAME",
            "AUTHORIZED",
            "ONLINE",
            "ADDRESSES",
            "ROUTES",
        ],
        members.iter().map(|member| {
            let routes: Vec<_> = member.routes.iter().map(|route| route.target).collect();
            [
                member.node.to_string(),
                member.name.clone(),
                yes(member.authorized),
                yes(member.online),
                joined(&member.addresses),
                joined(&routes),
            ]
        }),
    )
}
